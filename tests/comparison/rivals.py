"""Potentials of known quality for tests of comparisons: Lennard-Jones argon with errors and stds as one likes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.base import BaseEstimator

from kernpot.errors import KernpotError
from kernpot.prediction import DrawPredictions, LeftOut, MeanPrediction, Prediction, Quantity
from kernpot.structures.neighbours import Pairs
from tests.helpers.fakes import LennardJones

ENERGY_STD, FORCE_STD, STRESS_STD = 0.002, 0.02, 2e-4


def argon(n: int, seed: int = 0, group: str = "crystal", rattle: float = 0.1, a: float = 5.3) -> list[Atoms]:
    """Rattled crystals with exact labels."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Ar", "fcc", a=a, cubic=True)
        atoms.positions += rng.normal(0, rattle, atoms.positions.shape)
        atoms.info["config_type"] = group
        m = LennardJones().mean(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=m.energy, forces=m.forces, stress=m.stress)
        frames.append(atoms)
    return frames


class Rival(BaseEstimator):
    """Errors are `error` times the usual ones, stds `width` times what would be right.

    Where `knows` is False all stds are the same, while errors grow with the force.
    """

    fits: ClassVar[list[tuple[str, int]]] = []

    def __init__(
        self, name: str = "", error: float = 1.0, width: float = 1.0, knows: bool = True, fewest: int = 0
    ) -> None:
        self.name = name
        self.error = error
        self.width = width
        self.knows = knows
        self.fewest = fewest
        self.summary_: dict[str, object] = {}

    def fit(self, structures: Sequence[Atoms]) -> Self:
        if len(structures) < self.fewest:
            raise KernpotError(f"expected {self.fewest} structures, got {len(structures)}")
        Rival.fits.append((self.name, len(structures)))
        self.n_learnt_ = len(structures)
        return self

    def _scales(self, truth: MeanPrediction) -> tuple[float, np.ndarray]:
        """How large errors are: of the energy, and of the force on each atom."""
        size = 1.0 + 10.0 * np.linalg.norm(truth.forces, axis=1, keepdims=True) * np.ones((1, 3))
        learnt = self.error * np.sqrt(20.0 / self.n_learnt_)
        return learnt * ENERGY_STD, learnt * FORCE_STD * size

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        truth = LennardJones().mean(atoms)
        # The same for every potential and call, so that errors of rivals go together as those of real ones do.
        rng = np.random.default_rng(zlib.crc32(atoms.positions.tobytes()))
        energy, forces = self._scales(truth)
        shift = energy * rng.normal()
        stress = truth.stress + self.error * STRESS_STD * rng.normal(size=6)
        moved = truth.forces + forces * rng.normal(size=forces.shape)
        return MeanPrediction(truth.energy + shift, truth.energies + shift / len(atoms), moved, stress)

    def _stds(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        energy, forces = self._scales(LennardJones().mean(atoms))
        forces = forces if self.knows else np.full_like(forces, FORCE_STD)
        return self.width * energy, self.width * forces, np.full(6, self.width * self.error * STRESS_STD)

    def predict_full(self, structures: Sequence[Atoms], covariance: bool = False) -> list[Prediction]:
        found = []
        for atoms in structures:
            m, (energy, forces, stress) = self.mean(atoms), self._stds(atoms)
            assert m.stress is not None
            each = np.full(len(atoms), energy)
            found.append(
                Prediction(
                    Quantity(m.energy, 0.5 * energy, energy, "eV"),
                    Quantity(m.energies, 0.5 * each, each, "eV"),
                    Quantity(m.forces, 0.5 * forces, forces, "eV/Å"),
                    Quantity(m.stress, 0.5 * stress, stress, "eV/Å³"),
                )
            )
        return found

    def left_out(self) -> list[LeftOut]:
        rng = np.random.default_rng(0)
        right = np.full((4, 3), FORCE_STD)
        return [LeftOut(rng.normal(0.0, right), self.width * right) for _ in range(self.n_learnt_)]

    def sample_potentials(self, n: int, random_state: int | None = None) -> Draws:
        return Draws(self, n, random_state)


class Draws:
    """Draws about a rival with its stds, independent from structure to structure."""

    def __init__(self, rival: Rival, n: int, seed: int | None) -> None:
        self.mean_potential, self.n, self.rng = rival, n, np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.n

    def evaluate(self, atoms: Atoms) -> DrawPredictions:
        m, (energy, forces, stress) = self.mean_potential.mean(atoms), self.mean_potential._stds(atoms)

        def scattered(centre: Any, std: Any) -> np.ndarray:
            return self.rng.normal(centre, std, (self.n, *np.shape(centre)))

        return DrawPredictions(
            scattered(m.energy, energy),
            np.tile(m.energies, (self.n, 1)),
            scattered(m.forces, forces),
            scattered(m.stress, stress),
        )
