"""Numbers of a comparison against plain definitions, and verdicts that chance alone must not bring about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kernpot.comparison.cost import LARGE, cost_of_answers
from kernpot.comparison.derived import BETWEEN, LARGEST, PRESSURE, STRAIN, WITHIN, Targets, derived_values
from kernpot.comparison.detection import detect, weighted_auc
from kernpot.comparison.resampling import compare_errors, judge
from kernpot.comparison.scoring import force_errors, scores_of, structure_sums
from kernpot.uncertainty import evaluate
from tests.comparison.rivals import Rival, argon
from tests.helpers.fakes import LennardJones, drawn_frames


def test_sums_give_back_the_metrics() -> None:
    result = evaluate(LennardJones(), drawn_frames(30, std_factor=1.3))
    kept = scores_of(result)
    for kind in ("energy", "forces", "stress"):
        row = result.rows(kind)[0]
        score = {m: compare_errors(kind, m, {"a": kept["sums"][kind]}).values["a"] for m in ("mae", "rmse", "crps")}
        assert score == pytest.approx({"mae": row.mae, "rmse": row.rmse, "crps": row.crps}, rel=1e-5)
        sums = {name: np.sum(values) for name, values in kept["sums"][kind].items()}
        for level in (0.5, 0.9):
            share = sums[f"inside_{100 * level:.0f}"] / sums["judged"]
            assert share == pytest.approx(row.coverage[level], abs=1e-6)
        curve = kept["reliability"][kind]
        assert curve["found"][curve["level"].index(0.9)] == pytest.approx(row.coverage[0.9])


def sums_of(errors: np.ndarray) -> dict[str, Any]:
    """Of one component in each structure."""
    ones = np.ones(errors.size).tolist()
    square = {"absolute": np.abs(errors).tolist(), "square": (errors**2).tolist()}
    return {"structure": list(range(errors.size)), "count": ones, "judged": ones, "crps": ones} | square


def test_only_differences_beyond_sampling_error_have_a_winner(rng: np.random.Generator) -> None:
    common = rng.normal(size=60)
    near = {"a": sums_of(common), "b": sums_of(1.2 * common)}
    score = compare_errors("energy", "mae", near)
    assert score.best == "a" and score.gap is not None and 0 < score.gap[0] < 0.2 * np.abs(common).mean() < score.gap[1]
    # The same ratio between errors that have nothing to do with one another is no evidence.
    apart = {"a": sums_of(common), "b": sums_of(rng.normal(size=60) * np.std(common))}
    score = compare_errors("energy", "mae", apart)
    assert score.best is None and score.gap is not None and score.gap[0] < 0
    few = compare_errors("energy", "mae", {"a": sums_of(common[:9]), "b": sums_of(5 * common[:9])})
    assert few.best is None and few.gap is None


def test_equals_look_different_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(1)
    wrong = sum(
        compare_errors("energy", "mae", {k: sums_of(rng.normal(size=50)) for k in "ab"}).best is not None
        for _ in range(200)
    )
    assert 2 <= wrong <= 20  # 5 % on both sides together


def test_the_best_of_three_must_beat_the_second() -> None:
    values = {"a": 1.0, "b": 1.01, "c": 5.0}
    drawn = {name: value + np.linspace(-0.1, 0.1, 100) * (name == "b") for name, value in values.items()}
    assert judge(values, {k: np.broadcast_to(v, 100) for k, v in drawn.items()}, 20)[0] is None


def test_area_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    values = rng.integers(0, 8, 300).astype(float)
    bad, weight = rng.random(300) < 0.1 + 0.1 * values, rng.integers(0, 4, 300).astype(float)
    rank = np.unique(values, return_inverse=True)[1]
    assert weighted_auc(bad, rank, weight) == pytest.approx(roc_auc_score(bad, values, sample_weight=weight))
    assert weighted_auc(np.ones(300, bool), rank, weight) is None


def answers_of(rival: Rival) -> dict[str, Any]:
    fitted = rival.fit(argon(20))
    familiar, shifted = (force_errors(evaluate(fitted, frames)) for frames in (argon(15, 1), argon(15, 2, rattle=0.3)))
    left_out = [1.0 + 0.01 * k for k in range(200)]
    return {"forces": familiar, "left_out": left_out, "shifted": {"hot": {"forces": shifted}}}


def test_stds_that_know_beat_stds_that_do_not() -> None:
    answers = {"knows": answers_of(Rival()), "blind": answers_of(Rival(knows=False))}
    found = detect("hot", answers, 0.1)
    assert found is not None and found.best == "knows" and found.gap is not None and found.gap[0] > 0
    knows, blind = found.curves["knows"], found.curves["blind"]
    assert knows.auc is not None and blind.auc is not None and knows.auc > blind.auc + 0.1
    assert knows.bad == blind.bad and knows.range is not None and knows.range[0] < knows.auc < knows.range[1]
    # A few bad forces in a few structures are no evidence, however well they are found.
    few = detect("hot", answers, 0.45)
    assert few is not None and 0 < few.curves["knows"].bad < 0.05 and few.best is None is few.gap
    area = np.trapezoid(knows.found, knows.false_alarms)
    assert area == pytest.approx(knows.auc, abs=0.01)


def test_force_errors_and_gate_count_what_they_say() -> None:
    def part(error: list[float], std: list[float]) -> dict[str, Any]:
        n = len(error)
        return {"structure": list(range(n)), "error": error, "std": std, "largest_error": error, "largest_std": std}

    record = {
        "forces": part([0.1, 0.1, 0.4], [0.01, 0.5, 0.5]),
        "left_out": [2.0] * 200,
        "shifted": {"x": {"forces": part([0.4, 0.5], [0.1, 0.2])}},
    }
    found = detect("x", {"a": record, "b": {"failed": "no"}}, 0.3)
    assert found is not None and found.failed == {"b": "no"} and found.best is None
    gate = found.curves["a"].gate
    assert gate is not None and gate.threshold == pytest.approx(0.15)
    assert (gate.frames, gate.failures, gate.missed, gate.passed, gate.false_alarms) == (5, 3, 1, 2, 1)
    frames = argon(2)
    kept = force_errors(evaluate(Rival().fit(argon(9)), frames))
    error = Rival().fit(argon(9)).mean(frames[1]).forces - frames[1].get_forces()
    assert kept is not None and kept["error"][4:] == pytest.approx(np.linalg.norm(error, axis=1).tolist(), rel=1e-5)
    assert kept["largest_error"][1] == pytest.approx(np.abs(error).max(), rel=1e-5)


def test_derived_quantities_are_those_of_the_labels() -> None:
    strained = [argon(1, rattle=0.0, a=a, group="strain")[0] for a in (5.2, 5.4)]
    frames = [*argon(4), *strained, *argon(1, 3, "other"), *argon(1, 4, "another")]
    targets = Targets(frames)
    assert {t.kind for t in targets.targets} == {STRAIN, WITHIN, BETWEEN, PRESSURE, LARGEST}
    paired = [k for t in targets.targets if len(t.structures) == 2 for k in t.structures]
    assert len(paired) == len(set(paired)) == 8
    for target, truth in zip(targets.targets, targets.truth, strict=True):
        own = [
            next(f for f in frames if (f.positions == targets.structures[k].positions).all()) for k in target.structures
        ]
        if target.kind == PRESSURE:
            assert truth == pytest.approx(-own[0].get_stress()[:3].mean() * 160.21766208)
        elif target.kind == LARGEST:
            assert truth == pytest.approx(np.linalg.norm(own[0].get_forces(), axis=1).max())
        else:
            assert truth == pytest.approx(250 * (own[1].get_potential_energy() - own[0].get_potential_energy()))
    # Forces of a perfect crystal vanish: no interval could miss them.
    assert sum(t.kind == LARGEST for t in targets.targets) == 6


@pytest.mark.parametrize(("width", "low", "high"), [(1.0, 0.8, 1.0), (0.3, 0.2, 0.6)])
def test_coverage_of_derived_quantities_tells_right_from_narrow(width: float, low: float, high: float) -> None:
    values = derived_values(Rival(width=width).fit(argon(20)), argon(60, 5))
    energies = [v["inside_90"] for v in values if v["kind"] in (WITHIN, PRESSURE)]
    assert len(energies) == 90 and low <= np.mean(energies) <= high


def test_costs_are_measured_on_moved_copies() -> None:
    frames = argon(3)
    before = [a.positions.copy() for a in frames]
    small, large = cost_of_answers(Rival().fit(frames), frames, n_repeats=2)
    assert all((a.positions == b).all() for a, b in zip(frames, before, strict=True))
    assert small["n_atoms"] == 4 and LARGE <= large["n_atoms"] <= 2 * LARGE
    for spread in (cell[what] for cell in (small, large) for what in ("mean", "full")):
        assert 0 < spread["least"] <= spread["median"] <= spread["largest"]


def test_components_that_vanish_are_not_judged() -> None:
    result = evaluate(Rival(error=0.0).fit(argon(5)), [*argon(2), *argon(2, rattle=0.0)])
    sums = structure_sums(result.comparisons["forces"])
    assert sums["count"] == [12.0] * 4 and sums["judged"] == [12.0, 12.0, 0.0, 0.0] == sums["inside_90"]
