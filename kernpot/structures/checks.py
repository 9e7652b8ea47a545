"""What a structure and its labels must be before any work starts; every message names the frame."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kernpot.errors import StructureError
from kernpot.structures.geometry import check_geometry
from kernpot.structures.neighbours import find_pairs

MIN_DISTANCE = 0.1
"""Atoms closer than this, in Angstrom, are taken to lie on top of each other."""

LARGEST_ENERGY = 1e12
"""No structure's total energy is beyond it, in eV: all electrons of a million of the heaviest atoms have this much."""

SYMMETRY_TOLERANCE = 1e-3
"""Largest asymmetry of a 3x3 stress relative to its largest component."""

SYMMETRY_FLOOR = 1e-6
"""Asymmetry of a 3x3 stress that is always accepted, in eV/Angstrom^3."""


_NO_NUMBERS = {"b": "truth values", "c": "complex numbers", "m": "times", "M": "dates"}


def check_atoms(atoms: Any, source: str) -> None:
    """Require a non-empty structure of real elements with a usable geometry. Cost is linear in the number of atoms.

    Parameters
    ----------
    atoms : ase.Atoms
    source : str
        How messages name this structure, e.g. ``train.xyz#12``.

    Raises
    ------
    StructureError
        Not an ``ase.Atoms``; no atoms; an atomic number outside 1 to 118; positions or cell not finite; a periodic cell
        of zero volume; two atoms, or an atom and a periodic image, closer than 0.1 Angstrom.
    """
    if not isinstance(atoms, Atoms):
        raise StructureError(f"{source}: expected an ase.Atoms object, got {type(atoms).__name__}.")
    if len(atoms) == 0:
        raise StructureError(f"{source}: the structure has no atoms; remove it.")
    unknown = np.flatnonzero((atoms.numbers < 1) | (atoms.numbers >= len(chemical_symbols)))
    if unknown.size:
        raise StructureError(
            f"{source}: atom {unknown[0]} has atomic number {atoms.numbers[unknown[0]]}, expected 1 to"
            f" {len(chemical_symbols) - 1}; dummy atoms such as 'X' must be removed."
        )
    check_geometry(atoms, source)
    pairs = find_pairs(atoms, MIN_DISTANCE)
    if len(pairs):
        distances = np.linalg.norm(pairs.vectors, axis=1)
        worst = int(distances.argmin())
        i, j = int(pairs.centres[worst]), int(pairs.neighbours[worst])
        what = f"atom {i} and its own periodic image are" if i == j else f"atoms {i} and {j} are"
        raise StructureError(
            f"{source}: {what} {distances[worst]:.2g} A apart, expected at least {MIN_DISTANCE} A; look for duplicated"
            " atoms, a cell that is too small, or units other than Angstrom."
        )


def check_energy(value: Any, source: str) -> float:
    """Total energy in eV as a finite float, else StructureError."""
    array = _numeric(value, "energy", source)
    if array.shape not in ((), (1,)):
        raise StructureError(f"{source}: energy has shape {array.shape}, expected one number, the total energy in eV.")
    _require_finite(array, "energy", source)
    if abs(array.item()) > LARGEST_ENERGY:
        raise StructureError(
            f"{source}: the energy is {array.item():.3g} eV, expected the total energy of these atoms; look for a sum "
            "that has diverged, or another unit."
        )
    return float(array.item())


def check_forces(value: Any, n_atoms: int, source: str) -> np.ndarray:
    """Forces in eV/Angstrom as a new array of shape (n_atoms, 3), NaN where not known, else StructureError."""
    array = _numeric(value, "forces", source)
    if array.shape != (n_atoms, 3):
        raise StructureError(
            f"{source}: forces have shape {array.shape}, expected ({n_atoms}, 3): one row of x, y, z in eV/A per atom."
        )
    _require_not_infinite(array, "forces", source)
    return array


def check_voigt(value: Any, source: str, name: str = "stress", floor: float = SYMMETRY_FLOOR) -> np.ndarray:
    """A symmetric tensor as six numbers in ASE's Voigt order (xx, yy, zz, yz, xz, xy), NaN where not known.

    Parameters
    ----------
    value : array of shape (6,), (3, 3) or (9,)
        Six numbers are taken to be in Voigt order already; the full forms are symmetrised.
    source, name : str
        How messages name the structure and the tensor.
    floor : float
        Asymmetry that is always accepted, in the tensor's unit.

    Raises
    ------
    StructureError
        Another shape, infinite, or asymmetric by more than `floor` and than ``SYMMETRY_TOLERANCE`` of its largest
        component.
    """
    array = _numeric(value, name, source)
    if array.shape not in ((6,), (3, 3), (9,)):
        raise StructureError(
            f"{source}: {name} has shape {array.shape}, expected (6,) in the order xx, yy, zz, yz, xz, xy,"
            " or a full 3x3 tensor as (3, 3) or (9,)."
        )
    _require_not_infinite(array, name, source)
    if array.shape == (6,):
        return array
    full = array.reshape(3, 3)
    asymmetry, largest = (np.nan_to_num(np.abs(part)).max() for part in (full - full.T, full))
    if asymmetry > max(floor, SYMMETRY_TOLERANCE * largest):
        raise StructureError(
            f"{source}: {name} is not symmetric: it differs from its transpose by up to {asymmetry:.3g} where the"
            f" largest component is {largest:.3g}; check the order of its components."
        )
    full = (full + full.T) / 2
    return np.asarray(full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])


def check_stress(value: Any, atoms: Atoms, source: str) -> np.ndarray:
    """Stress in eV/Angstrom^3, ASE sign and Voigt order, shape (6,); needs three periodic directions.

    Raises
    ------
    StructureError
        As `check_voigt`, or the structure is a molecule, wire or slab, which has no three-dimensional stress.
    """
    if not all(atoms.pbc):
        flags = "".join("T" if flag else "F" for flag in atoms.pbc)
        raise StructureError(
            f"{source}: has a stress label but pbc is {flags}; stress needs a cell periodic in all three directions"
            " (molecules, wires and slabs have none). Remove the label, e.g. atoms.calc.results.pop('stress'), or pass"
            " None for this structure."
        )
    return check_voigt(value, source)


def _numeric(value: Any, name: str, source: str) -> np.ndarray:
    try:
        found = np.asarray(value)
        if found.dtype.kind in "bcmM":  # true or false, complex, dates: numpy would make numbers of them
            raise TypeError(f"expected real numbers, got {_NO_NUMBERS[found.dtype.kind]}")
        return np.array(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StructureError(f"{source}: {name} is not numeric ({error}): got {str(value)[:80]!r}.") from error


def _require_finite(array: np.ndarray, name: str, source: str) -> None:
    n_bad = int((~np.isfinite(array)).sum())
    if n_bad:
        raise StructureError(
            f"{source}: {name} has {n_bad} NaN or infinite value(s) of {array.size}; a label that was not computed must"
            " be absent (None), not NaN."
        )


def _require_not_infinite(array: np.ndarray, name: str, source: str) -> None:
    n_bad = int(np.isinf(array).sum())
    if n_bad:
        raise StructureError(
            f"{source}: {name} has {n_bad} infinite value(s) of {array.size}; a component that is not known must be"
            " NaN, a label that was not computed absent (None)."
        )


def require_fitted(atoms: Atoms, elements: Collection[int], source: str) -> None:
    """Raise StructureError when a structure holds elements that the fit has not seen."""
    require_elements(atoms.numbers, elements, source)


def require_elements(numbers: NDArray[np.int64], elements: Collection[int], source: str) -> None:
    """Raise StructureError when atomic numbers hold elements that the fit has not seen."""
    unknown = sorted(set(np.unique(numbers).tolist()) - set(elements))
    if unknown:
        raise StructureError(
            f"{source}: elements {[chemical_symbols[z] for z in unknown]} were not in the fit "
            f"({[chemical_symbols[z] for z in sorted(elements)]}); fit again with structures that hold them."
        )
