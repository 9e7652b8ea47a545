"""The order of trials: descriptors on a sample first, then the best of them on all structures with more environments.

Nothing but the trials themselves decides what comes next, their times included: a search that asks for the same trials
again, which a journal answers, goes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from kernpot.tuning.candidates import Change, Settings
from kernpot.tuning.trial import Request, Trial

FEW = 3
"""Descriptors that are tried on all structures, the one it started from among them: few inducing environments favour
plain ones. One less each time environments are doubled."""
WORTH = 0.02
"""Part by which errors must fall for twice as many inducing environments."""

# Part of the time for descriptors on the sample: twice as many environments mostly bring more than another descriptor.
_EXPLORING = 1 / 3
# Trials whose times tell how long the next one takes.
_LAST = 3


@dataclass(frozen=True)
class Plan:
    """How far a search goes.

    Attributes
    ----------
    seconds : float
        For all trials together.
    n_inducing, most_inducing : int
        At first, and at most.
    n_sample, n_structures : int
        Structures of the sample, and all.
    """

    seconds: float
    n_inducing: int
    most_inducing: int
    n_sample: int
    n_structures: int


class Trials:
    """What was tried, and what the next one would take.

    Parameters
    ----------
    ask : callable
        Makes the fit of a request.
    work : callable
        What it costs, in any unit.
    """

    def __init__(self, ask: Callable[[Request], Trial], work: Callable[[Request], float]) -> None:
        self.made: dict[Request, Trial] = {}
        self._ask, self._work = ask, work

    def ask(self, request: Request) -> Trial:
        """Make one."""
        self.made[request] = found = self._ask(request)
        return found

    def add(self, others: Iterable[Trial]) -> None:
        """Take in what was tried before, as far as it was not asked for."""
        for trial in others:
            self.made.setdefault(trial.request, trial)

    def affordable(self, request: Request, seconds: float) -> bool:
        """Whether it is expected to end before so many seconds have been used in all, by the last ones' pace."""
        used = sum(trial.seconds for trial in self.made.values())
        paces = [trial.seconds / self._work(trial.request) for trial in self.made.values() if not trial.refused]
        return used + median(paces[-_LAST:]) * self._work(request) <= seconds

    def best(self, n_structures: int) -> Trial | None:
        """The one with the lowest score, of fits to so many structures."""
        found = [t for t in self.made.values() if t.request.n_structures == n_structures and not t.refused]
        return min(found, key=_score, default=None)


def explore(trials: Trials, first: Settings, axes: Sequence[Sequence[Change]], plan: Plan) -> None:
    """Change one setting at a time from the best so far, until nothing gets better or the time for it is used."""
    best = trials.ask(Request(first, plan.n_inducing, plan.n_sample))
    while True:
        before = best
        for axis in axes:
            settings = best.request.settings
            for change in axis:
                request = replace(best.request, settings=replace(settings, **change))
                if request not in trials.made and trials.affordable(request, _EXPLORING * plan.seconds):
                    best = min(best, trials.ask(request), key=_score)
        if best is before:
            return


def grow(trials: Trials, plan: Plan) -> None:
    """The best descriptors on all structures, inducing environments doubled while that is worth it.

    Where no fit to all structures was made yet, one is, whatever it takes.
    """
    best = trials.best(plan.n_structures)
    first, *others = trials.made.values()
    leading = [*sorted(others, key=_score)[: FEW - 1], first]
    n_inducing = plan.n_inducing
    while n_inducing < plan.most_inducing:
        n_inducing = min(2 * n_inducing, plan.most_inducing)
        made = []
        for trial in leading:
            request = Request(trial.request.settings, n_inducing, plan.n_structures)
            if trials.best(plan.n_structures) is None or trials.affordable(request, plan.seconds):
                made.append(trials.ask(request))
        made.sort(key=_score)
        if not made or (best is not None and best.score - made[0].score <= WORTH * len(best.mae)):
            return
        best = made[0]
        leading = made[: max(len(leading) - 1, 1)]


def _score(trial: Trial) -> float:
    return trial.score
