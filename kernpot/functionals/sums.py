"""Sums over environments that move with atoms: in one pass over memory when compiled, in plain torch otherwise.

The compiled loops serve unless numba's own switch turns compilation off, see :mod:`kernpot.descriptors.compiled`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.compilation import COMPILED, compiled
from kernpot.descriptors.compiled.harmonics import Array
from kernpot.kernels.functions import CosineFunction

Index = NDArray[np.int64]


def add_rows(
    rows: Tensor,
    columns: slice,
    ds: Tensor,
    along: Tensor,
    cosine: Tensor,
    centre: Tensor,
    scale: Tensor,
    target: Tensor,
    function: CosineFunction,
) -> None:
    """Add ``scale_e f'(s) (ds - along s)``, ``s = cosine[centre_e]``, to the rows of every entry's target.

    Parameters
    ----------
    rows : Tensor of shape (n, x, M), contiguous; changed
    columns : slice
        The ``m`` of the ``M`` columns that ``ds`` and ``cosine`` belong to.
    ds : Tensor of shape (e, x, m)
        Derivatives of the features along ``x`` directions times the inducing environments.
    along : Tensor of shape (e, x)
        Derivatives of the features along the unit features.
    cosine : Tensor of shape (n_atoms, m)
        ``u_i . u_m``.
    centre, target : Tensor of shape (e,), int64
        Row of ``cosine`` and of ``rows`` of every entry.
    scale : Tensor of shape (e,)
    function : CosineFunction
        ``f``.
    """
    if COMPILED and function.power is not None:
        _add_rows(
            rows.numpy(),
            columns.start,
            ds.numpy(),
            along.numpy(),
            cosine.numpy(),
            centre.numpy(),
            scale.numpy(),
            target.numpy(),
            function.power,
        )
    else:
        s = cosine[centre]
        slope = scale[:, None] * function.slope(s)
        terms = slope[:, None, :] * (ds - along[:, :, None] * s[:, None, :])
        rows[:, :, columns].index_add_(0, target, terms)


@compiled
def _add_rows(
    rows: Array,
    first: int,
    ds: Array,
    along: Array,
    cosine: Array,
    centre: Index,
    scale: Array,
    target: Index,
    zeta: int,
) -> None:
    m = ds.shape[2]
    slope = np.empty(m)
    for e in range(len(centre)):
        s = cosine[centre[e]]
        for k in range(m):
            slope[k] = zeta * scale[e]
        for _ in range(zeta - 1):
            for k in range(m):
                slope[k] *= s[k]
        for x in range(ds.shape[1]):
            t, a, moved = target[e], along[e, x], ds[e, x]
            for k in range(m):
                rows[t, x, first + k] += slope[k] * (moved[k] - a * s[k])


def along_unit(dp: Tensor, unit: Tensor, moving: Tensor) -> Tensor:
    """Products ``dp_e . u_e`` of derivatives of the features ``moving`` with unit features, shape (e, 3).

    Parameters
    ----------
    dp : Tensor of shape (e, 3, f)
    unit : Tensor of shape (e, n_features)
    moving : Tensor of shape (f,), int64
    """
    own = unit if len(moving) == unit.shape[1] else unit[:, moving]
    if COMPILED:
        return torch.from_numpy(_along_unit(dp.numpy(), own.numpy()))
    return (dp @ own[:, :, None]).squeeze(2)


@compiled
def _along_unit(dp: Array, unit: Array) -> Array:
    out = np.empty(dp.shape[:2])
    for e in range(len(dp)):
        for x in range(dp.shape[1]):
            total = 0.0
            for k in range(dp.shape[2]):
                total += dp[e, x, k] * unit[e, k]
            out[e, x] = total
    return out


def unit_derivatives(
    g: Tensor, place: Tensor, dp: Tensor, along: Tensor, unit: Tensor, scale: Tensor, moving: Tensor
) -> None:
    """Write derivatives of unit features, ``g[place_e] = scale_e (dp_e - along_e u_e)``.

    Parameters
    ----------
    g : Tensor of shape (n, 3, n_features), contiguous; changed
    place : Tensor of shape (e,), int64
    dp : Tensor of shape (e, 3, f)
        Derivatives of the features ``moving``; the others do not move.
    along : Tensor of shape (e, 3)
    unit : Tensor of shape (e, n_features)
        Unit features of every entry's environment.
    scale : Tensor of shape (e,)
        One over the length of its features.
    moving : Tensor of shape (f,), int64
    """
    if COMPILED:
        _unit_derivatives(
            g.numpy(), place.numpy(), dp.numpy(), along.numpy(), unit.numpy(), scale.numpy(), moving.numpy()
        )
    else:
        part = -along[:, :, None] * unit[:, None, :]
        part[:, :, moving] += dp
        g[place] = part * scale[:, None, None]


@compiled
def _unit_derivatives(
    g: Array, place: Index, dp: Array, along: Array, unit: Array, scale: Array, moving: Index
) -> None:
    d = unit.shape[1]
    for e in range(len(place)):
        for x in range(3):
            out, u, part, f = g[place[e], x], unit[e], dp[e, x], scale[e]
            a = along[e, x] * f
            if len(moving) == d:
                for k in range(d):
                    out[k] = f * part[k] - a * u[k]
            else:
                for k in range(d):
                    out[k] = -a * u[k]
                for k in range(len(moving)):
                    out[moving[k]] += f * part[k]


def curvature_sum(s: Tensor, gg: Tensor, ug: Tensor, gu: Tensor, function: CosineFunction) -> Tensor:
    """Sum of the terms of ``cov(dE/da, dE/da)``, see :mod:`kernpot.functionals.prior`, over pairs of environments.

    Parameters
    ----------
    s : Tensor of shape (i, j)
        ``u_i . u_j``.
    gg, ug, gu : Tensor of shape (x, i, j)
        ``g_i . g_j``, ``u_i . g_j`` and ``g_i . u_j`` for each of ``x`` directions.
    function : CosineFunction

    Returns
    -------
    Tensor of shape (x,)
    """
    if COMPILED and function.power is not None:
        return torch.from_numpy(_curvature_sum(s.numpy(), gg.numpy(), ug.numpy(), gu.numpy(), function.power))
    return (function.slope(s) * gg + function.curvature(s) * ug * gu).sum((1, 2))


@compiled
def _curvature_sum(s: Array, gg: Array, ug: Array, gu: Array, zeta: int) -> Array:
    total = np.zeros(len(gg))
    n = s.shape[1]
    first, second = np.empty(n), np.empty(n)
    for i in range(len(s)):
        for j in range(n):
            second[j] = 0.0 if zeta == 1 else zeta * (zeta - 1)
            first[j] = 1.0 if zeta == 1 else zeta * s[i, j]
        for _ in range(zeta - 2):
            for j in range(n):
                first[j] *= s[i, j]
                second[j] *= s[i, j]
        for x in range(len(gg)):
            part = 0.0
            for j in range(n):
                part += first[j] * gg[x, i, j] + second[j] * ug[x, i, j] * gu[x, i, j]
            total[x] += part
    return total
