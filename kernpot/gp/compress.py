"""From labelled structures to one square-root factor per noise group, one structure in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor

from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.factor import LabelFactor
from kernpot.gp.leave_one_out import KeptRows, LabelRows
from kernpot.gp.misfit import Surroundings
from kernpot.gp.whitening import Whitening
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel


class RowMaker:
    """Turns labelled structures into whitened rows.

    Parameters
    ----------
    descriptors : sequence of SOAPFeatures
    whitening : Whitening
    noise : NoiseModel
    isolated : dict of int to float
        Isolated-atom energies, eV.
    """

    def __init__(
        self, descriptors: Sequence[SOAPFeatures], whitening: Whitening, noise: NoiseModel, isolated: dict[int, float]
    ) -> None:
        self.descriptors, self.whitening, self.noise, self.isolated = list(descriptors), whitening, noise, isolated

    def __call__(self, labelled: LabelledStructure, structure: Structure) -> Iterator[LabelRows]:
        """Rows of every label of a structure."""
        blocks = self.whitening.blocks
        if labelled.energy is not None:
            rows, prior = energy_rows(structure, blocks)
            target = labelled.energy - sum(self.isolated[int(z)] for z in structure.numbers)
            # The noise of an energy is given per atom: a structure and its supercell are then described alike.
            yield self._scaled("energy", labelled, rows, np.array([target]), prior, structure.n_atoms)
        if labelled.stress is not None:
            rows, prior = stress_rows(structure, blocks)
            yield self._scaled("stress", labelled, rows, labelled.stress, prior)
        if labelled.forces is not None:
            for atoms, rows, prior in force_rows(structure, blocks):
                yield self._scaled("forces", labelled, rows, labelled.forces[atoms].ravel(), prior)

    def _scaled(
        self, kind: str, labelled: LabelledStructure, rows: Tensor, targets: np.ndarray, prior: Tensor, size: int = 1
    ) -> LabelRows:
        scale = size * labelled.noise_scale[kind]
        y = torch.from_numpy(np.array(targets, dtype=np.float64)) / scale
        return LabelRows(self.noise.group(labelled, kind), self.whitening(rows / scale), y, prior / scale**2)


class Compressor:
    """Folds structures into one factor per noise group, and keeps the rows of some.

    Attributes
    ----------
    factors : dict of str to LabelFactor
    kept : list of KeptRows
        Rows of the structures asked for, for leave-one-out.
    """

    def __init__(self, maker: RowMaker) -> None:
        self._maker = maker
        self.factors: dict[str, LabelFactor] = {}
        self.kept: list[KeptRows] = []

    def add(self, labelled: LabelledStructure, keep: bool = False) -> None:
        """Add the labels of one structure."""
        structure = Structure(self._maker.descriptors, labelled.atoms)
        parts = []
        for part in self._maker(labelled, structure):
            if part.group not in self.factors:
                self.factors[part.group] = LabelFactor.empty(part.rows.shape[1], part.prior.shape[1])
            self.factors[part.group].add(part.rows, part.targets, part.prior)
            if keep:
                parts.append(part)
        if keep:
            self.kept.append(KeptRows(parts, Surroundings(structure)))

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
) -> Compressor:
    """Compress all structures.

    Parameters
    ----------
    keep : collection of int
        Indices of structures whose rows are kept.
    n_jobs : int, optional
        Processes (joblib); each compresses its share and the factors are merged.
    progress : callable, optional
        Called with (stage, done, total).
    """
    total = Compressor(maker)
    if n_jobs is None or n_jobs == 1:
        for k, labelled in enumerate(structures):
            total.add(labelled, k in keep)
            if progress:
                progress("rows", k + 1, len(structures))
        return total
    # Shares of similar cost: deal out the structures by size.
    order = sorted(range(len(structures)), key=lambda k: -len(structures[k].atoms))
    n_shares = min(len(structures), max(8, 4 * abs(n_jobs)))
    shares = [order[first::n_shares] for first in range(n_shares)]
    jobs = (delayed(_share)([structures[k] for k in share], [k in keep for k in share], maker) for share in shares)
    done = 0
    for share, result in zip(shares, Parallel(n_jobs=n_jobs, return_as="generator")(jobs), strict=True):
        total.merge(*result)
        done += len(share)
        if progress:
            progress("rows", done, len(structures))
    return total


def _share(
    structures: list[LabelledStructure], keep: list[bool], maker: RowMaker
) -> tuple[dict[str, LabelFactor], list[KeptRows]]:
    torch.set_num_threads(1)
    compressor = Compressor(maker)
    for labelled, kept in zip(structures, keep, strict=True):
        compressor.add(labelled, kept)
    return compressor.factors, compressor.kept
