"""More inducing environments for a fitted model: its factors get new columns, its force rows are not made again.

Let ``B`` (N x M) be the whitened rows of a noise group, of which the factor knows ``R``, ``c`` and ``rho`` with
``|y - B v|^2 = |c - R v|^2 + rho``, and ``E`` (N x k) the whitened columns of the new environments. With

    S = R^-T B^T E,    R_n^T R_n = E^T E - S^T S,    c_n = R_n^-T (E^T y - S^T c)

the enlarged factor is

    [ R  S    c   ]
    [ 0  R_n  c_n ],    rho - |c_n|^2.

The columns of ``E`` are the forces of k potentials and ``B^T E`` holds derivatives along them
(:mod:`kernpot.functionals.products`), so that the cost grows with k, not with the neighbours of an atom, and nothing of
size N x M is made. The enlarged factor has the exact products of old and new columns up to their rounding,
``eps |B| |E|``, however ill-conditioned ``R`` is: the old factor is kept, not squared. The error of the posterior
precision, which is at least one, is then below ``eps |B|^2`` in units of amplitude / noise; the rows of groups in which
that is not negligible are made again. (Corrected semi-normal equations, Bjorck, Linear Algebra Appl. 88/89, 31 (1987),
were tried: they cost a second pass and gain nothing, since the weights of nearly dependent columns are large.)

Energies and stress have few rows and singular factors: their rows are made again as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from scipy.linalg import qr
from scipy.linalg.lapack import dtrcon
from torch import Tensor

from kernpot.functionals.products import ForceProducts
from kernpot.functionals.state import InducingBlock, Structure
from kernpot.gp.rows.compress import Compressor, compress, deal
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.parallel.processes import in_processes, shared_out
from kernpot.progress import Report
from kernpot.regression.factor import LabelFactor, triangle_of
from kernpot.structures.labels import LabelledStructure

_EPS = float(np.finfo(np.float64).eps)
# Largest bound on the relative error of the posterior precision.
_PRECISION_ERROR = 1e-7
# Columns of R that are independent of the others by less than the first are taken to depend on them (the forces of an
# isolated atom are zero); all others must be by more than the second, or rounding may leave nothing of R_n.
_DEPENDENT, _INDEPENDENT = 1e-13, 1e-11
# Rounding of E^T E - S^T S relative to the trace of E^T E.
_ROUNDING = 100 * _EPS
# Structures whose neighbours are counted to compare costs.
_SAMPLE = 8


def extend(
    factors: Mapping[str, LabelFactor],
    maker: RowMaker,
    blocks: Sequence[InducingBlock],
    training: Sequence[LabelledStructure],
    scale: Mapping[str, Tensor],
    n_jobs: int | None = None,
    progress: Report | None = None,
) -> tuple[dict[str, LabelFactor], RowMaker]:
    """Factors of the enlarged inducing blocks.

    Parameters
    ----------
    factors : mapping of str to LabelFactor
        Of all labels in ``training``, against the inducing blocks of ``maker``.
    maker : RowMaker
    blocks : sequence of InducingBlock
        Those of ``maker``, in the same order, with new environments after the old ones.
    training : sequence of LabelledStructure
    scale : mapping of str to Tensor of shape (n_blocks,)
        Amplitudes over noise, per group.
    n_jobs : int, optional
        Processes (joblib).
    progress : callable, optional
        Called with (stage, done, total).

    Returns
    -------
    factors : dict of str to LabelFactor
        As a fit with ``blocks`` would make them, to rounding.
    maker : RowMaker
        With the enlarged blocks.
    """
    change = _Change(maker.whitening, Whitening(blocks))
    enlarged = RowMaker(maker.descriptors, change.whitening, maker.noise, maker.isolated)
    bases = _without_rows(factors, change, enlarged, training, scale)
    total = _Columns(enlarged, bases, change.weights())
    done = 0
    for many in total.add_all(training, n_jobs):
        done += many
        if progress:
            progress("new columns", done, len(training))
    found = dict(total.rows.factors)
    for group, sums in total.sums.items():
        new = _enlarged(factors[group], bases[group], sums, change)
        if new is not None:
            found[group] = new
    left = [s for s in training if s.forces is not None and enlarged.noise.group(s, "forces") not in found]
    if left:
        left = [s.without(*(kind for kind in s.kinds if kind != "forces")) for s in left]
        found |= compress(left, enlarged, n_jobs=n_jobs, progress=progress).factors
    return {group: found[group] for group in factors}, enlarged


class _Change:
    """From the columns of one whitening to those of another with more environments."""

    def __init__(self, old: Whitening, new: Whitening) -> None:
        self._old, self.whitening = old, new
        is_old = torch.zeros(len(new.block), dtype=torch.bool)
        for before, after in zip(old.blocks, new.blocks, strict=True):
            is_old[after.columns.start : after.columns.start + len(before.environments)] = True
        self.kept = torch.nonzero(is_old).squeeze(1)
        self.added = torch.nonzero(~is_old).squeeze(1)

    def rebased(self, triangle: Tensor) -> Tensor:
        """``R`` for the old environments whitened by the leading part of the new Cholesky factors.

        Two Cholesky factors of one ill-conditioned matrix that differ by rounding (or by their jitter) whiten its weak
        directions differently. Rows turn by ``L^T L'^-T = 1 + (L - L')^T L'^-T``, an upper triangle.
        """
        out = triangle.clone()
        factors = zip(self._old.factors, self.whitening.factors, strict=True)
        for block, (before, after) in zip(self._old.blocks, factors, strict=True):
            leading = after[: len(before), : len(before)]
            turn = torch.linalg.solve_triangular(leading, before - leading, upper=False).mT
            out[:, block.columns] += triangle[:, block.columns] @ turn
        return out

    def weights(self) -> Tensor:
        """Weights (M + k, k) of unwhitened rows that make the new whitened columns."""
        unit = torch.eye(len(self.whitening.block), dtype=torch.float64)
        return self.whitening.weights(unit[self.added]).mT

    def whitened(self, sums: Tensor) -> Tensor:
        """``B^T E`` (M, k) from sums of unwhitened rows of all environments (M + k, k)."""
        return self.whitening(sums.mT.contiguous())[:, self.kept].mT


@dataclass
class _Sums:
    """Of the force labels of a group: unwhitened rows times ``E`` (M + k, k), ``E^T E`` and ``E^T y``."""

    crossed: Tensor
    gram: Tensor
    targets: Tensor

    def add(self, other: _Sums) -> None:
        self.crossed += other.crossed
        self.gram += other.gram
        self.targets += other.targets


class _Columns:
    """What structures contribute: sums for the force groups done by products, rows of all other labels."""

    def __init__(self, maker: RowMaker, groups: Collection[str], weights: Tensor) -> None:
        self._maker, self._groups, self._weights = maker, set(groups), weights
        self.rows = Compressor(maker)
        self.sums: dict[str, _Sums] = {}

    def add(self, labelled: LabelledStructure) -> None:
        """Add the labels of one structure."""
        structure = Structure(self._maker.descriptors, labelled.atoms)
        group = self._maker.noise.group(labelled, "forces")
        if labelled.forces is None or group not in self._groups:
            self.rows.add_described(labelled, structure)
            return
        self.rows.add_described(labelled.without("forces"), structure)
        # Components that are not known weigh nothing.
        per_scale = np.where(labelled.known("forces"), 1.0 / labelled.scales("forces"), 0.0)
        weight = torch.from_numpy(per_scale.reshape(-1, 3, 1))
        products = ForceProducts(structure, self._maker.whitening.blocks)
        forces = products.forces(self._weights) * weight
        e = forces.flatten(0, 1)
        y = torch.from_numpy(np.nan_to_num(np.ravel(labelled.forces)) * per_scale)
        self._add_sums(group, _Sums(products.sums(forces * weight), e.mT @ e, e.mT @ y))

    def add_all(self, training: Sequence[LabelledStructure], n_jobs: int | None) -> Iterator[int]:
        """Add structures; yields how many were added each time."""
        if not shared_out(n_jobs):
            for labelled in training:
                self.add(labelled)
                yield 1
            return
        shares = deal([len(s.atoms) for s in training], len(self._weights))
        work = [(self._empty(), [training[k] for k in share]) for share in shares]
        for share, part in zip(shares, in_processes(_share, work, n_jobs), strict=True):
            self.rows.merge(part.rows.result())
            for group, sums in part.sums.items():
                self._add_sums(group, sums)
            yield len(share)

    def _empty(self) -> _Columns:
        return _Columns(self._maker, self._groups, self._weights)

    def _add_sums(self, group: str, sums: _Sums) -> None:
        if group in self.sums:
            self.sums[group].add(sums)
        else:
            self.sums[group] = sums


def _share(columns: _Columns, structures: Sequence[LabelledStructure]) -> _Columns:
    torch.set_num_threads(1)
    for labelled in structures:
        columns.add(labelled)
    return columns


@dataclass
class _Basis:
    """A factor with linearly independent rows.

    Attributes
    ----------
    rows : Tensor of shape (r, M)
        With ``rows^T rows = R^T R``.
    pivots : Tensor of shape (r,)
        Columns that are an upper triangle.
    projected : Tensor of shape (r,)
    residual : float
    """

    rows: Tensor
    pivots: Tensor
    projected: Tensor
    residual: float

    @classmethod
    def of(cls, factor: LabelFactor, change: _Change) -> Self | None:
        """Basis of a factor; None when the dependent columns cannot be told from the others."""
        triangle = change.rebased(factor.triangle)
        if dtrcon(triangle.numpy())[0] > _INDEPENDENT:
            return cls(triangle, torch.arange(len(triangle)), factor.projected, factor.residual)
        q, r, pivots = qr(triangle.numpy(), pivoting=True)
        size = np.abs(r.diagonal())
        rank = int((size > _DEPENDENT * size[0]).sum())
        if rank == 0 or size[rank - 1] < _INDEPENDENT * size[0]:
            return None
        rows = torch.zeros((rank, len(triangle)), dtype=torch.float64)
        pivots = torch.from_numpy(pivots.astype(np.int64))
        rows[:, pivots] = torch.from_numpy(r[:rank])
        c = torch.from_numpy(q).mT @ factor.projected
        return cls(rows, pivots[:rank], c[:rank], factor.residual + float(c[rank:].square().sum()))


def _without_rows(
    factors: Mapping[str, LabelFactor],
    change: _Change,
    maker: RowMaker,
    training: Sequence[LabelledStructure],
    scale: Mapping[str, Tensor],
) -> dict[str, _Basis]:
    """Groups of forces for which products are accurate enough and cheaper than rows."""
    # Rows need three derivatives for each neighbour of an atom; a new column needs two products and two derivatives.
    if len(change.added) > _neighbours(maker, training) + 1:
        return {}
    chosen = {}
    for group in sorted({maker.noise.group(s, "forces") for s in training if s.forces is not None}):
        factor = factors[group]
        scaled = factor.triangle * scale[group][change.whitening.block[change.kept]]
        if _EPS * float(scaled.norm()) ** 2 < _PRECISION_ERROR and factor.n_rows > len(change.whitening.block):
            basis = _Basis.of(factor, change)
            if basis is not None:
                chosen[group] = basis
    return chosen


def _neighbours(maker: RowMaker, training: Sequence[LabelledStructure]) -> float:
    """Average number of neighbours of an atom, over descriptors and a sample of the structures."""
    sample = training[:: max(1, len(training) // _SAMPLE)]
    pairs = [len(f.pairs(s.atoms).centres) for f in maker.descriptors for s in sample]
    return sum(pairs) / (len(maker.descriptors) * sum(len(s.atoms) for s in sample))


def _enlarged(factor: LabelFactor, basis: _Basis, sums: _Sums, change: _Change) -> LabelFactor | None:
    """The enlarged factor; None when rounding leaves nothing of a new column."""
    root, c = basis.rows[:, basis.pivots], basis.projected
    s = torch.linalg.solve_triangular(root.mT, change.whitened(sums.crossed)[basis.pivots], upper=False)
    rest = sums.gram - s.mT @ s
    lower, failed = torch.linalg.cholesky_ex(rest)
    if int(failed):
        # New columns that the old ones explain entirely leave rounding, of either sign.
        rest.diagonal().add_(_ROUNDING * float(sums.gram.trace()))
        lower, failed = torch.linalg.cholesky_ex(rest)
        if int(failed):
            return None
    r, k, m = len(c), len(change.added), len(change.kept)
    c_new = torch.linalg.solve_triangular(lower, (sums.targets - s.mT @ c)[:, None], upper=False)[:, 0]
    stacked = torch.zeros((m + k, m + k + 1), dtype=torch.float64)
    stacked[:r, change.kept], stacked[:r, change.added], stacked[:r, -1] = basis.rows, s, c
    stacked[r : r + k, change.added], stacked[r : r + k, -1] = lower.mT, c_new
    triangle = triangle_of(stacked)
    return LabelFactor.from_tensors(
        {
            "triangle": triangle[:, :-1],
            "projected": triangle[:, -1],
            "residual": torch.tensor(max(0.0, basis.residual - float(c_new.square().sum())), dtype=torch.float64),
            "n_rows": torch.tensor(factor.n_rows),
            "prior": factor.prior,
        }
    )
