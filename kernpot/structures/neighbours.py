"""Neighbour pairs of atoms, found by vesin; with a skin, pairs are reused while atoms move and the cell deforms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import vesin
from ase import Atoms
from ase.geometry import complete_cell

from kernpot.compilation import COMPILED, compiled_in_order
from kernpot.errors import ParameterError
from kernpot.parallel.memory import require_memory
from kernpot.parameters import is_real
from kernpot.structures.geometry import check_geometry, periodic_cell

# The search reaches this much further (relative), so that rounding inside vesin cannot drop one of i-j and j-i.
_MARGIN = 1e-9

# Below this radius, in Angstrom, vesin's time grows again: it sorts the atoms into very many, nearly all empty, boxes.
_MIN_SEARCH_RADIUS = 2.0

# vesin sorts atoms into at most this many boxes. To keep to it, it scales the numbers of boxes along all directions
# down together, and the process dies of a division by zero where one of them becomes less than one.
_MAX_BOXES = 1e5

# Pairs of boxes that are searched in a slab or wire of few atoms, well below a second.
_MAX_BOX_PAIRS = 1e5

# Bytes that a search takes for each pair: itself, in order, and with its vector.
_OF_A_PAIR = 250


@dataclass(frozen=True, eq=False)
class Pairs:
    """Ordered pairs of atoms, both directions, sorted by centre, then neighbour, then shift.

    Attributes
    ----------
    centres, neighbours : ndarray of int64, shape (n_pairs,)
        Atom indices i and j.
    shifts : ndarray of int64, shape (n_pairs, 3)
        Whole cell vectors S added to atom j; zero along non-periodic directions.
    vectors : ndarray of float64, shape (n_pairs, 3), Angstrom
        ``r_j + S @ cell - r_i``. An atom is a neighbour of its own images, never of itself at zero shift.
    """

    centres: np.ndarray
    neighbours: np.ndarray
    shifts: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)


def find_pairs(atoms: Atoms, cutoff: float) -> Pairs:
    """All pairs of atoms and periodic images closer than the cutoff.

    Periodic in 0 to 3 directions; the cell may be smaller than the cutoff, skewed, left-handed, and without vectors
    along its non-periodic directions; positions may lie outside the cell. Cost is linear in the number of atoms.

    Parameters
    ----------
    atoms : ase.Atoms
    cutoff : float
        Distance in Angstrom; pairs are strictly closer.

    Raises
    ------
    StructureError
        The geometry is not finite, has come apart, or its periodic cell has no volume.
    """
    _require_positive("cutoff", cutoff)
    check_geometry(atoms, "neighbour search")
    return _within(_candidates(atoms, cutoff), atoms.positions, periodic_cell(atoms), cutoff)


def most_neighbours(atoms: Atoms, cutoff: float) -> float:
    """About how many pairs an atom has within a cutoff (Angstrom), without a search; a bound where a cell is open.

    Of a periodic cell its density tells; along open directions atoms are as far apart as they are, and one atom may see
    all others.
    """
    cell, pbc = periodic_cell(atoms), np.asarray(atoms.pbc)
    full = complete_cell(cell)
    if pbc.all():
        return float(len(atoms) * 4 / 3 * np.pi * cutoff**3 / abs(np.linalg.det(full)))
    heights = 1 / np.linalg.norm(np.linalg.inv(full), axis=0)
    images = np.where(pbc, 2 * cutoff / heights + 1, 1.0)
    return float(len(atoms) * images.prod())


class NeighbourList:
    """Neighbour pairs that are reused between similar geometries.

    Pairs are searched up to ``cutoff + skin`` and kept. With r, C the positions and cell of that search, r', C' the
    present ones, F = C^-1 C' the deformation between them and u = r' - r F the non-affine displacements, a pair
    vector d becomes d' = d F + u_j - u_i. A pair missing from the kept ones can therefore be inside the cutoff only if
    ``(cutoff + 2 max|u|) |F^-1| > cutoff + skin``, with the spectral norm; then, and only then, pairs are searched
    again. For a fixed cell this is the usual rule, an atom moved by more than skin / 2.

    Parameters
    ----------
    cutoff : float
        Angstrom.
    skin : float, default=0.5
        Angstrom; zero searches again on every change.

    Attributes
    ----------
    n_builds : int
        Number of searches so far.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        _require_positive("cutoff", cutoff)
        if not is_real(skin, 0):
            raise ParameterError(f"skin must be a distance >= 0 in Angstrom, got {skin!r}")
        self.cutoff = float(cutoff)
        self.skin = float(skin)
        self.n_builds = 0
        self._built_for: Atoms | None = None
        self._n_centres = 0
        self._kept = Pairs(*_no_pairs())

    def update(self, atoms: Atoms, n_centres: int | None = None) -> Pairs:
        """Pairs of these atoms within the cutoff, the same as ``find_pairs(atoms, cutoff)``.

        Parameters
        ----------
        atoms : ase.Atoms
        n_centres : int, optional
            Only pairs of that many atoms, the first ones, with all.

        Raises
        ------
        StructureError
            The geometry is not finite, has come apart, or its periodic cell has no volume.
        """
        check_geometry(atoms, "neighbour search")
        n = len(atoms) if n_centres is None else n_centres
        if n != self._n_centres or not self._still_complete(atoms):
            self._kept = _of_first(n, _candidates(atoms, self.cutoff + self.skin))
            self._n_centres = n
            self._built_for = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            self.n_builds += 1
        return _within(self._kept, atoms.positions, periodic_cell(atoms), self.cutoff)

    def _still_complete(self, atoms: Atoms) -> bool:
        old = self._built_for
        if old is None or not np.array_equal(old.numbers, atoms.numbers) or not np.array_equal(old.pbc, atoms.pbc):
            return False
        old_cell, new_cell = (complete_cell(periodic_cell(a)) for a in (old, atoms))
        moved = atoms.positions - old.positions @ np.linalg.solve(old_cell, new_cell)
        reach = self.cutoff + 2 * np.sqrt((moved**2).sum(axis=1).max(initial=0.0))
        stretch = np.linalg.norm(np.linalg.solve(new_cell, old_cell), ord=2)
        return bool(reach * stretch <= (self.cutoff + self.skin) * (1 + _MARGIN / 2))


def _candidates(atoms: Atoms, cutoff: float) -> Pairs:
    """Every pair closer than the cutoff, and possibly some beyond it, in a reproducible order."""
    if len(atoms) == 0:
        return Pairs(*_no_pairs())
    cell = periodic_cell(atoms)
    n_pairs = len(atoms) * most_neighbours(atoms, cutoff)
    if atoms.pbc.any():  # elsewhere the bound is far too high for large systems, which have no images
        require_memory(
            _OF_A_PAIR * n_pairs,
            f"the search for neighbours within {cutoff:g} A of {len(atoms)} atoms, some {n_pairs:.2g} pairs,",
            "Take a smaller cutoff, a smaller structure, or look whether its cell is in Angstrom.",
        )
    search = vesin.NeighborList(cutoff=_search_radius(atoms, cell, cutoff * (1 + _MARGIN)), full_list=True)
    centres, neighbours, shifts = search.compute(
        np.array(atoms.positions, dtype=np.float64), cell, np.asarray(atoms.pbc), "ijS"
    )
    # vesin leaves the order of a centre's neighbours open; sums over pairs must not depend on it
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], neighbours, centres))
    i, j, s = centres[order].astype(np.int64), neighbours[order].astype(np.int64), shifts[order].astype(np.int64)
    return Pairs(i, j, s, _vectors(i, j, s, atoms.positions, cell))


def _of_first(n_centres: int, pairs: Pairs) -> Pairs:
    """Those pairs whose centre is one of the first atoms."""
    own = slice(0, int(np.searchsorted(pairs.centres, n_centres)))
    return Pairs(pairs.centres[own], pairs.neighbours[own], pairs.shifts[own], pairs.vectors[own])


def _search_radius(atoms: Atoms, cell: np.ndarray, cutoff: float) -> float:
    """A radius from the cutoff on that vesin searches safely: larger only in long or flat, nearly empty boxes."""
    pbc = np.asarray(atoms.pbc)
    heights = 1 / np.linalg.norm(np.linalg.inv(complete_cell(cell)), axis=0)
    # vesin bounds non-periodic directions by the Cartesian coordinates, with a margin of one per cent
    lengths = np.where(pbc, heights, np.maximum(1.01 * np.ptp(atoms.positions, axis=0), 1.01))
    radius = max(cutoff, _MIN_SEARCH_RADIUS)
    while True:
        n_boxes = np.maximum(np.floor(lengths / radius), 1)
        total = n_boxes.prod()
        # half the limit allows for rounding here and there; four boxes survive three truncations in a row
        safe = total <= _MAX_BOXES / 2 or n_boxes.min() * np.cbrt(_MAX_BOXES / total) >= 4
        # in slabs and wires vesin pairs every box with all others along the open directions
        quick = pbc.all() or not pbc.any() or total * n_boxes[~pbc].prod() <= _MAX_BOX_PAIRS + 100 * len(atoms)
        if safe and quick:
            return float(radius)
        radius *= 1.2


def _within(pairs: Pairs, positions: np.ndarray, cell: np.ndarray, cutoff: float) -> Pairs:
    if COMPILED:
        kept = (pairs.centres, pairs.neighbours, pairs.shifts)
        return Pairs(*_near(*kept, np.ascontiguousarray(positions), cell, cutoff**2))
    vectors = _vectors(pairs.centres, pairs.neighbours, pairs.shifts, positions, cell)
    near = np.flatnonzero((vectors * vectors).sum(1) < cutoff**2)
    return Pairs(pairs.centres[near], pairs.neighbours[near], pairs.shifts[near], vectors[near])


# Without leave to reorder sums: see _vectors.
@compiled_in_order
def _near(
    i: np.ndarray, j: np.ndarray, shifts: np.ndarray, positions: np.ndarray, cell: np.ndarray, square: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The pairs that are closer than a distance, with their vectors, in one pass."""
    centres, neighbours = np.empty_like(i), np.empty_like(j)
    kept, vectors = np.empty_like(shifts), np.empty((len(i), 3))
    n = 0
    for p in range(len(i)):
        length = 0.0
        for a in range(3):
            offset = shifts[p, 0] * cell[0, a] + shifts[p, 1] * cell[1, a] + shifts[p, 2] * cell[2, a]
            d = (positions[j[p], a] - positions[i[p], a]) + offset
            vectors[n, a] = d
            length += d * d
        if length < square:
            centres[n], neighbours[n] = i[p], j[p]
            for a in range(3):
                kept[n, a] = shifts[p, a]
            n += 1
    return centres[:n], neighbours[:n], kept[:n], vectors[:n]


def _vectors(i: np.ndarray, j: np.ndarray, shifts: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    # summed in this order j-i is minus i-j to the last bit, so no cutoff can separate the two
    offsets = shifts[:, :1] * cell[0] + shifts[:, 1:2] * cell[1] + shifts[:, 2:] * cell[2]
    return np.asarray((positions[j] - positions[i]) + offsets)


def _no_pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3), np.int64), np.empty((0, 3))


def _require_positive(name: str, value: float) -> None:
    if not (is_real(value) and value > 0):
        raise ParameterError(f"{name} must be a positive distance in Angstrom, got {value!r}")
