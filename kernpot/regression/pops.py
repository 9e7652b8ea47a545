"""A posterior over weights that knows of misspecification: POPS (Swinburne and Perez 2025, arXiv 2402.01810).

The Bayesian posterior of a misspecified model shrinks to nothing with more data. The pointwise optimal weights do not:
the weights closest to ``w``, in the metric of the posterior, that meet label i exactly are

    w + delta_i,    delta_i = R^-1 t_i (y_i - b_i w) / |t_i|^2,    t_i = R^-T b_i,

``b_i`` whitened rows divided by their noise and ``|t_i|^2`` the leverage. As in the authors' POPSRegression, those of
the upper half of leverages are enclosed in a box along their principal axes, and draws are uniform in it. It was made
for many more labels than weights; draws are not centred on the posterior mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernpot.regression.posterior import Posterior

# Axes along which the corrections' mean square is below this part of the largest are left out.
_RESOLVED = 1e-8


def pointwise_corrections(posterior: Posterior, rows: Tensor, targets: Tensor) -> Tensor:
    """Corrections ``delta`` (M, n) of the weights that meet each of n labels; rows and labels as below."""
    half = posterior.half(rows)
    leverage = half.square().sum(0)
    # A label that answers to no weight (zero by symmetry) corrects none.
    step = torch.where(leverage > 0, (targets - posterior.mean(rows)) / leverage, 0.0)
    corrections: Tensor = torch.linalg.solve_triangular(posterior.root, half * step, upper=True)
    return corrections


class PointwisePosterior:
    """Uniform distribution over a box around the pointwise optimal corrections.

    Parameters
    ----------
    posterior : Posterior
    rows : Tensor of shape (n, M)
        Amplitude-scaled whitened rows, each divided by its noise.
    targets : Tensor of shape (n,)
        Labels divided by the same noise.
    """

    def __init__(self, posterior: Posterior, rows: Tensor, targets: Tensor) -> None:
        self._centre = posterior.whitened_weights
        leverage = posterior.variance(rows)
        upper = leverage >= leverage.median()
        corrections = pointwise_corrections(posterior, rows[upper], targets[upper])
        values, axes = torch.linalg.eigh(corrections @ corrections.T)
        self._axes = axes[:, values > _RESOLVED * values[-1]]
        along = self._axes.T @ corrections
        self._lowest, self._highest = along.amin(1), along.amax(1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """One weight vector (M,)."""
        x = torch.rand(len(self._lowest), dtype=torch.float64, generator=generator)
        weights: Tensor = self._centre + self._axes @ (self._lowest + (self._highest - self._lowest) * x)
        return weights
