"""The closest atoms of each pair of elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from kernpot.structures.neighbours import find_pairs

# Atoms further apart than this part of the sum of two of the largest covalent radii, or than this, are not looked at.
_REACH, _LEAST = 1.6, 3.0


class Contact(NamedTuple):
    """Two atoms.

    Attributes
    ----------
    distance : float
        Angstrom.
    structure : int
        Place of the structure in the list.
    atoms : tuple of int
        Which two; the second may be a periodic image.
    vector : ndarray of shape (3,)
        From the first to the second, Angstrom.
    """

    distance: float
    structure: int
    atoms: tuple[int, int]
    vector: np.ndarray


def closest_contacts(structures: Sequence[Atoms]) -> dict[tuple[int, int], Contact]:
    """For each pair of elements (atomic numbers, smaller first) that come near one another, the closest two atoms."""
    found: dict[tuple[int, int], Contact] = {}
    numbers = {int(z) for atoms in structures for z in atoms.numbers}
    cutoff = max(_LEAST, 2 * _REACH * max((float(covalent_radii[z]) for z in numbers), default=0.0))
    for k, atoms in enumerate(structures):
        pairs = find_pairs(atoms, cutoff)
        if not len(pairs):
            continue
        distances = np.linalg.norm(pairs.vectors, axis=1)
        ends = np.sort(np.stack([atoms.numbers[pairs.centres], atoms.numbers[pairs.neighbours]]), axis=0)
        code = 1000 * ends[0] + ends[1]
        for pair in np.unique(code):
            here = np.flatnonzero(code == pair)
            best = int(here[distances[here].argmin()])
            key = (int(pair) // 1000, int(pair) % 1000)
            if key not in found or distances[best] < found[key].distance:
                two = (int(pairs.centres[best]), int(pairs.neighbours[best]))
                found[key] = Contact(float(distances[best]), k, two, pairs.vectors[best])
    return dict(sorted(found.items()))
