"""Atoms closer to one another than any in the fit: a term of the energy that no label tells anything of.

How strongly atoms repel one another below the closest distance ``m_ab`` that a fit has seen of their elements is not in
its labels, and features scaled to unit length hardly tell that they are closer. What a model makes of it continues what
it has learnt; what is missing is of the size of what a screened nuclear repulsion does beyond its own continuation,

    phi_ab(r) = V(r) - V(m) - V'(m) (r - m) - V''(m) (r - m)^2 / 2     for r < m = m_ab, and 0 beyond,

``V`` being the universal potential of Ziegler, Biersack and Littmark (The Stopping and Range of Ions in Solids, 1985).
So the energy has one more term, ``sum_ab c_ab sum_pairs phi_ab(r)``, with independent ``c_ab ~ N(0, 1)``. It vanishes
on all that was learnt, so that its posterior is its prior. Elements that were never within the cutoff of one another
have ``m_ab`` at the cutoff. It is twice differentiable, and reaches energies, forces and stress together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from kernpot.files.parts import number, require
from kernpot.functionals.state import VOIGT
from kernpot.prediction import ClosePair
from kernpot.structures.neighbours import Pairs, find_pairs

FloatArray = NDArray[np.float64]

# Coefficients and decays of the screening function, the length in it (Angstrom), and e^2 / 4 pi eps_0 in eV Angstrom.
_SCREENING = np.array([0.18175, 0.50986, 0.28022, 0.02817])
_DECAYS = np.array([3.1998, 0.94229, 0.40290, 0.20162])
_LENGTH, _POWER = 0.46850, 0.23
_COULOMB = 14.399645
# Distances that differ by rounding are the same.
_CLOSER = 1 - 1e-9


def repulsion(r: FloatArray, first: int, second: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Universal repulsion of two elements and its first two derivatives at distances (n,), eV and Angstrom."""
    decays = _DECAYS * (first**_POWER + second**_POWER) / _LENGTH
    parts = _SCREENING * np.exp(-r[:, None] * decays)
    phi, slope, curvature = parts.sum(1), -(parts @ decays), parts @ decays**2
    k = _COULOMB * first * second / r
    return k * phi, k * (slope - phi / r), k * (curvature - 2 * slope / r + 2 * phi / r**2)


class Unknown(NamedTuple):
    """What the unknown term makes of a structure, for each pair of elements that is closer than ever: ``c_ab = 1``.

    Attributes
    ----------
    atomic : ndarray of shape (k, n_centres)
        Energies of atoms, eV.
    forces : ndarray of shape (k, n_atoms, 3)
        eV/Angstrom.
    virial : ndarray of shape (k, 6)
        Derivatives by Voigt strains, eV.
    """

    atomic: FloatArray
    forces: FloatArray
    virial: FloatArray

    def joint(self, volume: float | None) -> Tensor:
        """Covariance (K, K) of energy, forces and, of a periodic structure, stress."""
        parts = [self.energies[:, None], self.forces.reshape(len(self.forces), -1)]
        if volume is not None:
            parts.append(self.virial / volume)
        all_ = torch.from_numpy(np.concatenate(parts, axis=1))
        return all_.mT @ all_

    def variances(self, volume: float | None) -> dict[str, Tensor]:
        """Of the total energy (1,), force components (3 n,) and, of a periodic structure, stress (6,)."""
        found = {"energy": self.energies[:, None], "forces": self.forces.reshape(len(self.forces), -1)}
        if volume is not None:
            found["stress"] = self.virial / volume
        return {kind: _variance(values) for kind, values in found.items()}

    @property
    def atomic_variances(self) -> Tensor:
        """Of energies of atoms (n_centres,)."""
        return _variance(self.atomic)

    @property
    def energies(self) -> FloatArray:
        """Total energies (k,), eV."""
        total: FloatArray = self.atomic.sum(1)
        return total


@dataclass(frozen=True)
class UnseenPairs:
    """The closest distances that a fit has seen.

    Attributes
    ----------
    closest : mapping of (int, int) to float
        By pair of atomic numbers, the smaller first, Angstrom; elements that never met are not among them.
    cutoff : float
        Angstrom.
    """

    closest: Mapping[tuple[int, int], float]
    cutoff: float

    @classmethod
    def of(cls, structures: Iterable[Atoms], cutoff: float) -> Self:
        """Of labelled structures."""
        found = cls({}, cutoff)
        for atoms in structures:
            found = found.merged(cls.in_structure(atoms.numbers, find_pairs(atoms, cutoff), cutoff))
        return found

    @classmethod
    def in_structure(cls, numbers: NDArray[np.int64], pairs: Pairs, cutoff: float) -> Self:
        """Of one structure, from all its pairs within the cutoff."""
        elements, place = np.unique(numbers, return_inverse=True)
        table = np.full((len(elements), len(elements)), np.inf)
        squares = np.einsum("px,px->p", pairs.vectors, pairs.vectors)
        np.minimum.at(table, (place[pairs.centres], place[pairs.neighbours]), squares)
        met = {
            (int(elements[a]), int(elements[b])): min(float(np.sqrt(table[a, b])), cutoff)
            for a, b in np.argwhere(np.isfinite(table)).tolist()
            if a <= b
        }
        return cls(met, cutoff)

    def merged(self, other: Self) -> Self:
        """Of the structures of both."""
        both = {*self.closest, *other.closest}
        least = {k: min(x.closest.get(k, self.cutoff) for x in (self, other)) for k in both}
        return type(self)(least, self.cutoff)

    def __call__(self, numbers: NDArray[np.int64], pairs: Pairs, n_centres: int | None = None) -> Unknown | None:
        """What the term makes of a structure; None where no atoms are closer than ever.

        Parameters
        ----------
        numbers : ndarray of shape (n_atoms,)
            Atomic numbers; those of the centres come first.
        pairs : Pairs
            All of centres within the cutoff.
        n_centres : int, optional
            All atoms where it is not given.
        """
        elements, place = np.unique(numbers, return_inverse=True)
        limits = self._limits(elements)
        centres, vectors = pairs.centres, pairs.vectors
        squares = np.einsum("px,px->p", vectors, vectors)
        near = np.flatnonzero(squares < limits.max() ** 2)
        first, second = place[centres[near]], place[pairs.neighbours[near]]
        closer = squares[near] < limits[first, second] ** 2
        if not closer.any():
            return None
        here, kinds = near[closer], np.sort(np.stack([first, second])[:, closer], axis=0)
        met = np.unique(kinds, axis=1).T.tolist()
        n, count = n_centres or len(numbers), len(met)
        out = Unknown(np.zeros((count, n)), np.zeros((count, len(numbers), 3)), np.zeros((count, 6)))
        for k, (a, b) in enumerate(met):
            of_kind, ends = here[(kinds == [[a], [b]]).all(0)], (int(elements[a]), int(elements[b]))
            r, v, own = np.sqrt(squares[of_kind]), vectors[of_kind], centres[of_kind]
            energy, slope = _beyond(r, self._limit(*ends), *ends)
            out.atomic[k] = np.bincount(own, 0.5 * energy, n)
            pull = v * (slope / r)[:, None]
            for x in range(3):
                out.forces[k, :, x] = np.bincount(own, pull[:, x], len(numbers))
            out.virial[k] = [0.5 * np.sum(pull[:, x] * v[:, y]) for x, y in VOIGT]
        return out

    def closer(self, numbers: NDArray[np.int64], pairs: Pairs) -> ClosePair | None:
        """The pair that is furthest (relative) below the closest of its elements; None where there is none below."""
        if not len(pairs):
            return None
        elements, place = np.unique(numbers, return_inverse=True)
        distances = np.sqrt(np.einsum("px,px->p", pairs.vectors, pairs.vectors))
        part = distances / self._limits(elements)[place[pairs.centres], place[pairs.neighbours]]
        if part.min() >= 1:
            return None
        k = int(part.argmin())
        ends = int(pairs.centres[k]), int(pairs.neighbours[k])
        first, second = (int(numbers[end]) for end in ends)
        closest = self.closest.get((min(first, second), max(first, second)))
        return ClosePair(ends, (chemical_symbols[first], chemical_symbols[second]), float(distances[k]), closest)

    def _limit(self, first: int, second: int) -> float:
        return self.closest.get((min(first, second), max(first, second)), self.cutoff)

    def limits(self, elements: NDArray[np.int64]) -> FloatArray:
        """Closest distances (n, n) of atoms of two of the elements (n,), Angstrom; the cutoff where they never met."""
        numbers = elements.tolist()
        return np.array([[self._limit(a, b) for b in numbers] for a in numbers], dtype=np.float64)

    def _limits(self, elements: NDArray[np.int64]) -> FloatArray:
        """Distances below which atoms of two of the elements are closer than ever, but for rounding."""
        limits: FloatArray = _CLOSER * self.limits(elements)
        return limits


def _variance(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.square(values).sum(0))


def _beyond(r: FloatArray, m: float, first: int, second: int) -> tuple[FloatArray, FloatArray]:
    """``phi`` and its slope at distances below ``m``."""
    energy, slope, _ = repulsion(r, first, second)
    e, s, c = (float(x[0]) for x in repulsion(np.array([m]), first, second))
    x = r - m
    return energy - e - s * x - 0.5 * c * x**2, slope - s - c * x


def unseen_pairs_data(unseen: UnseenPairs | None) -> dict[str, Any] | None:
    """As JSON has it."""
    if unseen is None:
        return None
    return {"cutoff": unseen.cutoff, "closest": [[a, b, r] for (a, b), r in sorted(unseen.closest.items())]}


def unseen_pairs_from(data: Mapping[str, Any] | None) -> UnseenPairs | None:
    """What :func:`unseen_pairs_data` told."""
    if data is None:
        return None
    cutoff = number(data["cutoff"])
    entries = data["closest"]
    require(isinstance(entries, list), "the closest distances are no list")
    require(all(type(z) is int for a, b, _ in entries for z in (a, b)), "an element is no atomic number")
    closest = {(a, b): number(r) for a, b, r in entries}
    require(len(closest) == len(entries), "a pair of elements comes twice")
    require(all(0 < r <= cutoff for r in closest.values()), f"a distance is not between 0 and the cutoff, {cutoff:g} A")
    require(all(0 < a <= b < 120 for a, b in closest), "a pair is not of two atomic numbers, the smaller first")
    return UnseenPairs(closest, cutoff)
