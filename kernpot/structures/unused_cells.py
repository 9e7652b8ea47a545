"""Cells that are given but not used: crystals that a file calls not periodic would be read as clusters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from kernpot.errors import KernpotWarning
from kernpot.structures.neighbours import find_pairs

_BONDED = 1.25
_TOO_CLOSE = 0.6
"""Distances over the sum of covalent radii: of bonds at most, and of atoms that cannot both be there."""

_SMALLEST = 1.5
"""Cells thinner than this, in Angstrom, are placeholders."""


def warn_of_unused_cells(frames: Sequence[Atoms]) -> None:
    """Warn of structures that are not periodic, whose atoms would be bonded to images across their cell.

    Parameters
    ----------
    frames : sequence of Atoms
        Each has ``info["source"]``.
    """
    found = [atoms.info["source"] for atoms in frames if not atoms.pbc.any() and _is_bonded_across(atoms)]
    if found:
        warnings.warn(
            f"{len(found)} of {len(frames)} structures (from {found[0]} on) have a cell, but are not periodic (pbc F F"
            " F), though their atoms would be bonded to images across it. If they are crystals, correct pbc in the"
            " file.",
            KernpotWarning,
            stacklevel=3,
        )


def _is_bonded_across(atoms: Atoms) -> bool:
    """In two directions at least, and with no image on top of an atom."""
    cell = atoms.cell.array
    areas = np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    volume = abs(np.linalg.det(cell))
    if not (np.isfinite(atoms.positions).all() and volume > _SMALLEST * areas.max() > 0):
        return False
    images = Atoms(atoms.numbers, atoms.positions, cell=cell, pbc=True)
    radii = covalent_radii[atoms.numbers]
    pairs = find_pairs(images, 2 * _BONDED * float(radii.max()))
    shifted = pairs.shifts.any(axis=1)
    reach = (radii[pairs.centres] + radii[pairs.neighbours])[shifted]
    distances = np.linalg.norm(pairs.vectors[shifted], axis=1)
    if (distances < _TOO_CLOSE * reach).any():
        return False
    return int(pairs.shifts[shifted][distances < _BONDED * reach].any(axis=0).sum()) >= 2
