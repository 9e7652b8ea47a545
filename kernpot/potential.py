"""The contract of a potential with error bars: what every backend answers, and what the rest of kernpot relies on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.prediction import EnergyStd, LeftOut, MeanPrediction, Prediction
from kernpot.structures.neighbours import Pairs

if TYPE_CHECKING:
    from kernpot.calculator import KernpotCalculator
    from kernpot.gp.selection import Selection


class Screen(Protocol):
    """Tells, at hardly more than the cost of a mean, whether error bars are worth computing."""

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, NDArray[np.float64]]:
        """Mean, and a number per atom (n_atoms,) in eV/A that the std of its force should not exceed.

        The largest of a structure counts; it may be several times too large.
        """


class Surface(Protocol):
    """What the ASE calculator asks of a potential; a single draw of a posterior gives no more.

    Attributes
    ----------
    elements_ : tuple of int
        Atomic numbers the potential knows.
    """

    elements_: tuple[int, ...]

    @property
    def cutoff(self) -> float:
        """Largest distance (Angstrom) at which atoms interact directly."""

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress."""

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> list[Prediction]:
        """Distributions, or an error that says why there are none."""


@runtime_checkable
class Potential(Protocol):
    """A fitted (or yet unfitted) potential-energy surface whose predictions are distributions.

    Units are eV, Angstrom, eV/Angstrom and eV/Angstrom^3 (ASE sign and Voigt order).

    Attributes
    ----------
    elements_ : tuple of int
        Atomic numbers the potential knows.
    summary_ : dict
        What the fit found, in JSON-able form.
    """

    elements_: tuple[int, ...]
    summary_: dict[str, Any]

    @property
    def cutoff(self) -> float:
        """Largest distance (Angstrom) at which atoms interact directly."""

    def fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from labelled structures."""

    def partial_fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from more labelled structures without going back to the old ones."""

    def update(self, structures: Sequence[Atoms]) -> Self:
        """Learn from more labelled structures, and describe what is new in them, as cheaply as the potential can.

        This is what a running simulation calls for every few labels; a fit to everything, which also calibrates, is for
        once in a while. Works in place. An unfitted potential is fitted.
        """

    def predict(
        self, structures: Sequence[Atoms] | Atoms, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Total energies (n,), with their standard deviations on request."""

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> list[Prediction]:
        """Distributions of energy, atomic energies, forces and stress."""

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Mean energy, forces and stress only, as fast as the potential can."""

    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        """Epistemic std of the energy with its exact derivatives; smooth, also where nothing is unknown."""

    def select(self, structures: Sequence[Atoms], k: int, random_part: float = 0.5) -> Selection:
        """``k`` of the structures whose labels would teach most together; a part of them drawn at random.

        Labels are not looked at. Structures the potential has learnt, and copies of one another, are not chosen.
        """

    def left_out(self) -> list[LeftOut]:
        """Errors on training structures had they been left out, with the error bars they would have had."""

    def screen(self) -> Screen | None:
        """A cheap bound on force stds, or None where the potential has none."""

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        """An ASE calculator."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file."""
