"""Answers of a potential with those of a baseline added: predictions, draws, along pairs, a screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from kernpot.calculator import KernpotCalculator
from kernpot.potential import Draw, ErrorBars, Potential, PotentialDraws, Screen, Share, Surface
from kernpot.prediction import DrawPredictions, FloatArray, MeanPrediction, PairPrediction, Prediction, Quantity
from kernpot.structures.neighbours import Pairs


class DrawOnTop:
    """A draw of the learner on top of the baseline, see :class:`kernpot.potential.Draw`."""

    def __init__(self, draw: Draw, surface: Surface) -> None:
        self._draw, self._surface = draw, surface
        self.elements_, self.cutoff = draw.elements_, max(draw.cutoff, surface.cutoff)

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress of one structure under this potential."""
        return _sum(self._draw.mean(atoms, pairs), self._surface.mean(atoms, pairs))

    def along_pairs(
        self, numbers: NDArray[np.int64], pairs: Pairs, n_centres: int, std: bool = False
    ) -> PairPrediction:
        """Energies of centres and their slopes along pairs, see :meth:`kernpot.potential.Surface.along_pairs`."""
        found = self._draw.along_pairs(numbers, pairs, n_centres, std)
        return _along(found, self._surface.along_pairs(numbers, pairs, n_centres))

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        """ASE calculator."""
        return KernpotCalculator(self, skin=skin)

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> list[Prediction]:
        """Refused, as by the learner's draws: one potential has no error bars."""
        return self._draw.predict_full(structures, covariance)


class DrawsOnTop:
    """Draws of the learner on top of the baseline, see :class:`kernpot.potential.PotentialDraws`."""

    def __init__(self, draws: PotentialDraws, surface: Surface) -> None:
        self._draws, self._surface = draws, surface
        self.mean_potential = DrawOnTop(draws.mean_potential, surface)

    def __len__(self) -> int:
        return len(self._draws)

    @overload
    def __getitem__(self, index: int) -> DrawOnTop: ...
    @overload
    def __getitem__(self, index: slice) -> DrawsOnTop: ...
    def __getitem__(self, index: int | slice) -> DrawOnTop | DrawsOnTop:
        if isinstance(index, slice):
            return DrawsOnTop(self._draws[index], self._surface)
        return DrawOnTop(self._draws[index], self._surface)

    def evaluate(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """Answers of all draws for one structure; the baseline's are computed once."""
        found, base = self._draws.evaluate(atoms, pairs), self._surface.mean(atoms, pairs)
        stress = None if found.stress is None or base.stress is None else found.stress + base.stress
        return DrawPredictions(
            found.energies + base.energy, found.atomic_energies + base.energies, found.forces + base.forces, stress
        )


class PredictorOnTop:
    """Answers of the learner with those of the baseline added, see :class:`kernpot.backend.answering.Predicting`.

    Parameters
    ----------
    learner : Potential
    surface : Surface
    error_bars : {"exact", "draws"}, optional
        None is what the learner has.
    """

    def __init__(self, learner: Potential, surface: Surface, error_bars: ErrorBars | None = None) -> None:
        self._surface, self._learner, self._error_bars = surface, learner, error_bars

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress."""
        return _sum(self._learner.mean(atoms, pairs), self._surface.mean(atoms, pairs))

    def __call__(self, atoms: Atoms, covariance: bool = False) -> Prediction:
        """Distributions: the learner's, moved."""
        found = self._learner.predict_full([atoms], covariance, self._error_bars)[0]
        base = self._surface.mean(atoms)
        return replace(
            found,
            energy=_moved(found.energy, base.energy),
            energies=_moved(found.energies, base.energies),
            forces=_moved(found.forces, base.forces),
            stress=None if found.stress is None or base.stress is None else _moved(found.stress, base.stress),
        )

    def energy_mean(self, atoms: Atoms) -> float:
        """Mean of the total energy alone, eV."""
        return float(np.asarray(self._learner.predict([atoms]))[0]) + self._surface.mean(atoms).energy

    def energy(self, atoms: Atoms) -> tuple[float, float]:
        """Mean and standard deviation of the total energy, eV."""
        energy, std = self._learner.predict([atoms], return_std=True)
        return float(energy[0]) + self._surface.mean(atoms).energy, float(std[0])

    def force_std(self, atoms: Atoms, share: Share | None, pairs: Pairs | None = None) -> FloatArray:
        """Standard deviations of the forces: the learner's."""
        return self._learner.force_std(atoms, share, self._error_bars, pairs)

    def along_pairs(self, numbers: Tensor, pairs: Pairs, n_centres: int, std: bool) -> PairPrediction:
        """Energies of centres with their slopes along pairs."""
        z = numbers.numpy()
        return _along(
            self._learner.along_pairs(z, pairs, n_centres, std), self._surface.along_pairs(z, pairs, n_centres)
        )


class ScreenOnTop:
    """The learner's bound on force stds, with the mean of the sum, see :class:`kernpot.potential.Screen`."""

    def __init__(self, screen: Screen, surface: Surface) -> None:
        self._screen, self._surface = screen, surface

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, FloatArray]:
        """Mean of the sum, and the learner's bound."""
        mean, bound = self._screen(atoms, pairs)
        return _sum(mean, self._surface.mean(atoms, pairs)), bound


def _sum(found: MeanPrediction, base: MeanPrediction) -> MeanPrediction:
    stress = None if found.stress is None or base.stress is None else found.stress + base.stress
    return MeanPrediction(
        found.energy + base.energy, found.energies + base.energies, found.forces + base.forces, stress
    )


def _along(found: PairPrediction, base: PairPrediction) -> PairPrediction:
    return PairPrediction(found.energies + base.energies, found.gradient + base.gradient, found.std)


def _moved(quantity: Quantity, by: float | FloatArray) -> Quantity:
    return replace(quantity, mean=quantity.mean + by)
