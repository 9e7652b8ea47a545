"""How many inducing environments a fit takes when nobody says: until more of them stop helping, within a budget.

A fit is made, and the model inside it that has half of its inducing environments (:mod:`kernpot.gp.learning.nested`)
tells by how much errors on structures left out fell from half to all. While that is much, and more are within the
budget, the fit is made again with twice as many, or four times as many where it is very much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernpot.descriptors.features import Features
from kernpot.gp.memory import memory_for
from kernpot.gp.settings import AUTO
from kernpot.parallel.memory import available
from kernpot.structures.labels import LabelledStructure, n_labels

FIRST = 1000
"""Inducing environments of the first fit."""
MEMORY = 8e9
"""Bytes that a larger fit may take, or half of what the machine has left where that is less."""
OPERATIONS = 2e13
"""Floating-point operations that a larger fit may take: some ten minutes on two cores."""
WIDENED = 3000
"""Inducing environments at most where the mean is sought beyond them: they are its start, and make the error bars."""
# Fall of the mean absolute errors, from half of the inducing environments to all, that asks for twice as many.
_GAIN = 0.08
# ... and for four times as many: twice as many would not do.
_MUCH = 0.25
# Growth that is worth another fit.
_WORTH = 1.2
# Operations for each label and square of the number, and for its cube: QR of the rows, and all that follows.
_PER_LABEL, _PER_CUBE = 3.0, 25.0


def first_number(n_inducing: int | str) -> int:
    """Inducing environments that a fit is made with first."""
    return FIRST if n_inducing == AUTO else int(n_inducing)


def room_for(n_inducing: int | str, in_use: int) -> int:
    """Inducing environments that a model may come to have as it learns on."""
    return max(FIRST, in_use) if n_inducing == AUTO else int(n_inducing)


@dataclass(frozen=True)
class Step:
    """One fit on the way: how many inducing environments, and the score of half of them and of all."""

    n_inducing: int
    half: float | None
    whole: float | None
    n_kinds: int

    def gain(self) -> float | None:
        """Fall of the mean absolute errors, averaged over kinds of labels; None where no structure was left out."""
        if self.half is None or self.whole is None:
            return None
        return (self.half - self.whole) / self.n_kinds


def step_of(summary: Mapping[str, Any], n_inducing: int) -> Step:
    """What the summary of a fit says of its size."""
    scores = summary["hyperparameters"].get("scores")
    if scores is None:
        return Step(n_inducing, None, None, 1)
    return Step(n_inducing, scores["half"], scores["whole"], scores["kinds"])


class Growth:
    """Decides after each fit whether there is another one.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    features : sequence of Features
    widened : bool, default=False
        Whether the mean will be sought beyond them (:mod:`kernpot.gp.learning.whole_space`).
    """

    def __init__(
        self, labelled: Sequence[LabelledStructure], features: Sequence[Features], widened: bool = False
    ) -> None:
        self._n_labels = sum(n_labels(s) for s in labelled)
        memory = available()
        self._memory = MEMORY if memory is None else min(MEMORY, 0.5 * memory)
        self._labelled, self._features, self._widened = labelled, features, widened
        self.told: dict[str, Any] = {"steps": [], "stopped": ""}

    def next(self, step: Step, asked: int) -> int | None:
        """How many to fit with next, or None: the fit that is there is the last.

        Parameters
        ----------
        step : Step
        asked : int
            Number that the fit was asked to have.
        """
        gain = step.gain()
        self.told["steps"].append({"n_inducing": step.n_inducing, "gain": gain})
        most, limit = self._most()
        if gain is None:
            self.told["stopped"] = "too few structures to leave out tell whether more would help"
        elif step.n_inducing < asked:
            self.told["stopped"] = "the structures hold no more distinct environments"
        elif gain < _GAIN:
            self.told["stopped"] = (
                f"errors on structures left out fell by {100 * max(gain, 0.0):.0f} % from half of them to all, "
                f"less than {100 * _GAIN:.0f} %"
            )
        elif most < _WORTH * step.n_inducing:
            self.told["stopped"] = f"more would take more than {limit}"
        else:
            return min((4 if gain > _MUCH else 2) * step.n_inducing, most)
        return None

    def _most(self) -> tuple[int, str]:
        """Largest number within the budget, and what limits it."""
        by_time = _largest(lambda m: self._n_labels * _PER_LABEL * m**2 + _PER_CUBE * m**3 <= OPERATIONS)
        by_memory = _largest(lambda m: memory_for(self._labelled, self._features, m) <= self._memory)
        if self._widened and min(by_memory, by_time) >= WIDENED:
            return WIDENED, "it takes to find the rest among all quadratic forms"
        if by_memory < by_time:
            return by_memory, f"{self._memory / 1e9:.0f} GB of memory"
        return by_time, "some ten minutes on two cores"


def _largest(fits: Callable[[int], bool]) -> int:
    """Largest number that fits, of those that do."""
    low, high = 0, 1 << 17
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
