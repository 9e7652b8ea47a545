"""Structures that occur more than once, with the same labels.

They teach nothing a second time. Worse, an error on a structure left out is no such error while its twin is learnt:
error bars that rest on such errors would be too small by as much as the fit follows its labels. Those with other noise
or with other arrays on their atoms are others; those turned, or with their atoms in another order, are not found.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from kernpot.errors import KernpotWarning
from kernpot.structures.labels import LabelledStructure

# What files round away: Angstrom, eV per atom, eV/A, eV/A^3.
_POSITIONS = 1e-4
_LABELS = {"energy": 1e-6, "forces": 1e-4, "stress": 1e-6}


def without_repeats(labelled: Sequence[LabelledStructure]) -> list[LabelledStructure]:
    """Each structure once, the first of those that are the same but for a shift; a warning tells of the others.

    Parameters
    ----------
    labelled : sequence of LabelledStructure

    Returns
    -------
    list of LabelledStructure
        In their order.
    """
    found = repeats(labelled)
    if found:
        first, again = found[0]
        warnings.warn(
            f"{len(found)} of {len(labelled)} structures occur a second time with the same labels (from "
            f"{labelled[again].source} on, which is {labelled[first].source}) and are learnt once: errors on "
            "structures left out, which error bars rest on, would be too small with a twin left in. Was a file given "
            "twice, or are files parts of one another?",
            KernpotWarning,
            stacklevel=3,
        )
    dropped = {again for _, again in found}
    return [s for k, s in enumerate(labelled) if k not in dropped]


def repeats(labelled: Sequence[LabelledStructure]) -> list[tuple[int, int]]:
    """Places of structures that occurred before, each after that of the first of its kind, sorted by their own."""
    alike: dict[tuple[bytes, bytes, tuple[str, ...]], list[int]] = {}
    for k, s in enumerate(labelled):
        if s.kinds:
            alike.setdefault((s.atoms.numbers.tobytes(), s.atoms.pbc.tobytes(), s.kinds), []).append(k)
    found = []
    for members in alike.values():
        keys = np.array([_key(labelled[k]) for k in members])
        order = np.argsort(keys, kind="stable")
        ends = np.searchsorted(keys[order], keys[order] + _width(labelled[members[0]]), side="right")
        first_of: dict[int, int] = {}
        for at, end in enumerate(ends):
            for other in order[at + 1 : end]:
                a, b = sorted((members[order[at]], members[other]))
                if a < first_of.get(b, b) and _same(labelled[a], labelled[b]):
                    first_of[b] = a
        found += [(a, b) for b, a in first_of.items()]
    return sorted(found, key=lambda pair: pair[1])


def _key(s: LabelledStructure) -> float:
    """A number that is the same for structures that are, within `_width`: the first of its labels."""
    return float(np.nansum(np.square(np.asarray(s.label(s.kinds[0]), dtype=np.float64)))) ** 0.5


def _width(s: LabelledStructure) -> float:
    kind = s.kinds[0]
    size = len(s.atoms) if kind == "energy" else np.sqrt(np.size(s.label(kind)))
    return float(size * _LABELS.get(kind, _LABELS["forces"]))


def _same(a: LabelledStructure, b: LabelledStructure) -> bool:
    """Whether two of the same elements and kinds of labels are one structure, but for a shift, with the same labels."""
    for kind in a.kinds:
        x, y = (np.asarray(s.label(kind), dtype=np.float64) for s in (a, b))
        least = _LABELS.get(kind, _LABELS["forces"]) * (len(a.atoms) if kind == "energy" else 1)
        if not np.allclose(x, y, rtol=0, atol=least, equal_nan=True):
            return False
        if not np.array_equal(a.scales(kind), b.scales(kind)):
            return False  # one is trusted more
    return _same_arrays(a.atoms, b.atoms) and _same_geometry(a.atoms, b.atoms)


def _same_arrays(a: Atoms, b: Atoms) -> bool:
    """Whether rows of numbers for each atom, which features may be, are the same."""
    names = {n for x in (a, b) for n, values in x.arrays.items() if values.ndim > 1} - {"positions", "momenta"}
    return all(n in a.arrays and n in b.arrays and np.array_equal(a.arrays[n], b.arrays[n]) for n in names)


def _same_geometry(a: Atoms, b: Atoms) -> bool:
    if np.abs(a.cell.array - b.cell.array)[a.pbc].max(initial=0.0) > _POSITIONS:
        return False
    moved = b.positions - a.positions
    moved -= moved[0]
    if a.pbc.any():
        moved = find_mic(moved, a.cell, a.pbc)[0]
    return bool(np.abs(moved).max() < _POSITIONS)
