"""Leave-one-out residuals while the noise of some labels is scaled, from one posterior instead of one per scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior, left_out


class _Projected(NamedTuple):
    """Labels of one structure as the posterior sees them; all divided by their noise."""

    scaled: Tensor  # (n,), whether the label's noise is among those scaled
    targets: Tensor  # (n,)
    norms: Tensor  # (n,), norms of the rows
    mean: Tensor  # (n,)
    shift: Tensor  # (n,), change of the mean's right-hand side with the weight
    across: Tensor  # (n, r), on the directions that the scaled labels know
    hat: Tensor  # (n, n)


class Reweighting:
    """Leave-one-structure-out residuals as a function of a common factor, at least one, on the noise of some groups.

    With ``Z = R^-T E^T``, ``E`` the rows of these groups divided by their noise, and ``k = factor^-2 - 1``, the
    precision of the posterior becomes ``R^T (I + k Z Z^T) R``, and by Woodbury's identity

        (I + k Z Z^T)^-1 = I - Z V diag(k / (1 + k s^2)) V^T Z^T,   Z^T Z = V diag(s^2) V^T.

    With ``-1 < k <= 0`` and ``s <= 1`` that is a sum of positive terms: nothing cancels.

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
        self._room = z.new_empty(sum(n * (n + z.shape[1] + 4) for n in sizes))

    def _take(self, *shape: int) -> Tensor:
        n = math.prod(shape)
        taken, self._room = self._room[:n].view(shape), self._room[n:]
        return taken

    def project(self, rows: Tensor, targets: Tensor, scaled: Tensor) -> _Projected:
        """Labels of one structure: amplitude-scaled whitened rows (n, M) and targets (n,), divided by their noise."""
        n, r = len(rows), len(self._squares)
        half = self._posterior.half(rows).mT
        return _Projected(
            scaled,
            self._take(n).copy_(targets),
            torch.linalg.vector_norm(rows, dim=1, out=self._take(n)),
            torch.mv(half, self._right, out=self._take(n)),
            torch.mv(half, self._change, out=self._take(n)),
            torch.mm(half, self._directions, out=self._take(n, r)),
            torch.mm(half, half.mT, out=self._take(n, n)),
        )

    def residual(self, labels: _Projected, factor: float) -> Tensor:
        """Residuals (n,) had the structure been left out, divided by the labels' (scaled) noise."""
        change = factor**-2 - 1
        weights = change / (1 + change * self._squares)
        scale = torch.ones_like(labels.targets)
        scale[labels.scaled] = 1 / factor
        mean = labels.mean + change * labels.shift
        mean -= labels.across @ (weights * (self._directions.mT @ (self._right + change * self._change)))
        hat = labels.hat - (labels.across * weights) @ labels.across.mT
        size = float((labels.norms * scale).norm())
        found, _ = left_out(hat * scale[:, None] * scale, scale * (labels.targets - mean), size, len(self._right))
        return found
