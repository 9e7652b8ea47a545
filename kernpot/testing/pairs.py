"""Checks of what engines ask for: energies of some of the atoms, and their slopes along pairs."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from kernpot.potential import Potential
from kernpot.structures.neighbours import Pairs, find_pairs
from kernpot.testing.comparison import VARIANCE_TOLERANCE, full, require, require_close


def check_along_pairs(potential: Potential, atoms: Atoms, rng: np.random.Generator) -> None:
    """Atoms shared out between two, each with the rest as mere neighbours: the sum is the whole, stds included."""
    expected = full(potential, atoms)
    n = len(atoms)
    pairs = find_pairs(atoms, potential.cutoff)
    order = rng.permutation(n)
    energies, std = np.empty(n), np.empty(n)
    forces, strain = np.zeros((n, 3)), np.zeros((3, 3))
    for mine in (order[: n // 2], order[n // 2 :]):
        others = np.setdiff1d(np.arange(n), mine)
        named = np.concatenate([mine, others])
        here, own = _renamed(pairs, named, len(mine))
        found = potential.along_pairs(atoms.numbers[named].astype(np.int64), here, len(mine), std=True)
        require(
            found.std is not None and found.gradient.shape == (len(here), 3),
            f"along_pairs(std=True) must give stds and a gradient for {len(here)} pairs",
        )
        energies[mine], std[mine] = found.energies, found.std
        np.add.at(forces, pairs.centres[own], found.gradient)
        np.subtract.at(forces, pairs.neighbours[own], found.gradient)
        strain += found.gradient.T @ here.vectors
        require(
            potential.along_pairs(atoms.numbers[named].astype(np.int64), here, len(mine)).std is None,
            "along_pairs must not compute stds unless asked",
        )
    require_close(energies, expected.energies.mean, "energies along pairs")
    require_close(forces, expected.forces.mean, "forces along pairs")
    scale = float((expected.energies.std**2).max())
    require_close(
        std**2, expected.energies.std**2, "variances of energies along pairs", VARIANCE_TOLERANCE, scale, 1e-13
    )
    if expected.stress is not None:
        voigt = (0.5 * (strain + strain.T) / atoms.get_volume())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        require_close(voigt, expected.stress.mean, "stress along pairs")


def _renamed(pairs: Pairs, named: np.ndarray, n_centres: int) -> tuple[Pairs, np.ndarray]:
    """Pairs of the first of some atoms under their new numbers, and which pairs those were."""
    place = np.empty(len(named), dtype=np.int64)
    place[named] = np.arange(len(named))
    own = np.flatnonzero(place[pairs.centres] < n_centres)
    own = own[np.argsort(place[pairs.centres[own]], kind="stable")]
    centres, neighbours = place[pairs.centres[own]], place[pairs.neighbours[own]]
    return Pairs(centres, neighbours, pairs.shifts[own], pairs.vectors[own]), own
