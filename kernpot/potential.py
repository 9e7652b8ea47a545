"""The contract of a potential with error bars: what every backend answers, and what the rest of kernpot relies on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.prediction import MeanPrediction, Prediction
from kernpot.structures.neighbours import Pairs

if TYPE_CHECKING:
    from kernpot.calculator import KernpotCalculator


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

    def predict(
        self, structures: Sequence[Atoms] | Atoms, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Total energies (n,), with their standard deviations on request."""

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> list[Prediction]:
        """Distributions of energy, atomic energies, forces and stress."""

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Mean energy, forces and stress only, as fast as the potential can."""

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        """An ASE calculator."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file."""
