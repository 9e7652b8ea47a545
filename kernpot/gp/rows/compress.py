"""From labelled structures to one square-root factor per noise group, one structure in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np
import torch

from kernpot.calibration.surroundings import Surroundings
from kernpot.calibration.unseen_pairs import UnseenPairs
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import Structure
from kernpot.gp.rows.maker import KeptRows, RowMaker
from kernpot.gp.rows.sketch import Sketches, Sketching
from kernpot.parallel.processes import in_processes, shared_out
from kernpot.regression.factor import LabelFactor
from kernpot.structures.labels import LabelledStructure, n_labels

# Numbers in sketches that are kept, 240 MB; of more structures evenly chosen ones have one.
_SKETCHED = 30_000_000
# Shares for several processes: rows of forces in one, in units of M, and how many there are at least.
_ROWS_PER_SHARE = 4
_FEWEST_SHARES = 8


class Compressed(NamedTuple):
    """What a process gives back: see `Compressor`."""

    factors: dict[str, LabelFactor]
    kept: list[KeptRows]
    sketches: dict[int, Sketches]
    pairs: UnseenPairs


class Compressor:
    """Folds structures into one factor per noise group, and keeps the rows of some.

    Parameters
    ----------
    maker : RowMaker
    n_kept : int
        Number of rows that will be kept.

    Attributes
    ----------
    factors : dict of str to LabelFactor
    kept : list of KeptRows
        Rows of the structures asked for, for leave-one-out.
    sketches : dict of int to Sketches
        By the index of a structure.
    pairs : UnseenPairs
        How close atoms came.
    """

    def __init__(self, maker: RowMaker, n_kept: int = 0) -> None:
        self._maker = maker
        # One piece of memory for what stays: pieces among what is freed again would leave holes as large as themselves.
        self._room = torch.empty((n_kept, len(maker.whitening.block)), dtype=torch.float64)
        self.factors: dict[str, LabelFactor] = {}
        self.kept: list[KeptRows] = []
        self.sketches: dict[int, Sketches] = {}
        self.pairs = UnseenPairs({}, max(features.cutoff for features in maker.descriptors))

    def add(self, labelled: LabelledStructure, place: int | None = None, index: int | None = None) -> None:
        """Add the labels of one structure; keep its rows where it has a place, sketch them where it has an index."""
        self.add_described(labelled, Structure(self._maker.descriptors, labelled.atoms), place, index)

    def add_described(
        self, labelled: LabelledStructure, structure: Structure, place: int | None = None, index: int | None = None
    ) -> None:
        """Add the labels of a structure that is described already."""
        numbers, cutoff = labelled.atoms.numbers, self.pairs.cutoff
        self.pairs = self.pairs.merged(UnseenPairs.in_structure(numbers, structure.pairs, cutoff))
        parts, drawing = [], Sketching()
        for part in self._maker(labelled, structure):
            if index is not None:
                drawing.add(part)
            if part.group not in self.factors:
                self.factors[part.group] = LabelFactor.empty(part.rows.shape[1], part.prior.shape[1])
            self.factors[part.group].add(part.rows, part.targets, part.prior)
            if place is not None:
                kept, self._room = self._room[: len(part.rows)], self._room[len(part.rows) :]
                parts.append(replace(part, rows=kept.copy_(part.rows)))
        if place is not None:
            sizes = {kind: int(np.size(labelled.label(kind))) for kind in labelled.kinds}
            around = Surroundings.of(structure)
            self.kept.append(KeptRows(parts, around, sizes, labelled.config_type, place, numbers.copy()))
        if index is not None:
            self.sketches[index] = drawing.done()

    def compact(self) -> Self:
        """Itself, without the memory that waited for more rows."""
        for factor in self.factors.values():
            factor.compact()
        return self

    def result(self) -> Compressed:
        """What there is, to be merged into another."""
        return Compressed(self.factors, self.kept, self.sketches, self.pairs)

    def merge(self, other: Compressed) -> None:
        """Add what another process made of other structures."""
        self.kept += other.kept
        self.sketches |= other.sketches
        self.pairs = self.pairs.merged(other.pairs)
        for group, factor in other.factors.items():
            if group in self.factors:
                self.factors[group].merge(factor)
            else:
                self.factors[group] = factor


def compress(
    structures: Sequence[LabelledStructure],
    maker: RowMaker,
    keep: Collection[int] = (),
    n_jobs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    described: Descriptions | None = None,
    sketches: bool = False,
) -> Compressor:
    """Compress all structures.

    With several processes the structures are dealt out in shares that depend on the structures alone and are merged in
    their order: any number of processes from two on, on any joblib backend, gives the same bits, also when one of them
    is lost. One process folds structure after structure into one triangle, with nothing to merge, and agrees to
    rounding.

    Parameters
    ----------
    keep : collection of int
        Indices of structures whose rows are kept.
    n_jobs : int, optional
        Processes (joblib); each compresses its shares. None is one, or what ``joblib.parallel_config`` says.
    progress : callable, optional
        Called with (stage, done, total).
    described : Descriptions, optional
        Of the same structures; other processes describe anew.
    sketches : bool
        Whether to sketch the structures' labels, as many as there is room for.
    """
    total = Compressor(maker, sum(n_labels(structures[k]) for k in keep))
    drawn = _sketched(len(structures), len(maker.whitening.block)) if sketches else set()
    if not shared_out(n_jobs):
        for k, labelled in enumerate(structures):
            place, index = k if k in keep else None, k if k in drawn else None
            if described is None:
                total.add(labelled, place, index)
            else:
                total.add_described(labelled, described.take(k), place, index)
            if progress:
                progress("rows", k + 1, len(structures))
        return total.compact()
    shares = deal([len(s.atoms) for s in structures], len(maker.whitening.block))
    work = [
        (
            [structures[k] for k in share],
            [k if k in keep else None for k in share],
            [k if k in drawn else None for k in share],
            maker,
        )
        for share in shares
    ]
    done = 0
    for share, result in zip(shares, in_processes(_share, work, n_jobs), strict=True):
        total.merge(result)
        done += len(share)
        if progress:
            progress("rows", done, len(structures))
    return total.compact()


def _sketched(n_structures: int, n_inducing: int) -> set[int]:
    """Structures that are sketched: all, or evenly chosen ones where there are too many."""
    step = -(-n_structures * 3 * n_inducing // _SKETCHED)
    return set(range(0, n_structures, max(1, step)))


def deal(sizes: Sequence[int], n_inducing: int) -> list[list[int]]:
    """Shares of similar cost: structures of ``sizes`` atoms, dealt out by size.

    A merge costs the QR of ``n_inducing`` rows, and every share is worth it: it has several times as many rows.
    """
    rows = 3 * sum(sizes)
    n = max(_FEWEST_SHARES, rows // (_ROWS_PER_SHARE * n_inducing))
    n = min(len(sizes), n + -n % 4)  # so that two or four processes finish together
    order = sorted(range(len(sizes)), key=lambda k: -sizes[k])
    return [order[first::n] for first in range(n)]


def _share(
    structures: list[LabelledStructure], places: list[int | None], indices: list[int | None], maker: RowMaker
) -> Compressed:
    torch.set_num_threads(1)
    n_kept = sum(n_labels(s) for s, place in zip(structures, places, strict=True) if place is not None)
    compressor = Compressor(maker, n_kept)
    for labelled, place, index in zip(structures, places, indices, strict=True):
        compressor.add(labelled, place, index)
    return compressor.result()
