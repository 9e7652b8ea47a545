"""A small honest potential for tests: Lennard-Jones with a made-up but consistent uncertainty that learning lessens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.backend.selection import Selection
from kernpot.errors import StructureError
from kernpot.potential import Share
from kernpot.prediction import EnergyStd, JointCovariance, LeftOut, MeanPrediction, PairPrediction, Prediction, Quantity
from kernpot.structures.neighbours import Pairs, find_pairs

TRIANGLE = [[0.0, 0.0, 0.0], [3.9, 0.0, 0.0], [1.9, 3.2, 0.1]]


class LennardJones:
    """Lennard-Jones argon whose force std is `force_std` times (1 + the largest force on the atom).

    Every structure learnt takes 5 % off `force_std`; the forces stay. Questions are counted.
    """

    def __init__(
        self, epsilon: float = 0.0104, sigma: float = 3.4, cutoff: float = 7.0, force_std: float = 0.01
    ) -> None:
        self.epsilon = epsilon
        self.sigma = sigma
        self.cutoff = cutoff
        self.spread = force_std
        self.elements_ = (18,)
        self.summary_: dict[str, Any] = {}
        self.n_full_predictions, self.n_force_stds = 0, 0
        self.learnt: list[Atoms] = []
        self._unlearnt_std = force_std

    def fit(self, structures: Sequence[Atoms]) -> Self:
        self.learnt, self.spread = [], self._unlearnt_std
        return self.update(structures)

    def update(self, structures: Sequence[Atoms]) -> Self:
        self.spread *= 0.95 ** len(structures)
        self.learnt += structures
        return self

    def select(self, structures: Sequence[Atoms], k: int, random_part: float = 0.5) -> Selection:
        largest = [self._predict(atoms, False).forces.std.max() for atoms in structures]
        order = np.argsort(largest)[::-1][:k]
        return Selection(order, np.array(largest)[order], np.zeros(k, dtype=bool))

    def screen(self) -> None:
        return None

    def force_std(self, atoms: Atoms, share: Share | None = None, *more: Any, **named: Any) -> np.ndarray:
        self.n_force_stds += 1
        return self._predict(atoms, False).forces.std

    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        mean = self.mean(atoms, pairs)
        std = float(np.hypot(0.1 * mean.energy, 1e-3))
        slope = 0.01 * mean.energy / std
        return EnergyStd(std, -slope * mean.forces, None if mean.stress is None else slope * mean.stress)

    def left_out(self) -> list[LeftOut]:
        rng = np.random.default_rng(0)
        std = [self._predict(atoms, False).forces.std for atoms in self.learnt]
        return [LeftOut(rng.normal(0.0, s), s) for s in std]

    def along_pairs(self, numbers: np.ndarray, pairs: Pairs, n_centres: int, std: bool = False) -> PairPrediction:
        energy, slope = self._pair_energy(np.linalg.norm(pairs.vectors, axis=1))
        energies = np.bincount(pairs.centres, 0.5 * energy, n_centres)
        gradient = (0.5 * slope / np.linalg.norm(pairs.vectors, axis=1))[:, None] * pairs.vectors
        return PairPrediction(energies, gradient, np.full(n_centres, 0.002) if std else None)

    def _pair_energy(self, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        six = (self.sigma / distance) ** 6
        taper = 1.0 - (distance / self.cutoff) ** 2
        bare = 4.0 * self.epsilon * (six**2 - six)
        bare_slope = 4.0 * self.epsilon * (6.0 * six - 12.0 * six**2) / distance
        return bare * taper**3, bare_slope * taper**3 - bare * 6.0 * taper**2 * distance / self.cutoff**2

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        if set(atoms.numbers.tolist()) - set(self.elements_):
            raise StructureError(f"the potential knows Ar, got {atoms.get_chemical_formula()}")
        pairs = find_pairs(atoms, self.cutoff) if pairs is None else pairs
        distance = np.linalg.norm(pairs.vectors, axis=1)
        energy, slope = self._pair_energy(distance)
        energies = np.zeros(len(atoms))
        np.add.at(energies, pairs.centres, 0.5 * energy)
        pull = (slope / distance)[:, None] * pairs.vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, pairs.centres, pull)
        stress = None
        if atoms.pbc.all():
            tensor = 0.5 * np.einsum("pi,pj->ij", pull, pairs.vectors) / atoms.get_volume()
            stress = tensor.ravel()[[0, 4, 8, 5, 2, 1]]
        return MeanPrediction(float(energies.sum()), energies, forces, stress)

    def predict_full(self, structures: Sequence[Atoms], covariance: bool = False) -> list[Prediction]:
        self.n_full_predictions += len(structures)
        return [self._predict(atoms, covariance) for atoms in structures]

    def _predict(self, atoms: Atoms, covariance: bool) -> Prediction:
        mean = self.mean(atoms)
        n_atoms = len(atoms)
        scale = 1.0 + np.abs(mean.forces).max(axis=1, keepdims=True)
        forces_std = self.spread * scale * np.ones((n_atoms, 3))
        energy_std = 0.002 * np.sqrt(n_atoms)
        stress = None if mean.stress is None else Quantity(mean.stress, np.full(6, 5e-5), np.full(6, 1e-4), "eV/Å³")
        stds = np.concatenate([[energy_std], forces_std.ravel(), np.full(0 if stress is None else 6, 1e-4)])
        joint = JointCovariance(np.diag(0.25 * stds**2), np.diag(stds**2), n_atoms, stress is not None)
        return Prediction(
            Quantity(mean.energy, 0.5 * energy_std, energy_std, "eV"),
            Quantity(mean.energies, np.full(n_atoms, 0.001), np.full(n_atoms, 0.002), "eV"),
            Quantity(mean.forces, 0.5 * forces_std, forces_std, "eV/Å"),
            stress,
            joint if covariance else None,
        )


def drawn_frames(n_frames: int, random_state: int = 0, std_factor: float = 1.0) -> list[Atoms]:
    """Crystals and clusters labelled by draws from `LennardJones`' predictive distribution, stds times `std_factor`."""
    rng = np.random.default_rng(random_state)
    truth = LennardJones()
    frames = []
    for index in range(n_frames):
        periodic = index % 2 == 0
        atoms = bulk("Ar", "fcc", a=rng.uniform(5.1, 5.5), cubic=True) if periodic else Atoms("Ar3", TRIANGLE)
        atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
        atoms.info["config_type"] = "crystal" if periodic else "cluster"
        prediction = truth.predict_full([atoms])[0]
        quantities = {"energy": prediction.energy, "forces": prediction.forces, "stress": prediction.stress}
        labels = {
            name: rng.normal(quantity.mean, std_factor * quantity.std)
            for name, quantity in quantities.items()
            if quantity is not None
        }
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames
