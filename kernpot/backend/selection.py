"""Which structures to label, from geometries alone: a greedy D-optimal batch, and some drawn at random between.

A structure with amplitude-scaled whitened rows ``B_s`` of its labels, each divided by its noise, would raise the log
determinant of the posterior precision ``R^T R`` by

    gain(s) = log det(I + B_s (R^T R)^-1 B_s^T),

twice the information its labels bring about the weights. The greedy batch takes the structure with the largest gain,
folds its rows into ``R`` and goes on, so that alike structures are not taken together. Gains only shrink as ``R`` grows
(the log determinant is submodular): a stale gain is an upper bound, and only structures whose bound reaches the top
are looked at again (Minoux 1978). The choice is that of the plain greedy algorithm, whose total gain is at least
``1 - 1/e`` of the best batch's (Nemhauser, Wolsey and Fisher 1978). Labels do not enter.

The optimal design of a model that is right lies at the edges of what there is. No model is, and where misfit rather
than noise limits it, the best design resembles the structures it will be asked about (Box and Draper, J. Am. Stat.
Assoc. 54, 622 (1959)). So a part of the batch is drawn at random from what is left, and the greedy choices take account
of it; what either does to errors is measured by ``python -m benchmarks learning selection``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from kernpot.errors import KernpotError, StructureError
from kernpot.parameters import is_real, is_whole
from kernpot.progress import Report
from kernpot.regression.gain import gain, updated
from kernpot.structures.identity import identity
from kernpot.structures.kinds import KINDS, LABEL_KINDS
from kernpot.structures.labels import LabelledStructure, label_structures

# Numbers in rows that are kept, 1 GB; the rows of further structures are made anew each time they are looked at.
_KEPT = 1 << 27


@dataclass(frozen=True, eq=False)
class Selection:
    """Structures chosen for labelling.

    Attributes
    ----------
    indices : ndarray of int64, shape (k,)
        Places in the list given, in order of choice: the first j are the choice of j.
    gains : ndarray of shape (k,)
        By how much each raised the log determinant of the posterior precision, given those before it; without unit.
        Those of the greedy choices never increase.
    random : ndarray of bool, shape (k,)
        Which were drawn at random.
    """

    indices: NDArray[np.int64]
    gains: NDArray[np.float64]
    random: NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of structures chosen."""
        return len(self.indices)


def distinct_candidates(
    structures: Sequence[Atoms], training: Sequence[LabelledStructure], k: int, random_part: float
) -> dict[int, LabelledStructure]:
    """Structures that can be chosen, by their place in the list: without copies of others and of training structures.

    Labels of a copy are known: only what differs can teach.

    Raises
    ------
    KernpotError
        When `k` or `random_part` is out of range.
    """
    candidates = unlabelled(structures)
    seen = {identity(s.atoms) for s in training}
    found: dict[int, LabelledStructure] = {}
    for place, s in enumerate(candidates):
        if (own := identity(s.atoms)) not in seen:
            seen.add(own)
            found[place] = s
    if not is_whole(k, 1, len(found)):
        raise KernpotError(
            f"expected a number of structures to choose, 1 to {len(found)} (the {len(structures)} given, copies of one "
            f"another and of training structures counted out), got {k!r}.",
            "Give another k.",
            "Give another --number.",
        )
    if not is_real(random_part, 0, 1):
        raise KernpotError(f"random_part: expected a part of the choices, 0 to 1, got {random_part!r}.")
    return found


def choose(
    candidates: Mapping[int, LabelledStructure],
    root: Tensor,
    rows: Callable[[LabelledStructure], Tensor],
    k: int,
    random_part: float,
    rng: np.random.RandomState,
    report: Report | None,
) -> Selection:
    """``k`` candidates, greedily and at random in turn.

    Parameters
    ----------
    candidates : mapping of int to LabelledStructure
        By the place that the selection tells.
    root : Tensor of shape (M, M)
        Upper triangle of what is known already.
    rows : callable
        Rows (n, M) of a candidate's labels, divided by their noise.
    """
    places = list(candidates)
    greedy = GreedyChoice(root, len(places), lambda index: rows(candidates[places[index]]), report)
    for number in range(1, int(k) + 1):
        # Evenly spread: with a half, every second one.
        at_random = int(number * random_part) > int((number - 1) * random_part)
        greedy.take(int(rng.choice(greedy.left())) if at_random else None)
        if report:
            report("choice", number, int(k))
    found = greedy.selection()
    return replace(found, indices=np.array(places, dtype=np.int64)[found.indices])


class GreedyChoice:
    """One candidate after another, by largest gain or as told.

    Parameters
    ----------
    root : Tensor of shape (M, M)
        Upper triangle ``R`` of what is known already; not modified.
    n_candidates : int
    rows_of : callable
        Amplitude-scaled whitened rows (n, M) of a candidate, divided by their noise. Called again for candidates whose
        rows do not fit into the memory set aside.
    progress : callable, optional
        Called with (stage, done, total).
    """

    def __init__(
        self, root: Tensor, n_candidates: int, rows_of: Callable[[int], Tensor], progress: Report | None = None
    ) -> None:
        self._root, self._rows = root, _Rows(rows_of)
        self._taken: dict[int, tuple[float, bool]] = {}
        # Bounds on gains, the largest first, and how many had been taken when they were found.
        self._bounds: list[tuple[float, int, int]] = []
        for index in range(n_candidates):
            self._bounds.append((-gain(root, self._rows(index)), index, 0))
            if progress:
                progress("gains", index + 1, n_candidates)
        heapq.heapify(self._bounds)

    def left(self) -> list[int]:
        """Candidates not taken."""
        return sorted(index for _, index, _ in self._bounds)

    def take(self, index: int | None = None) -> None:
        """Take the candidate with the largest gain, or the one told."""
        if index is None:
            while self._bounds[0][2] < len(self._taken):
                best = self._bounds[0][1]
                heapq.heapreplace(self._bounds, (-gain(self._root, self._rows(best)), best, len(self._taken)))
            bound, best, _ = heapq.heappop(self._bounds)
            found = (-bound, False)
        else:
            best, found = index, (gain(self._root, self._rows(index)), True)
            self._bounds = [entry for entry in self._bounds if entry[1] != index]
            heapq.heapify(self._bounds)
        self._root = updated(self._root, self._rows(best))
        self._taken[best] = found
        self._rows.drop(best)

    def selection(self) -> Selection:
        """What was taken, in order."""
        gains, random = zip(*self._taken.values(), strict=True)
        return Selection(np.array(list(self._taken), dtype=np.int64), np.array(gains), np.array(random, dtype=bool))


class _Rows:
    """Rows of candidates, as many as fit."""

    def __init__(self, make: Callable[[int], Tensor]) -> None:
        self._make, self._left = make, _KEPT
        self._kept: dict[int, Tensor] = {}

    def __call__(self, index: int) -> Tensor:
        if index in self._kept:
            return self._kept[index]
        rows = self._make(index)
        if rows.numel() <= self._left:
            self._kept[index] = rows
            self._left -= rows.numel()
        return rows

    def drop(self, index: int) -> None:
        if index in self._kept:
            self._left += self._kept.pop(index).numel()


def expected_noise() -> dict[str, float]:
    """Noise of labels before there are any, by kind: what fits to solids and molecules commonly find."""
    return {name: kind.expected for name, kind in KINDS.items()}


def unlabelled(structures: Sequence[Atoms]) -> list[LabelledStructure]:
    """Structures, checked; whatever labels they hold are not looked at."""
    if not isinstance(structures, Sequence):
        raise StructureError(
            f"structures: expected a list of ase.Atoms, got {type(structures).__name__}; of a single one write [atoms]."
        )
    frames = list(structures)
    nothing = [[None] * len(frames)] * len(LABEL_KINDS)
    return [s.without(*s.others) for s in label_structures(frames, *nothing)]
