"""What a gate compares with its thresholds: the one table of names, units and words, and the checks of thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kernpot.errors import ParameterError
from kernpot.parameters import is_real
from kernpot.prediction import FORCE_UNIT, STRESS_UNIT

Reason = Literal["force_std", "energy_std", "stress_std", "novelty"]

DEFAULT_FORCE_STD = 0.15
"""Threshold on the largest std of a force component where nothing else is said, eV/A."""


@dataclass(frozen=True)
class Criterion:
    """One number that a gate looks at.

    Attributes
    ----------
    name : str
        In a few letters.
    unit : str
        Empty where there is none.
    says : str
        That it was found, with the places ``value``, ``atom`` and ``element``.
    """

    name: str
    unit: str
    says: str

    def shown(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.3g} {self.unit}".rstrip()

    def sentence(self, value: float, atom: int, element: str) -> str:
        """What was found, in words."""
        return self.says.format(value=self.shown(value), atom=atom, element=element)


REASONS: Mapping[Reason, Criterion] = {
    "force_std": Criterion(
        "force std", FORCE_UNIT, "a force component on atom {atom} ({element}) has a std of {value}"
    ),
    "energy_std": Criterion(
        "energy std", "eV/atom", "the energy has a std of {value} (largest force std: atom {atom}, {element})"
    ),
    "stress_std": Criterion(
        "stress std", STRESS_UNIT, "a stress component has a std of {value} (largest force std: atom {atom}, {element})"
    ),
    "novelty": Criterion("leverage", "", "atom {atom} ({element}) has a leverage of {value}"),
}


def checked_thresholds(given: Mapping[Reason, float | None]) -> dict[Reason, float]:
    """The thresholds that are there.

    Raises
    ------
    ParameterError
        When one is no positive number, or there is none.
    """
    for name, value in given.items():
        if value is not None and not (is_real(value) and value > 0):
            unit = REASONS[name].unit or "units of leverage"
            raise ParameterError(f"{name} must be a positive number in {unit}, got {value!r}")
    found = {name: float(value) for name, value in given.items() if value is not None}
    if not found:
        raise ParameterError(
            f"at least one of {', '.join(given)} must be given: a gate without a threshold never fires"
        )
    return found
