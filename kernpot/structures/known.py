"""Components of labels that are known: the others were left out by the user, or are zeros of no computation.

NaN in a label stands for a component that is not known.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.zeros import unexplained_zeros, zeroed_by_constraints

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

MASK = "forces_mask"
"""Array of true where a force is a label, per atom (n_atoms,) or per component (n_atoms, 3)."""

QUIP_MASK = "force_mask"
"""The array of that name which gap_fit reads: true where the force of an atom is left out."""

WEIGHTS = "forces_weight"
"""Array (n_atoms,) of weights of the forces on atoms: 1 is the usual one, 0 leaves an atom out."""

_LARGEST = 1e12  # weight


@dataclass
class LeftOut:
    """What was left out of the forces of some structures, to be told in one warning each.

    Attributes
    ----------
    n_structures : int
        Looked at.
    held : list of (str, int)
        Structures, and how many components constraints had zeroed.
    absent : list of str
        Structures all of whose forces are NaN.
    zeros : list of (str, int)
        Structures with exact zeros that neither constraints nor symmetry explain, and on how many atoms.
    zero_stress : list of str
        Structures with a stress of zeros.
    """

    n_structures: int
    held: list[tuple[str, int]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    zeros: list[tuple[str, int]] = field(default_factory=list)
    zero_stress: list[str] = field(default_factory=list)

    def warn(self, stacklevel: int = 3) -> None:
        """Say so."""
        if self.held:
            n = sum(count for _, count in self.held)
            _warn(
                f"{n} force components of {len(self.held)} of {self.n_structures} structures (from {self.held[0][0]} "
                "on) are zero because a constraint holds their atoms, and are left out; the forces that the code found "
                "before it zeroed them (ASE: get_forces(apply_constraint=False)) are labels.",
                stacklevel,
            )
        if self.absent:
            _warn(
                f"all forces of {len(self.absent)} of {self.n_structures} structures (from {self.absent[0]} on) are "
                "NaN: these structures are taken to have none. Did the calculation fail?",
                stacklevel,
            )
        if self.zeros:
            source, count = self.zeros[0]
            _warn(
                f"{len(self.zeros)} of {self.n_structures} structures have atoms whose forces are exactly zero, which "
                f"nothing about them explains ({source}: {count} atoms): were they held in place, and their forces set "
                f"to zero, or never computed? Such zeros are no labels: leave them out by arrays[{MASK!r}], false for "
                "these atoms, or by NaN.",
                stacklevel,
            )
        if self.zero_stress:
            _warn(
                f"the stress of {len(self.zero_stress)} of {self.n_structures} structures (from {self.zero_stress[0]} "
                "on) is exactly zero in all components, as if it had not been computed: it is left out.",
                stacklevel,
            )


def known_forces(forces: FloatArray, atoms: Atoms, source: str, told: LeftOut) -> FloatArray | None:
    """Forces with NaN for every component that is no label; None where nothing is left.

    Parameters
    ----------
    forces : ndarray of shape (n_atoms, 3)
        eV/A; NaN where not known.
    atoms : ase.Atoms
        With constraints, and arrays ``forces_mask`` or ``force_mask``.
    source : str
        How messages name the structure.
    told : LeftOut
        Takes note of what was left out.

    Raises
    ------
    StructureError
        A mask of another shape, or one that is neither true nor false.
    """
    if np.isnan(forces).all():
        told.absent.append(source)
        return None
    known = np.where(_mask(atoms, source), forces, np.nan)
    zeroed = zeroed_by_constraints(atoms, known)
    if zeroed.any():
        known[zeroed] = np.nan
        told.held.append((source, int(zeroed.sum())))
    elif n := unexplained_zeros(known, atoms):
        told.zeros.append((source, n))
    return None if np.isnan(known).all() else known


def atom_scales(atoms: Atoms, source: str) -> FloatArray | None:
    """Factors (n_atoms,) on the noise of forces, one over the root of the weights; infinite for a weight of zero.

    Raises
    ------
    StructureError
        Weights of another shape, negative or not finite.
    """
    if WEIGHTS not in atoms.arrays:
        return None
    given = atoms.arrays[WEIGHTS]
    try:
        weights = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    allowed = (weights == 0) | ((weights >= 1 / _LARGEST) & (weights <= _LARGEST))
    if weights.shape != (len(atoms),) or not allowed.all():
        raise StructureError(
            f"{source}: arrays[{WEIGHTS!r}] must be {len(atoms)} numbers, one per atom, zero or from 1e-12 to 1e12 (1 "
            f"is the usual weight, 4 halves the noise, 0 leaves the force out), got {str(given)[:80]}."
        )
    with np.errstate(divide="ignore"):
        scales: FloatArray = 1.0 / np.sqrt(weights)
    return scales


def _mask(atoms: Atoms, source: str) -> Mask:
    """True (n_atoms, 3) where a force is to be used."""
    use = np.ones((len(atoms), 3), dtype=bool)
    if MASK in atoms.arrays:
        use &= _flags(atoms.arrays[MASK], MASK, len(atoms), source)
    if QUIP_MASK in atoms.arrays:
        use &= ~_flags(atoms.arrays[QUIP_MASK], QUIP_MASK, len(atoms), source)
    scales = atom_scales(atoms, source)
    if scales is not None:
        use &= np.isfinite(scales)[:, None]
    return use


def _flags(value: Any, name: str, n_atoms: int, source: str) -> Mask:
    array = np.asarray(value)
    flags = array.dtype == bool or (array.dtype.kind in "iuf" and bool(np.isin(array, (0, 1)).all()))
    if array.shape not in ((n_atoms,), (n_atoms, 3)) or not flags:
        what = "true where the force is a label" if name == MASK else "true where the force is left out"
        raise StructureError(
            f"{source}: arrays[{name!r}] must hold true or false, per atom ({n_atoms},) or per component "
            f"({n_atoms}, 3), {what}; got {array.dtype} of shape {array.shape}."
        )
    mask: Mask = np.broadcast_to(array.astype(bool).reshape(n_atoms, -1), (n_atoms, 3))
    return mask


def known_stress(stress: FloatArray, atoms: Atoms, source: str, told: LeftOut, given: bool) -> FloatArray | None:
    """The stress, or None where none of it is known; zeros that no one gave on purpose are none.

    Parameters
    ----------
    stress : ndarray of shape (6,)
        NaN where not known.
    atoms : ase.Atoms
    source : str
        How messages name the structure.
    told : LeftOut
        Takes note of what was left out.
    given : bool
        Whether it was given as an argument: what a baseline leaves may be zero.
    """
    if np.isnan(stress).all():
        return None
    # A single atom in its box has none.
    if not given and len(atoms) > 1 and atoms.pbc.all() and not stress.any():
        told.zero_stress.append(source)
        return None
    return stress


def _warn(text: str, stacklevel: int) -> None:
    warnings.warn(text, KernpotWarning, stacklevel=stacklevel + 1)
