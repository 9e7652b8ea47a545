"""Small structures with EMT labels, and small descriptors, shared by the tests of the estimator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from dscribe.descriptors import SOAP

ALL = ("energy", "forces", "stress")


def soap(
    species: Sequence[str] = ("Cu",), cutoff: float = 4.0, n_max: int = 3, l_max: int = 2, m: float = 2, **other: Any
) -> SOAP:
    """A small smooth SOAP."""
    weighting = {"function": "poly", "r0": cutoff, "c": 1.0, "m": m}
    arguments: dict[str, Any] = {"sigma": 0.5, "periodic": True, "weighting": weighting} | other
    return SOAP(species=list(species), r_cut=cutoff, n_max=n_max, l_max=l_max, **arguments)


def labelled(atoms: Atoms, kinds: Sequence[str] = ALL) -> Atoms:
    """A copy with EMT labels of the given kinds (stress only where there is one)."""
    atoms = atoms.copy()
    work = atoms.copy()
    work.calc = EMT()
    ask = {"energy": work.get_potential_energy, "forces": work.get_forces, "stress": work.get_stress}
    results = {kind: ask[kind]() for kind in kinds if kind != "stress" or atoms.pbc.all()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def crystals(
    n: int, seed: int = 0, kinds: Sequence[str] = ALL, symbols: str = "Cu4", strain: float = 0.03
) -> list[Atoms]:
    """Rattled and strained four-atom cubic cells; the symbols are shuffled over the sites."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.numbers = rng.permutation(Atoms(symbols).numbers)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        frames.append(labelled(atoms, kinds))
    return frames


def slab(seed: int = 0, symbol: str = "Cu") -> Atoms:
    """A rattled slab, periodic in two directions, with labels."""
    atoms = fcc111(symbol, (1, 2, 2), vacuum=6.0, orthogonal=True)
    atoms.pbc = [True, True, False]
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    return labelled(atoms)


def cluster(symbols: str = "Cu4", seed: int = 0) -> Atoms:
    """A rattled tetrahedron of atoms, not periodic, with labels."""
    atoms = Atoms(symbols, 0.9 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[: len(Atoms(symbols))])
    atoms.cell = np.zeros((3, 3))
    atoms.rattle(0.1, rng=np.random.default_rng(seed))
    return labelled(atoms)


def small_molecule(name: str = "CO", seed: int = 0) -> Atoms:
    """A rattled molecule with labels."""
    atoms = molecule(name)
    atoms.rattle(0.03, rng=np.random.default_rng(seed))
    return labelled(atoms)


def gases(n: int, symbols: str = "Cu5", seed: int = 0) -> list[Atoms]:
    """Atoms strewn at random, without labels: environments as different as they come."""
    rng = np.random.default_rng(seed)
    frames: list[Atoms] = []
    while len(frames) < n:
        atoms = Atoms(symbols, rng.uniform(0, 5, (len(Atoms(symbols)), 3)))
        if atoms.get_all_distances()[np.triu_indices(len(atoms), 1)].min() > 0.5:
            frames.append(atoms)
    return frames
