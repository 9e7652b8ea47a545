"""The order of trials: downhill, one setting at a time, within the time, and the same again whoever answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from kernpot.descriptors import default_descriptor
from kernpot.tuning.candidates import Settings, changes
from kernpot.tuning.search import Plan, Trials, explore, grow
from kernpot.tuning.trial import Request, Trial

FIRST = Settings.of(default_descriptor([6, 8]))
AXES = changes(FIRST, 2)
PLAN = Plan(1e6, 10, 1000, 20, 100)


def valley(request: Request) -> Trial:
    """Errors are least at a longer cutoff and m of 2; more inducing environments help up to 40."""
    s = request.settings
    off = abs(s.r_cut - 1.2 * FIRST.r_cut) + abs(s.m - 2)
    return Trial(request, {"energy": 1e-3 * (1 + off) / min(request.n_inducing, 40), "forces": 0.1}, 1.0)


def searched(plan: Plan = PLAN, ask: Callable[[Request], Trial] = valley) -> Trials:
    trials = Trials(ask, lambda request: request.n_inducing * request.n_structures)
    explore(trials, FIRST, AXES, plan)
    grow(trials, plan)
    return trials


def test_it_finds_the_lowest_score_and_stops_where_more_environments_bring_nothing() -> None:
    trials = searched()
    best = trials.best(PLAN.n_structures)
    assert best is not None
    assert best.score == min(t.score for t in trials.made.values())
    assert best.request.settings.r_cut == pytest.approx(1.2 * FIRST.r_cut) and best.request.settings.m == 2
    assert best.request.n_inducing == 40
    assert max(request.n_inducing for request in trials.made) == 80  # the one that showed it


def test_one_setting_is_changed_at_a_time() -> None:
    seen: list[Request] = []
    for request in searched().made:
        if request.n_structures == PLAN.n_sample and seen:
            basis = {"n_max": request.settings.n_max, "l_max": request.settings.l_max}  # these two are one
            fields = ("r_cut", "sigma", "m", "compression")
            nearest = min(
                sum(getattr(other.settings, f) != getattr(request.settings, f) for f in fields)
                + (replace(other.settings, **basis) != other.settings)
                for other in seen
            )
            assert nearest == 1
        seen.append(request)


def test_the_time_ends_it_and_one_fit_to_all_structures_is_made_whatever_it_takes() -> None:
    short = searched(replace(PLAN, seconds=9.0))
    of_sample = [request for request in short.made if request.n_structures == PLAN.n_sample]
    assert len(of_sample) == 3  # a second each, in a third of the time
    assert len(short.made) == 4 and short.best(PLAN.n_structures) is not None
    assert list(searched().made)[:3] == of_sample


def test_a_trial_that_would_run_over_is_left_out_for_a_cheaper_one() -> None:
    slow = replace(FIRST, r_cut=round(0.85 * FIRST.r_cut, 2))

    def work(request: Request) -> float:
        return 100.0 if request.settings == slow else 1.0

    trials = Trials(valley, work)
    explore(trials, FIRST, AXES, replace(PLAN, seconds=100.0))
    assert slow not in {request.settings for request in trials.made}
    assert len(trials.made) > 5


def test_what_cannot_be_fitted_is_never_the_best() -> None:
    def ask(request: Request) -> Trial:
        return Trial(request, {}, 0.1, "too large") if request.settings.m == 2 else valley(request)

    trials = searched(ask=ask)
    best = trials.best(PLAN.n_structures)
    assert best is not None and best.request.settings.m == 1
    assert any(trial.refused for trial in trials.made.values())


def test_what_it_started_from_is_tried_on_all_structures_too() -> None:
    assert Request(FIRST, 20, PLAN.n_structures) in searched().made


def test_where_the_sample_is_all_its_trials_compete() -> None:
    trials = searched(replace(PLAN, n_sample=100, most_inducing=10))
    assert {request.n_inducing for request in trials.made} == {10}
    best = trials.best(100)
    assert best is not None and best.request.settings.m == 2
