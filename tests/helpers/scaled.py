"""Potentials whose draws are known in closed form: multiples of EMT, and functions of one coordinate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

from kernpot.calculator import KernpotCalculator
from kernpot.prediction import DrawPredictions, MeanPrediction
from kernpot.structures.neighbours import Pairs


class Single:
    """A potential that is a function from a structure to energy and forces (and stress)."""

    cutoff = 3.0
    elements_ = tuple(range(1, 100))

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        raise NotImplementedError

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        return KernpotCalculator(self, skin=skin)


@dataclass
class ScaledEMT(Single):
    """``factor`` times EMT."""

    factor: float = 1.0

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        work = atoms.copy()
        work.calc = EMT()
        n = len(atoms)
        stress = self.factor * work.get_stress() if atoms.pbc.all() else None
        energy = self.factor * work.get_potential_energy()
        return MeanPrediction(energy, np.full(n, energy / n), self.factor * work.get_forces(), stress)


@dataclass
class AlongX(Single):
    """Sum over atoms of a function of x; ``slope`` is its derivative."""

    value: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        x = atoms.positions[:, 0]
        energies = self.value(x)
        forces = np.zeros((len(atoms), 3))
        forces[:, 0] = -self.slope(x)
        return MeanPrediction(float(energies.sum()), energies, forces, None)


class GivenDraws:
    """Draws that are a list of potentials."""

    def __init__(self, mean_potential: Single, members: Sequence[Single]) -> None:
        self.mean_potential, self.members = mean_potential, list(members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, k: int) -> Single:
        return self.members[k]

    def evaluate(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        answers = [m.mean(atoms) for m in self.members]
        stress = None if answers[0].stress is None else np.stack([a.stress for a in answers])
        return DrawPredictions(
            np.array([a.energy for a in answers]),
            np.stack([a.energies for a in answers]),
            np.stack([a.forces for a in answers]),
            stress,
        )


def scaled_draws(factors: Sequence[float] = (0.8, 0.9, 1.0, 1.3)) -> GivenDraws:
    """Draws that are multiples of EMT."""
    return GivenDraws(ScaledEMT(), [ScaledEMT(f) for f in factors])
