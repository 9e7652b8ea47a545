"""Forces of exactly zero that no quantum code has found: of atoms that were held, or that were never computed."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixedLine, FixedPlane, FixScaled
from numpy.typing import NDArray

from kernpot.structures.neighbours import find_pairs

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

_HOLDING = (FixAtoms, FixCartesian, FixScaled, FixedPlane, FixedLine, FixBondLengths)
# Zeroed by a projection rather than set to zero: relative to the largest force.
_ROUNDING = 1e-10
# Forces that are zero by symmetry leave others that cancel, up to what quantum codes leave of a total force.
_CANCEL = 0.01
_FEW = 2
# Neighbours that tell whether a place is symmetric, Angstrom, and what is more than rounding of positions.
_NEAR, _PULLED = 5.0, 1e-3


def zeroed_by_constraints(atoms: Atoms, forces: FloatArray) -> Mask:
    """Where constraints take forces away and nothing of these is there.

    Parameters
    ----------
    atoms : ase.Atoms
        With its constraints; of those that are no matter of single atoms or bonds nothing is said.
    forces : ndarray of shape (n_atoms, 3)
        NaN where not known.

    Returns
    -------
    ndarray of bool of shape (n_atoms, 3)
    """
    zeroed = np.zeros(forces.shape, dtype=bool)
    present = np.nan_to_num(forces)
    for constraint in atoms.constraints:
        if not isinstance(constraint, _HOLDING):
            continue
        probe = np.random.RandomState(0).uniform(1.0, 2.0, forces.shape)
        taken, left = probe.copy(), present.copy()
        constraint.adjust_forces(atoms, taken)
        constraint.adjust_forces(atoms, left)
        exact = isinstance(constraint, (FixAtoms, FixCartesian))
        tolerance = 0.0 if exact else _ROUNDING * np.abs(present).max()
        nothing = (np.abs(left - present) <= tolerance).all(axis=1)
        zeroed |= (np.abs(taken - probe) > _ROUNDING) & np.asarray(nothing)[:, None]
    return zeroed & np.isfinite(forces)


def unexplained_zeros(forces: FloatArray, atoms: Atoms) -> int:
    """Number of atoms with forces of exactly zero beside others that do not cancel, or in no symmetric place."""
    zero = (forces == 0).all(axis=1)
    n = int(zero.sum())
    if n < _FEW or np.isnan(forces).any():
        return 0
    if n == len(zero):
        return n if (_pull(atoms) > _PULLED).any() else 0
    net = np.linalg.norm(forces.sum(axis=0))
    return n if net > _CANCEL * np.linalg.norm(forces) else 0


def _pull(atoms: Atoms) -> FloatArray:
    """Length (n_atoms,) of a smooth sum of directions to neighbours: zero wherever symmetry makes forces vanish."""
    pairs = find_pairs(atoms, _NEAR)
    distances = np.linalg.norm(pairs.vectors, axis=1)
    weights = np.exp(-distances) * (1 - distances / _NEAR) ** 2 / distances
    total = np.zeros((len(atoms), 3))
    np.add.at(total, pairs.centres, weights[:, None] * pairs.vectors)
    length: FloatArray = np.linalg.norm(total, axis=1)
    return length
