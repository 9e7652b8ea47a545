"""Leave-one-out residuals while the noise of some labels is scaled, from one posterior instead of one per scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernpot.regression.factor import LabelFactor
from kernpot.regression.leverage import inverse_root
from kernpot.regression.posterior import Posterior


class _State(NamedTuple):
    """The posterior at one factor: its precision is ``R^T C^-1 R``."""

    scale: float  # of the scaled labels' rows and targets
    change: float  # of their precision
    weights: Tensor  # (r,)
    inner: Tensor  # (r,), on the directions the scaled labels know, of the mean's right-hand side
    mean: Tensor  # (M,), the mean's coordinates: of labels with columns half they are half^T mean
    root: Tensor  # (M, M), lower triangle with root root^T = C


class _Few(NamedTuple):
    """Labels of one structure, no more than inducing environments; all divided by their noise."""

    scaled: Tensor  # (n,), whether the label's noise is among those scaled
    targets: Tensor  # (n,)
    norms: Tensor  # (n,), norms of the rows
    mean: Tensor  # (n,)
    shift: Tensor  # (n,), change of the mean's right-hand side with the weight
    across: Tensor  # (n, r), on the directions that the scaled labels know
    hat: Tensor  # (n, n)

    def residual(self, at: _State) -> Tensor:
        """Residuals (n,) without the structure."""
        scale = _scale(self.scaled, at)
        mean = self.mean + at.change * self.shift - self.across @ (at.weights * at.inner)
        hat = self.hat - (self.across * at.weights) @ self.across.mT
        root = inverse_root(hat * scale[:, None] * scale, len(at.mean), float((self.norms * scale).norm()))
        found: Tensor = root.mT @ (root @ (scale * (self.targets - mean)))
        return found


class _Many(NamedTuple):
    """Labels of one structure, more than inducing environments; all divided by their noise."""

    scaled: Tensor  # (n,), whether the label's noise is among those scaled
    targets: Tensor  # (n,)
    norms: Tensor  # (n,), norms of the rows
    half: Tensor  # (n, M), R^-T on the rows
    gram: Tensor  # (M, M), of what is not scaled

    def residual(self, at: _State) -> Tensor:
        """Residuals (n,) without the structure."""
        scale = _scale(self.scaled, at)
        moving = self.half[self.scaled] * at.scale
        gram = at.root.mT @ torch.addmm(self.gram, moving.mT, moving) @ at.root
        root = inverse_root(gram, len(scale), float((self.norms * scale).norm())) @ at.root.mT
        residual = scale * (self.targets - self.half @ at.mean)
        return residual + scale * (self.half @ (root.mT @ (root @ (self.half.mT @ (scale * residual)))))


def _scale(scaled: Tensor, at: _State) -> Tensor:
    """Factor (n,) on rows and targets."""
    scale = torch.ones_like(scaled, dtype=at.mean.dtype)
    scale[scaled] = at.scale
    return scale


class Reweighting:
    """Leave-one-structure-out residuals as a function of a common factor, at least one, on the noise of some groups.

    With ``Z = R^-T E^T``, ``E`` the rows of these groups divided by their noise, and ``k = factor^-2 - 1``, the
    precision of the posterior becomes ``R^T (I + k Z Z^T) R``, and by Woodbury's identity

        C = (I + k Z Z^T)^-1 = I - Z V diag(k / (1 + k s^2)) V^T Z^T,   Z^T Z = V diag(s^2) V^T.

    With ``-1 < k <= 0`` and ``s <= 1`` that is a sum of positive terms: nothing cancels. Of a structure with more
    labels than inducing environments matrices of these are made, never one of labels by labels.

    Parameters
    ----------
    posterior : Posterior
        At factor one.
    factors : sequence of LabelFactor
        Of the groups whose noise is scaled.
    noise : sequence of float
        Their noise at factor one.
    sizes : sequence of int
        Number of labels of each structure that will be projected.
    """

    def __init__(
        self, posterior: Posterior, factors: Sequence[LabelFactor], noise: Sequence[float], sizes: Sequence[int]
    ) -> None:
        self._posterior = posterior
        used = [(f, min(f.n_rows, f.n_inducing), sigma) for f, sigma in zip(factors, noise, strict=True)]
        z = posterior.half(torch.cat([f.triangle[:n] * posterior.scale / sigma for f, n, sigma in used]))
        self._squares, basis = torch.linalg.eigh(z.mT @ z)
        self._squares.clamp_(min=0.0)
        self._directions = z @ basis
        self._right = posterior.root @ posterior.whitened_weights
        self._change = z @ torch.cat([f.projected[:n] / sigma for f, n, sigma in used])
        # One piece of memory for what stays: pieces among what is freed again would leave holes larger than themselves.
        m, r = z.shape
        self._room = z.new_empty(sum(n * (n + r + 4) if n <= m else n * (m + 2) + m * m for n in sizes))

    def _take(self, *shape: int) -> Tensor:
        n = math.prod(shape)
        taken, self._room = self._room[:n].view(shape), self._room[n:]
        return taken

    def project(self, rows: Tensor, targets: Tensor, scaled: Tensor) -> _Few | _Many:
        """Labels of one structure: amplitude-scaled whitened rows (n, M) and targets (n,), divided by their noise."""
        (n, m), r = rows.shape, len(self._squares)
        half = self._posterior.half(rows).mT
        targets = self._take(n).copy_(targets)
        norms = torch.linalg.vector_norm(rows, dim=1, out=self._take(n))
        if n > m:
            others = half[~scaled]
            gram = torch.mm(others.mT, others, out=self._take(m, m))
            return _Many(scaled, targets, norms, self._take(n, m).copy_(half), gram)
        return _Few(
            scaled,
            targets,
            norms,
            torch.mv(half, self._right, out=self._take(n)),
            torch.mv(half, self._change, out=self._take(n)),
            torch.mm(half, self._directions, out=self._take(n, r)),
            torch.mm(half, half.mT, out=self._take(n, n)),
        )

    def residuals(self, structures: Sequence[_Few | _Many], factor: float) -> list[Tensor]:
        """Residuals (n,) of each structure had it been left out, divided by its labels' (scaled) noise."""
        change = factor**-2 - 1
        weights = change / (1 + change * self._squares)
        right = self._right + change * self._change
        inner = self._directions.mT @ right
        covariance = torch.eye(len(right)).to(right) - (self._directions * weights) @ self._directions.mT
        root = torch.linalg.cholesky(covariance)
        state = _State(1 / factor, change, weights, inner, right - self._directions @ (weights * inner), root)
        return [labels.residual(state) for labels in structures]
