"""From labelled structures to one square-root factor per noise group, one structure in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import torch

from kernpot.calibration.surroundings import Surroundings
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import Structure
from kernpot.gp.rows.maker import KeptRows, RowMaker
from kernpot.parallel.processes import in_processes, shared_out
from kernpot.regression.factor import LabelFactor
from kernpot.structures.labels import LabelledStructure, n_labels

# Shares for several processes: rows of forces in one, in units of M, and how many there are at least.
_ROWS_PER_SHARE = 4
_FEWEST_SHARES = 8


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
    """

    def __init__(self, maker: RowMaker, n_kept: int = 0) -> None:
        self._maker = maker
        # One piece of memory for what stays: pieces among what is freed again would leave holes as large as themselves.
        self._room = torch.empty((n_kept, len(maker.whitening.block)), dtype=torch.float64)
        self.factors: dict[str, LabelFactor] = {}
        self.kept: list[KeptRows] = []

    def add(self, labelled: LabelledStructure, keep: bool = False) -> None:
        """Add the labels of one structure."""
        self.add_described(labelled, Structure(self._maker.descriptors, labelled.atoms), keep)

    def add_described(self, labelled: LabelledStructure, structure: Structure, keep: bool = False) -> None:
        """Add the labels of a structure that is described already."""
        parts = []
        for part in self._maker(labelled, structure):
            if part.group not in self.factors:
                self.factors[part.group] = LabelFactor.empty(part.rows.shape[1], part.prior.shape[1])
            self.factors[part.group].add(part.rows, part.targets, part.prior)
            if keep:
                kept, self._room = self._room[: len(part.rows)], self._room[len(part.rows) :]
                parts.append(replace(part, rows=kept.copy_(part.rows)))
        if keep:
            sizes = {kind: int(np.size(labelled.label(kind))) for kind in labelled.kinds}
            self.kept.append(KeptRows(parts, Surroundings.of(structure), sizes))

    def merge(self, factors: dict[str, LabelFactor], kept: list[KeptRows]) -> None:
        """Add what another process made of other structures."""
        self.kept += kept
        for group, factor in factors.items():
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
) -> Compressor:
    """Compress all structures.

    With several processes the structures are dealt out in shares that depend on the structures alone and are merged in
    their order: any number of processes, on any joblib backend, gives the same bits, also when one of them is lost.

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
    """
    total = Compressor(maker, sum(n_labels(structures[k]) for k in keep))
    if not shared_out(n_jobs):
        for k, labelled in enumerate(structures):
            if described is None:
                total.add(labelled, k in keep)
            else:
                total.add_described(labelled, described.take(k), k in keep)
            if progress:
                progress("rows", k + 1, len(structures))
        return total
    shares = deal([len(s.atoms) for s in structures], len(maker.whitening.block))
    work = [([structures[k] for k in share], [k in keep for k in share], maker) for share in shares]
    done = 0
    for share, result in zip(shares, in_processes(_share, work, n_jobs), strict=True):
        total.merge(*result)
        done += len(share)
        if progress:
            progress("rows", done, len(structures))
    return total


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
    structures: list[LabelledStructure], keep: list[bool], maker: RowMaker
) -> tuple[dict[str, LabelFactor], list[KeptRows]]:
    torch.set_num_threads(1)
    compressor = Compressor(maker, sum(n_labels(s) for s, kept in zip(structures, keep, strict=True) if kept))
    for labelled, kept in zip(structures, keep, strict=True):
        compressor.add(labelled, kept)
    return compressor.factors, compressor.kept
