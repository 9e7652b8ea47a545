"""Copper and gold under ASE's EMT: a potential that engines run, and structures for them."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

from kernpot import SparseGPPotential
from tests.helpers.systems import cluster, crystals, slab, soap


def alloy_potential(n_inducing: int = 100) -> SparseGPPotential:
    """Learnt from small cells, a slab and clusters.

    With fewer features the weights are so large that engines, which add in another order, are 1e-9 away in forces.
    """
    structures = [*crystals(20, symbols="Cu3Au", strain=0.02), slab(), *(cluster("Cu3Au", k) for k in range(4))]
    descriptor = soap(["Cu", "Au"], n_max=4, l_max=3)
    return SparseGPPotential(descriptor=descriptor, n_inducing=n_inducing, random_state=0).fit(structures)


def alloy(repeat: tuple[int, int, int], rattle: float = 0.08, strain: float = 0.02, seed: int = 0) -> Atoms:
    """Cu3Au, rattled, its cell triclinic; left-handed and rotated ones are somebody else's trouble."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True)
    atoms.numbers[0] = 79
    atoms = atoms * repeat
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.rattle(rattle, rng=rng)
    return atoms
