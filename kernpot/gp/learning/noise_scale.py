"""A common scale on all noise levels, by errors on structures left out.

The evidence cannot tell what labels scatter by from what the inducing environments cannot represent, and takes both for
noise: with few of them it asks for several times what the labels have. It is also too expensive for thousands of them,
and then searched with fewer, which makes the noise larger still. Errors on structures left out know the difference: too
much noise keeps the mean from following the labels. So the ratios of the noise levels are those of the evidence, and
their common scale makes the sum over kinds of labels of the logarithms of the mean absolute errors small: it is the
largest one within a standard error of the least sum (the rule of one standard error, Breiman, Friedman, Olshen, Stone,
Classification and Regression Trees, 1984, section 3.4.3). The least itself would be left to chance where few structures
are left out, and too little noise makes a mean that overshoots away from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kernpot.calibration.residuals import log_score
from kernpot.gp.learning.nested import Compressed
from kernpot.gp.rows.maker import KeptRows
from kernpot.regression.factor import LabelFactor
from kernpot.structures.kinds import KINDS
from kernpot.structures.noise import kind_of

FEWEST = 80
"""Structures left out, below which their errors say too little to overrule the evidence: few are mostly neighbours of
one another along dynamics, and less noise than the evidence asks for leaves energies of others over-confident."""
# Scales tried, one after the other. None is above one: the evidence takes no noise for a function.
_STEP, _LEAST = 0.5**0.5, 1 / 32
# Steps in which the score did not fall, after which no more are tried.
_PATIENCE = 2
# Labels that are left out for it, of structures spread over those kept: files hold one kind of structure after another.
_LABELS = 16000
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
    as_it_is = search.errors(1.0)
    if as_it_is is None:
        return Scale(1.0, float("inf"))
    tried = [(1.0, as_it_is)]
    free = [group for group in data.factors if group not in fixed]
    if free and len(data.kept) >= FEWEST:
        # Of components there are many: none is known better than its floor says.
        floors = {group: KINDS[kind_of(group)].floor for group in free if not KINDS[kind_of(group)].extensive}
        least = max([_LEAST, *(floor / noise[group] for group, floor in floors.items())])
        while tried[-1][0] * _STEP >= least and _still_falls([errors.score for _, errors in tried]):
            factor = tried[-1][0] * _STEP
            errors = search.errors(factor)
            if errors is None:
                break
            tried.append((factor, errors))
    best = min((errors for _, errors in tried), key=lambda errors: errors.score)
    good = ((f, e) for f, e in tried if e.score - best.score <= e.uncertainty_beside(best))
    factor, errors = next(good)
    return Scale(factor, errors.score)


def _still_falls(scores: Sequence[float]) -> bool:
    """Whether the least of the scores is among the last few."""
    return int(np.argmin(scores)) >= len(scores) - _PATIENCE


class _Errors:
    """Absolute errors on structures left out, at one scale.

    Parameters
    ----------
    errors : dict of str to list of (int, ndarray)
        By kind of label, the place of a structure and its errors.

    Attributes
    ----------
    score : float
    parts : ndarray (n,)
        What each structure adds to the score, to first order.
    """

    def __init__(self, errors: Mapping[str, Sequence[tuple[int, np.ndarray]]]) -> None:
        mean = {kind: float(np.concatenate([e for _, e in of]).mean()) for kind, of in errors.items()}
        self.score = log_score(mean)
        self.parts = np.zeros(1 + max(k for of in errors.values() for k, _ in of))
        for kind, of in errors.items():
            n = sum(len(e) for _, e in of)
            for k, e in of:
                self.parts[k] += float(np.sum(e / max(mean[kind], 1e-12) - 1)) / n

    def uncertainty_beside(self, other: _Errors) -> float:
        """Standard error of the difference of two scores on the same structures."""
        return float(np.sqrt(len(self.parts) * np.var(self.parts - other.parts)))


def _information(
    factors: Mapping[str, LabelFactor], groups: Sequence[str], noise: Mapping[str, float], scale: Tensor
) -> tuple[Tensor, Tensor] | None:
    """What labels of some groups add to the precision (M, M) and to the right-hand side (M,); None for no groups."""
    if not groups:
        return None
    m = len(scale)
    matrix, right = torch.zeros((m, m), dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    for group in groups:
        triangle = factors[group].triangle * (scale / noise[group])
        matrix.addmm_(triangle.mT, triangle)
        right += triangle.mT @ (factors[group].projected / noise[group])
    return matrix, right


class _Search:
    """Leave-one-out errors as a function of the scale: one Cholesky factor of the precision each."""

    def __init__(
        self, data: Compressed, noise: Mapping[str, float], fixed: Collection[str], amplitudes: Tensor
    ) -> None:
        scale = amplitudes[data.block]
        held = [group for group in data.factors if group in fixed]
        free = [group for group in data.factors if group not in fixed]
        self._free = _information(data.factors, free, noise, scale)
        self._fixed = _information(data.factors, held, noise, scale)
        self._m = len(scale)
        self._noise, self._fixed_groups, self._scale = noise, set(fixed), scale
        self._structures = _spread(data.kept)

    def errors(self, factor: float) -> _Errors | None:
        """Errors with all free noise times ``factor``; None where double precision cannot hold so little noise."""
        matrix, right = torch.eye(self._m, dtype=torch.float64), torch.zeros(self._m, dtype=torch.float64)
        for of, weight in ((self._free, factor**-2), (self._fixed, 1.0)):
            if of is not None:
                matrix.add_(of[0], alpha=weight)
                right.add_(of[1], alpha=weight)
        # In place: as many numbers as all else that a large fit holds but a few times.
        failed = torch.empty((), dtype=torch.int32)
        lower, failed = torch.linalg.cholesky_ex(matrix, out=(matrix, failed))
        if int(failed):
            return None
        weights = torch.cholesky_solve(right[:, None], lower)[:, 0]
        errors: dict[str, list[tuple[int, np.ndarray]]] = {}
        for k, one in enumerate(self._structures):
            # Made for each factor anew: kept, they would take as much memory as all rows that are kept.
            sigma = torch.cat([torch.full_like(part.targets, self._sigma(part.group, factor)) for part in one.parts])
            scaled = torch.cat([part.rows for part in one.parts]) * self._scale / sigma[:, None]
            targets = torch.cat([part.targets for part in one.parts]) / sigma
            half = torch.linalg.solve_triangular(lower, scaled.mT, upper=False)
            found = (_without(half, targets - scaled @ weights) * sigma).abs().numpy()
            kinds = np.array([part.kind for part in one.parts for _ in part.targets])
            for kind in np.unique(kinds):
                errors.setdefault(str(kind), []).append((k, found[kinds == kind]))
        return _Errors(errors)

    def _sigma(self, group: str, factor: float) -> float:
        return self._noise[group] * (1.0 if group in self._fixed_groups else factor)


def _spread(kept: Sequence[KeptRows]) -> list[KeptRows]:
    """Structures evenly among those kept, as many as have together some ``_LABELS`` labels; one at least."""
    labels = sum(len(part.targets) for one in kept for part in one.parts)
    if labels <= _LABELS:
        return list(kept)
    n = max(1, len(kept) * _LABELS // labels)
    return [kept[k * len(kept) // n] for k in range(n)]


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
