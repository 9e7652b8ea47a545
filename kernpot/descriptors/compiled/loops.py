"""Compiled loops over the neighbours of centres: expansion coefficients and their derivatives along pair vectors.

Coefficients are kept as ``c[centre, l m, species slot, n]``. Neighbours of a
centre are taken together, so that harmonics vectorise over them. Harmonics and radial functions are computed anew in
every loop instead of kept: reading them back from memory would take longer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernpot.compilation import compiled
from kernpot.descriptors.compiled.harmonics import Array, harmonic_gradients, harmonics_of
from kernpot.descriptors.compiled.table import radial_slopes, radial_values

Index = NDArray[np.int64]


@compiled
def most_neighbours(start: Index) -> int:
    """Neighbours of the centre that has the most."""
    largest = 0
    for i in range(len(start) - 1):
        largest = max(largest, start[i + 1] - start[i])
    return largest


@compiled
def expand(
    vectors: Array,
    start: Index,
    slots: Index,
    weights: Array,
    inverse_step: float,
    functions: Array,
    weighting: Array,
    prefactors: Array,
    c: Array,
) -> None:
    """Add the neighbours ``start[i]`` to ``start[i + 1]`` to the coefficients ``c[i]``."""
    degrees, most = prefactors.shape[0], most_neighbours(start)
    n = functions.shape[2] // degrees
    lm = degrees * degrees
    v, value = np.empty((3, most)), np.empty((degrees, n))
    flat_value = value.reshape(-1)
    q = np.zeros((degrees, degrees, most))
    cos, sin = np.empty((degrees, most)), np.empty((degrees, most))
    y = np.empty((lm, most))
    for i in range(len(start) - 1):
        first, many = start[i], start[i + 1] - start[i]
        harmonics_of(vectors, first, many, prefactors, v, q, cos, sin, y)
        for p in range(many):
            r = np.sqrt(v[0, p] * v[0, p] + v[1, p] * v[1, p] + v[2, p] * v[2, p])
            radial_values(r, weights[first + p], inverse_step, functions, weighting, flat_value)
            slot = slots[first + p]
            for degree in range(degrees):
                for k in range(degree * degree, (degree + 1) * (degree + 1)):
                    f = y[k, p]
                    for j in range(n):
                        c[i, k, slot, j] += f * value[degree, j]


@compiled
def pull(
    vectors: Array,
    start: Index,
    slots: Index,
    weights: Array,
    inverse_step: float,
    functions: Array,
    weighting: Array,
    prefactors: Array,
    g: Array,
    out: Array,
) -> None:
    """Gradient ``out[p, 3]`` of ``sum(g * c)`` with respect to the pair vectors."""
    degrees, most = prefactors.shape[0], most_neighbours(start)
    n = functions.shape[2] // degrees
    lm = degrees * degrees
    v, value, slope = np.empty((3, most)), np.empty((degrees, n)), np.empty((degrees, n))
    flat_value, flat_slope = value.reshape(-1), slope.reshape(-1)
    q = np.zeros((degrees, degrees, most))
    cos, sin = np.empty((degrees, most)), np.empty((degrees, most))
    y, dy = np.empty((lm, most)), np.empty((3, lm, most))
    across, along, total = np.empty((lm, most)), np.empty((lm, most)), np.empty((3, most))
    for i in range(len(start) - 1):
        first, many = start[i], start[i + 1] - start[i]
        harmonics_of(vectors, first, many, prefactors, v, q, cos, sin, y)
        harmonic_gradients(many, v, prefactors, q, cos, sin, dy)
        for p in range(many):
            r = np.sqrt(v[0, p] * v[0, p] + v[1, p] * v[1, p] + v[2, p] * v[2, p])
            radial_slopes(r, weights[first + p], inverse_step, functions, weighting, flat_value, flat_slope)
            slot = slots[first + p]
            inverse_r = 1.0 / r
            for degree in range(degrees):
                for k in range(degree * degree, (degree + 1) * (degree + 1)):
                    s, t = 0.0, 0.0
                    for j in range(n):
                        s += g[i, k, slot, j] * value[degree, j]
                        t += g[i, k, slot, j] * slope[degree, j]
                    across[k, p], along[k, p] = s, t * inverse_r
        for a in range(3):
            for p in range(many):
                total[a, p] = 0.0
            for k in range(lm):
                for p in range(many):
                    total[a, p] += across[k, p] * dy[a, k, p] + along[k, p] * y[k, p] * v[a, p]
            for p in range(many):
                out[first + p, a] = total[a, p]
