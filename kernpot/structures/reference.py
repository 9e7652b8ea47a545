"""Isolated-atom energies: the part of the total energy that is fixed by composition alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.neighbours import find_pairs

ISOLATION_DISTANCE = 12.0
"""A single atom counts as isolated when its nearest periodic image is at least this far, in Angstrom."""

AGREEMENT = 1e-3
"""Given and computed isolated-atom energies that differ by more than this, in eV, are reported."""

# Compositions closer to degenerate than this carry noise rather than reference energies.
_RANK_TOLERANCE = 1e-6


def isolated_atom_energies(
    labelled: Sequence[LabelledStructure], given: Mapping[int | str, float] | None = None
) -> dict[int, float]:
    """Reference energy of every element, by decreasing authority: single-atom frames, given values, least squares.

    An element's energy is that of its isolated-atom frame (the lowest, when there are several, e.g. spin states), else
    the value given. Those of the remaining elements e_z minimise, with the known ones fixed,

        sum_s [ (E_s - sum_z n_sz e_z) / N_s ]^2,

    E_s the total energies, n_sz the number of atoms of element z, N_s of all; the solution of least norm when the
    compositions do not determine it. An element without any energy data gets 0. Structures without energy are ignored.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    given : mapping of atomic number or symbol to float, optional
        eV; elements that do not occur are kept in the result.

    Returns
    -------
    dict of int to float
        Atomic number to energy in eV, sorted by atomic number.

    Raises
    ------
    StructureError
        `given` has an unknown element or a value that is not finite.
    """
    from_frames = _frame_energies(labelled)
    from_user = _checked(given or {})
    for z in sorted(from_user.keys() & from_frames.keys()):
        if abs(from_user[z] - from_frames[z]) > AGREEMENT:
            warnings.warn(
                f"isolated-atom energy of {chemical_symbols[z]}: the structures contain an isolated atom with"
                f" {from_frames[z]:.6f} eV, which is used; the given {from_user[z]:.6f} eV is ignored. Remove that"
                " frame to use the given value.",
                KernpotWarning,
                stacklevel=2,
            )
    known = {**from_user, **from_frames}
    present = {int(z) for structure in labelled for z in np.unique(structure.atoms.numbers)}
    known |= _least_squares(labelled, known, sorted(present - known.keys()))
    return dict(sorted(known.items()))


def by_least_squares(labelled: Sequence[LabelledStructure], given: Mapping[int | str, float] | None) -> list[str]:
    """Symbols of elements whose energy is neither given nor that of a frame: it has no meaning of its own."""
    known = _checked(given or {}).keys() | _frame_energies(labelled).keys()
    present = {int(z) for structure in labelled for z in np.unique(structure.atoms.numbers)}
    return [chemical_symbols[z] for z in sorted(present - known)]


def is_isolated_atom(structure: LabelledStructure) -> bool:
    """Whether this is one atom without a periodic image within `ISOLATION_DISTANCE`."""
    return is_alone(structure.atoms)


def is_alone(atoms: Atoms) -> bool:
    """Whether these are one atom without a periodic image within `ISOLATION_DISTANCE`."""
    return len(atoms) == 1 and len(find_pairs(atoms, ISOLATION_DISTANCE)) == 0


def _frame_energies(labelled: Sequence[LabelledStructure]) -> dict[int, float]:
    energies: dict[int, float] = {}
    for structure in labelled:
        if structure.energy is not None and is_isolated_atom(structure):
            z = int(structure.atoms.numbers[0])
            energies[z] = min(structure.energy, energies.get(z, np.inf))
    return energies


def _checked(given: Mapping[int | str, float]) -> dict[int, float]:
    energies = {}
    for element, energy in given.items():
        z = atomic_numbers.get(element, 0) if isinstance(element, str) else int(element)
        if not 1 <= z < len(chemical_symbols):
            raise StructureError(f"isolated-atom energies: {element!r} is no element; use symbols or atomic numbers.")
        if not np.isfinite(energy):
            raise StructureError(
                f"isolated-atom energies: {chemical_symbols[z]} has {energy!r}, expected a finite energy in eV."
            )
        energies[z] = float(energy)
    return energies


def _least_squares(
    labelled: Sequence[LabelledStructure], known: Mapping[int, float], unknown: list[int]
) -> dict[int, float]:
    with_energy = [structure for structure in labelled if structure.energy is not None]
    if not unknown or not with_energy:
        return dict.fromkeys(unknown, 0.0)
    n_atoms = np.array([len(structure.atoms) for structure in with_energy], dtype=np.float64)
    counts = {
        z: np.array([np.count_nonzero(structure.atoms.numbers == z) for structure in with_energy])
        for z in [*known, *unknown]
    }
    energies = np.array([structure.energy for structure in with_energy], dtype=np.float64)
    remainder = energies - sum(counts[z] * energy for z, energy in known.items())
    fractions = np.stack([counts[z] for z in unknown], axis=1) / n_atoms[:, None]
    solution = np.linalg.lstsq(fractions, remainder / n_atoms, rcond=_RANK_TOLERANCE)[0]
    return {z: float(energy) for z, energy in zip(unknown, solution, strict=True)}
