"""Isolated-atom energies: the part of the total energy that is fixed by composition alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.elements import LAST, atomic_number
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.neighbours import find_pairs

ISOLATION_DISTANCE = 12.0
"""A single atom counts as isolated when its nearest periodic image is at least this far, in Angstrom.

For a model, its cutoff where that is shorter.
"""

TAGS = ("isolatedatom", "isolatedatoms", "isolated", "singleatom", "freeatom", "e0")
"""Configuration types of isolated atoms, in lower case without what is no letter or digit."""

AGREEMENT = 1e-3
"""Given and computed isolated-atom energies that differ by more than this, in eV, are reported."""

# No atom has an energy beyond it, eV: all electrons of the heaviest one make a thousandth.
_LARGEST = 1e9

# Compositions closer to degenerate than this carry noise rather than reference energies.
_RANK_TOLERANCE = 1e-6


def isolated_atom_energies(
    labelled: Sequence[LabelledStructure], given: Mapping[int | str, float] | None = None
) -> dict[int, float]:
    """Reference energy of every element, by decreasing authority: single-atom frames, given values, least squares.

    An element's energy is that of its isolated-atom frame (:func:`is_alone`; the lowest, when there are several, e.g.
    spin states), else
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

    Warns
    -----
    KernpotWarning
        A given value differs from a frame's; or energies come from least squares over more than one composition, with
        what they are and how uncertain.
    """
    from_frames = _frame_energies(labelled)
    from_user = checked_energies(given)
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
    fitted = _least_squares(labelled, known, sorted(present - known.keys()))
    if fitted.n_compositions > 1:
        warnings.warn(fitted.told(), KernpotWarning, stacklevel=2)
    known |= fitted.energies
    return dict(sorted(known.items()))


def by_least_squares(labelled: Sequence[LabelledStructure], given: Mapping[int | str, float] | None) -> list[str]:
    """Symbols of elements whose energy is neither given nor that of a frame: it has no meaning of its own."""
    known = checked_energies(given).keys() | _frame_energies(labelled).keys()
    present = {int(z) for structure in labelled for z in np.unique(structure.atoms.numbers)}
    return [chemical_symbols[z] for z in sorted(present - known)]


def is_isolated_atom(structure: LabelledStructure) -> bool:
    """Whether this is one atom without a periodic image within `ISOLATION_DISTANCE`."""
    return is_alone(structure.atoms)


def is_alone(atoms: Atoms, distance: float = ISOLATION_DISTANCE) -> bool:
    """Whether these are one atom without a periodic image within a distance, or that is called isolated.

    ``config_type=IsolatedAtom`` and the like, in any spelling of :data:`TAGS`, call it so.
    """
    return len(atoms) == 1 and (is_tagged(atoms) or len(find_pairs(atoms, distance)) == 0)


def is_tagged(atoms: Atoms) -> bool:
    """Whether the configuration type is that of isolated atoms."""
    name = str(atoms.info.get("config_type", ""))
    return "".join(filter(str.isalnum, name)).lower() in TAGS


def with_atoms_isolated(labelled: Sequence[LabelledStructure], cutoff: float) -> list[LabelledStructure]:
    """The same, single atoms that are isolated for a model taken out of their boxes.

    In a box that is smaller than `ISOLATION_DISTANCE`, but that no neighbour reaches into, an atom would pass for a
    crystal; one that is called isolated would have its images for neighbours.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    cutoff : float
        Of the model, A.

    Raises
    ------
    StructureError
        A structure of several atoms is called an isolated atom.
    """
    found = []
    for s in labelled:
        if len(s.atoms) > 1 and "atom" in s.config_type.lower() and is_tagged(s.atoms):
            raise StructureError(
                f"{s.source}: config_type is {s.config_type!r}, but there are {len(s.atoms)} atoms, expected one; give "
                "it another config_type."
            )
        if s.atoms.pbc.any() and is_alone(s.atoms, min(cutoff, ISOLATION_DISTANCE)):
            free = s.atoms.copy()
            free.pbc = False
            s = replace(s.without("stress"), atoms=free)
        found.append(s)
    return found


def _frame_energies(labelled: Sequence[LabelledStructure]) -> dict[int, float]:
    energies: dict[int, float] = {}
    for structure in labelled:
        if structure.energy is not None and is_isolated_atom(structure):
            z = int(structure.atoms.numbers[0])
            energies[z] = min(structure.energy, energies.get(z, np.inf))
    return energies


def checked_energies(given: Mapping[int | str, float] | None) -> dict[int, float]:
    """Energies of isolated atoms by atomic number, from what an estimator's `isolated_atoms` may be.

    Parameters
    ----------
    given : mapping of atomic number or symbol to float, optional
        eV.

    Raises
    ------
    StructureError
        Not a mapping, an unknown element or one given twice, or a value that is no finite number.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise StructureError(f"isolated_atoms must map symbols or atomic numbers to energies in eV, got {given!r}.")
    energies: dict[int, float] = {}
    for element, energy in given.items():
        z = atomic_number(element)
        if z is None:
            raise StructureError(
                f"isolated_atoms: {element!r} is no element; use symbols, or atomic numbers from 1 to {LAST}."
            )
        real = isinstance(energy, int | float | np.integer | np.floating) and not isinstance(energy, bool)
        if not (real and abs(energy) <= _LARGEST):
            raise StructureError(
                f"isolated_atoms: {chemical_symbols[z]} has {energy!r}, expected a finite energy in eV, such as -3.7."
            )
        if z in energies:
            raise StructureError(
                f"isolated_atoms: {chemical_symbols[z]} is given twice, by symbol and by number; leave one of them out."
            )
        energies[z] = float(energy)
    return energies


@dataclass(frozen=True)
class _Fitted:
    """Energies by least squares.

    Attributes
    ----------
    energies : dict of int to float
        eV, by atomic number.
    stds : ndarray of shape (n_elements,)
        eV; infinite where the compositions do not determine an energy.
    n_compositions : int
        Different ones among the structures that decide.
    """

    energies: dict[int, float]
    stds: NDArray[np.float64]
    n_compositions: int

    def told(self) -> str:
        """What was fitted, and how uncertain it is."""
        values = [
            f"{chemical_symbols[z]} {energy:.3f} eV ("
            + (f"std {std:.2g} eV)" if np.isfinite(std) else "not determined by these compositions)")
            for (z, energy), std in zip(self.energies.items(), self.stds, strict=True)
        ]
        return (
            f"there are no isolated atoms of {', '.join(chemical_symbols[z] for z in self.energies)}; their energies "
            f"are fitted to structures of {self.n_compositions} compositions instead: {', '.join(values)}. What a "
            "structure gains by binding is then unknown, and energies of other compositions rest on these numbers. Add "
            "frames of single atoms (config_type IsolatedAtom), or give their energies (isolated_atoms)."
        )


def _least_squares(labelled: Sequence[LabelledStructure], known: Mapping[int, float], unknown: list[int]) -> _Fitted:
    with_energy = [structure for structure in labelled if structure.energy is not None]
    if not unknown or not with_energy:
        return _Fitted(dict.fromkeys(unknown, 0.0), np.full(len(unknown), np.inf), 0)
    n_atoms = np.array([len(structure.atoms) for structure in with_energy], dtype=np.float64)
    counts = {
        z: np.array([np.count_nonzero(structure.atoms.numbers == z) for structure in with_energy])
        for z in [*known, *unknown]
    }
    energies = np.array([structure.energy for structure in with_energy], dtype=np.float64)
    remainder = energies - sum(counts[z] * energy for z, energy in known.items())
    fractions = np.stack([counts[z] for z in unknown], axis=1) / n_atoms[:, None]
    solution, _, rank, _ = np.linalg.lstsq(fractions, remainder / n_atoms, rcond=_RANK_TOLERANCE)
    decide = fractions.any(axis=1)
    n_compositions = len(np.unique(np.round(fractions[decide], 6), axis=0))
    stds = _stds(fractions[decide], (remainder / n_atoms - fractions @ solution)[decide], int(rank))
    return _Fitted({z: float(energy) for z, energy in zip(unknown, solution, strict=True)}, stds, n_compositions)


def _stds(fractions: NDArray[np.float64], residuals: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """Standard deviations of a least-squares solution; infinite for what is not determined, or by nothing to spare."""
    freedom = len(fractions) - rank
    if freedom < 1:
        return np.full(fractions.shape[1], np.inf)
    variance = float(residuals @ residuals) / freedom
    _, singular, vectors = np.linalg.svd(fractions, full_matrices=True)
    determined = vectors[:rank]
    inside = (determined**2).sum(axis=0) > 1 - _RANK_TOLERANCE
    spread = ((determined / singular[:rank, None]) ** 2).sum(axis=0)
    return np.where(inside, np.sqrt(variance * spread), np.inf)
