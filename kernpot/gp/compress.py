"""From labelled structures to one square-root factor per noise group, one structure in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor

from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.factor import LabelFactor
from kernpot.gp.whitening import Whitening
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel


@dataclass(frozen=True)
class LabelRows:
    """Rows of some labels of one structure and one kind, each divided by its relative noise scale.

    Attributes
    ----------
    group : str
        Noise group.
    rows : Tensor of shape (n, M)
        Whitened, unit amplitude.
    targets : Tensor of shape (n,)
        Labels less the isolated atoms.
    prior : Tensor of shape (n, n_blocks)
    """

    group: str
    rows: Tensor
    targets: Tensor
    prior: Tensor


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

    def __call__(self, labelled: LabelledStructure) -> Iterator[LabelRows]:
        """Rows of every label of a structure."""
        blocks = self.whitening.blocks
        structure = Structure(self.descriptors, labelled.atoms)
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


def compress(
    structures: Sequence[LabelledStructure],
    maker: RowMaker,
    n_jobs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, LabelFactor]:
    """One factor per noise group over all structures.

    Parameters
    ----------
    n_jobs : int, optional
        Processes (joblib); each compresses its share and the factors are merged.
    progress : callable, optional
        Called with (stage, done, total).
    """
    factors: dict[str, LabelFactor] = {}
    if n_jobs is None or n_jobs == 1:
        for done, labelled in enumerate(structures, 1):
            _add(factors, labelled, maker)
            if progress:
                progress("rows", done, len(structures))
        return factors
    # Shares of similar cost: deal out the structures by size.
    order = sorted(range(len(structures)), key=lambda k: -len(structures[k].atoms))
    n_shares = min(len(structures), max(8, 4 * abs(n_jobs)))
    shares = [[structures[k] for k in order[first::n_shares]] for first in range(n_shares)]
    done = 0
    results = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(_share)(share, maker) for share in shares)
    for share, result in zip(shares, results, strict=True):
        for group, factor in result.items():
            if group in factors:
                factors[group].merge(factor)
            else:
                factors[group] = factor
        done += len(share)
        if progress:
            progress("rows", done, len(structures))
    return factors


def _add(factors: dict[str, LabelFactor], labelled: LabelledStructure, maker: RowMaker) -> None:
    for part in maker(labelled):
        if part.group not in factors:
            factors[part.group] = LabelFactor.empty(part.rows.shape[1], part.prior.shape[1])
        factors[part.group].add(part.rows, part.targets, part.prior)


def _share(structures: list[LabelledStructure], maker: RowMaker) -> dict[str, LabelFactor]:
    torch.set_num_threads(1)
    factors: dict[str, LabelFactor] = {}
    for labelled in structures:
        _add(factors, labelled, maker)
    return factors
