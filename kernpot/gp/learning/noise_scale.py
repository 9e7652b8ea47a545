"""A common scale on all noise levels, by errors on structures left out.

The evidence cannot tell what labels scatter by from what the inducing environments cannot represent, and takes both for
noise: with few of them it asks for several times what the labels have. It is also too expensive for thousands of them,
and then searched with fewer, which makes the noise larger still. Errors on structures left out know the difference: too
much noise keeps the mean from following the labels. So the ratios of the noise levels are those of the evidence, and
their common scale minimises the sum over kinds of labels of the logarithms of the mean absolute errors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from kernpot.calibration.residuals import log_score
from kernpot.gp.learning.nested import Compressed
from kernpot.structures.kinds import KINDS
from kernpot.structures.noise import kind_of

FEWEST = 20
"""Structures left out, below which their errors say too little to overrule the evidence."""
# Smallest scale, and what its logarithm is found to. None is above one: the evidence takes no noise for a function.
_LEAST, _TOLERANCE = 1 / 32, 0.15
# Labels that are left out for it, of the structures kept in their order.
_LABELS = 4000
# Improvement of the score below which the noise stays that of the evidence.
_GAIN = 0.01
# Added to what a structure does not determine of itself.
_ROUNDING = 1e-9


class Scale(NamedTuple):
    """A scale on noise levels, and the score there: the sum over kinds of the logarithms of mean absolute errors."""

    factor: float
    score: float


def noise_scale(data: Compressed, noise: Mapping[str, float], fixed: Collection[str], amplitudes: Tensor) -> Scale:
    """The scale for the noise of all groups but ``fixed``; one where it gains nothing.

    Parameters
    ----------
    data : Compressed
    noise : mapping of str to float
        Found by the evidence, or fixed.
    fixed : collection of str
        Groups whose noise stays.
    amplitudes : Tensor of shape (n_blocks,)
        eV.
    """
    search = _Search(data, noise, fixed, amplitudes)
    as_it_is = Scale(1.0, search.score(0.0))
    free = [group for group in data.factors if group not in fixed]
    if not free or len(data.kept) < FEWEST:
        return as_it_is
    # Of components there are many: none is known better than its floor says.
    floors = {group: KINDS[kind_of(group)].floor for group in free if not KINDS[kind_of(group)].extensive}
    least = max([_LEAST, *(floor / noise[group] for group, floor in floors.items())])
    if least >= 1.0:
        return as_it_is
    found = minimize_scalar(
        search.score,
        bounds=(np.log(least), 0.0),
        method="bounded",
        options={"xatol": _TOLERANCE, "maxiter": 9},
    )
    better = Scale(float(np.exp(found.x)), float(found.fun))
    return better if better.score < as_it_is.score - _GAIN else as_it_is


class _Search:
    """Leave-one-out score as a function of the logarithm of the scale: one Cholesky factor of the precision each."""

    def __init__(
        self, data: Compressed, noise: Mapping[str, float], fixed: Collection[str], amplitudes: Tensor
    ) -> None:
        scale = amplitudes[data.block]
        self._free, self._fixed = (torch.zeros((len(scale),) * 2, dtype=torch.float64) for _ in range(2))
        self._right_free, self._right_fixed = (torch.zeros_like(scale) for _ in range(2))
        for group, factor in data.factors.items():
            triangle = factor.triangle * (scale / noise[group])
            matrix, right = (self._fixed, self._right_fixed) if group in fixed else (self._free, self._right_free)
            matrix.addmm_(triangle.mT, triangle)
            right += triangle.mT @ (factor.projected / noise[group])
        self._structures = []
        n = 0
        for one in data.kept:
            sigma = torch.cat([torch.full_like(part.targets, noise[part.group]) for part in one.parts])
            moves = torch.tensor([part.group not in fixed for part in one.parts for _ in part.targets])
            rows = torch.cat([part.rows for part in one.parts]) * scale / sigma[:, None]
            targets = torch.cat([part.targets for part in one.parts]) / sigma
            kinds = np.array([part.kind for part in one.parts for _ in part.targets])
            self._structures.append((rows, targets, sigma, moves, kinds))
            n += len(rows)
            if n >= _LABELS:
                break

    def score(self, log_scale: float) -> float:
        """Sum over kinds of the logarithm of the mean absolute error."""
        weight = float(np.exp(-2 * log_scale))
        matrix = torch.add(self._fixed, self._free, alpha=weight)
        matrix.diagonal().add_(1.0)
        lower, failed = torch.linalg.cholesky_ex(matrix)
        if int(failed):
            # Rounding: labels know far more than double precision does; less noise cannot be.
            return float("inf")
        right = self._right_fixed + weight * self._right_free
        weights = torch.cholesky_solve(right[:, None], lower)[:, 0]
        errors: dict[str, list[np.ndarray]] = {}
        for rows, targets, sigma, moves, kinds in self._structures:
            by = torch.where(moves, float(np.exp(-log_scale)), 1.0).to(rows.dtype)
            scaled = rows * by[:, None]
            half = torch.linalg.solve_triangular(lower, scaled.mT, upper=False)
            residual = by * targets - scaled @ weights
            found = (_without(half, residual) / by * sigma).abs().numpy()
            for kind in np.unique(kinds):
                errors.setdefault(str(kind), []).append(found[kinds == kind])
        return log_score({kind: float(np.concatenate(e).mean()) for kind, e in errors.items()})


def _without(half: Tensor, residual: Tensor) -> Tensor:
    """``(I - H)^-1 r`` with ``H = half^T half`` of ``half`` (M, n), on the smaller side."""
    m, n = half.shape
    if n <= m:
        remaining = -half.mT @ half
        remaining.diagonal().add_(1.0 + _ROUNDING)
        left: Tensor = torch.linalg.solve(remaining, residual)
        return left
    remaining = -half @ half.mT
    remaining.diagonal().add_(1.0 + _ROUNDING)
    return residual + half.mT @ torch.linalg.solve(remaining, half @ residual)
