"""Crystals that a file calls not periodic are told; molecules and clusters in a box are not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import write

from kernpot.errors import KernpotWarning
from kernpot.structures import read_structures
from kernpot.structures.unused_cells import warn_of_unused_cells


def rattled(atoms: Atoms) -> Atoms:
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.wrong_input("Files", "a crystal whose cell is given but never used", "warned")
@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Cu"),
        rattled(bulk("Si", cubic=True)),
        rattled(bulk("NaCl", "rocksalt", a=5.6) * (2, 2, 2)),
        fcc111("Al", (2, 2, 3), vacuum=8),
    ],
    ids=["Cu", "Si", "NaCl", "slab"],
)
def test_crystals(tmp_path, atoms):
    atoms.pbc = False
    atoms.info = {}
    write(tmp_path / "a.xyz", [atoms, molecule("H2O")])
    with pytest.warns(KernpotWarning, match=r"1 of 2 structures \(from a\.xyz#0 on\) have a cell, but are not"):
        read_structures(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    "atoms",
    [
        molecule("CH3CH2OH", cell=[8, 8, 8]),
        molecule("C60", cell=[10, 10, 10]),
        molecule("C60", cell=np.eye(3)),
        molecule("C60", cell=2 * np.eye(3)),
        Atoms("Cu4", [[0, 0, 0], [2.4, 0, 0], [0, 2.4, 0], [0, 0, 2.4]], cell=[6, 6, 6]),
        Atoms("Cu", cell=[5, 5, 5]),
        Atoms("Cu", cell=[5, 5, 0]),
        Atoms("Cu"),
        bulk("Cu"),
    ],
)
def test_what_is_right_is_silent(atoms):
    atoms.info["source"] = "a.xyz#0"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unused_cells([atoms])
