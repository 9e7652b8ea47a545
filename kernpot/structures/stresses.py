"""Stress labels: from a stress or a virial, of structures that have one, and not from two that disagree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.checks import SYMMETRY_FLOOR, check_voigt

AGREEMENT = 1e-2
"""Largest difference of a stress and a virial relative to the largest component."""

_FLOOR = 1e-5
"""Difference that always counts as rounding, eV/Angstrom^3."""


def has_stress(atoms: Atoms) -> bool:
    """Whether a structure can have one: it is periodic in three directions, and its cell has a volume."""
    return bool(all(atoms.pbc)) and abs(np.linalg.det(atoms.cell.array)) > 0


def stress_of_virial(virial: Any, atoms: Atoms, source: str, name: str = "virial") -> NDArray[np.float64]:
    """Stress in eV/A^3 from a virial in eV: ``-virial / volume``, ASE's sign."""
    volume = float(abs(np.linalg.det(atoms.cell.array)))
    return np.asarray(-check_voigt(virial, source, name, floor=SYMMETRY_FLOOR * volume) / volume)


def agreed_stress(stress: NDArray[np.float64], virial: NDArray[np.float64], source: str) -> NDArray[np.float64]:
    """The stress that a frame gives twice; of one that is all zeros, the other.

    Parameters
    ----------
    stress, virial : ndarray of shape (6,)
        Both as a stress, eV/Angstrom^3; NaN where not known.

    Raises
    ------
    StructureError
        They disagree.
    """
    if not np.nan_to_num(stress).any():
        return virial
    if not np.nan_to_num(virial).any() or _close(stress, virial):
        return stress
    raise StructureError(
        f"{source}: has a stress and a virial that disagree by up to {np.nanmax(np.abs(stress - virial)):.3g} eV/A^3"
        f"{_reason(stress, virial)}; correct one, remove it, or name the right one as the key of the stress."
    )


def warn_of_zeros(sources: Sequence[str], n_structures: int) -> None:
    """One warning for structures of which the virial is taken since the stress is all zeros, or the other way."""
    if sources:
        warnings.warn(
            f"{len(sources)} of {n_structures} structures (from {sources[0]} on) have a stress and a virial of which"
            " one is all zeros; the other is taken.",
            KernpotWarning,
            stacklevel=4,
        )


def warn_of_left_out(sources: Sequence[str], n_structures: int) -> None:
    """One warning for structures whose stress or virial is left out, since they are molecules, wires or slabs."""
    if sources:
        warnings.warn(
            f"{len(sources)} of {n_structures} structures (from {sources[0]} on) have a stress or virial, but are not"
            " periodic in three directions, so that it means nothing; it is left out.",
            KernpotWarning,
            stacklevel=4,
        )


def _close(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    difference, largest = (np.nan_to_num(np.abs(part)).max() for part in (a - b, a))
    return bool(difference <= max(_FLOOR, AGREEMENT * largest))


def _reason(stress: NDArray[np.float64], virial: NDArray[np.float64]) -> str:
    factors = {"has the other sign": 1.0, "is in GPa": 1 / units.GPa, "is in kbar": 10 / units.GPa}
    for words, factor in factors.items():
        for sign, more in ((1.0, ""), (-1.0, " and has the other sign")):
            scaled = stress / (sign * factor)
            if (sign, factor) != (1.0, 1.0) and _close(scaled, virial):
                return f": the stress {words}{more if factor != 1 else ''}"
    return ""
