"""Solid harmonics of several vectors at once, compiled.

Recursions, normalisation and order are those of Bigi, Fraux, Browning, Ceriotti, J. Chem. Phys. 159, 064802 (2023)
(sphericart). Vectors run along the last axis, so every line below vectorises over the neighbours of a centre.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kernpot.compilation import compiled

Array = NDArray[np.float64]


def harmonic_prefactors(l_max: int) -> Array:
    """``F_lm`` of the cited recursions, shape (l_max + 1, l_max + 1)."""
    out = np.zeros((l_max + 1, l_max + 1))
    for degree in range(l_max + 1):
        for m in range(degree + 1):
            ratio = math.factorial(degree - m) / math.factorial(degree + m)
            out[degree, m] = (-1) ** m * math.sqrt((2 * degree + 1) / (2 * math.pi) * ratio)
    out[:, 0] *= math.sqrt(0.5)
    return out


@compiled
def legendre(n: int, v: Array, q: Array, c: Array, s: Array) -> None:
    """Modified Legendre functions ``q[l, m, p]`` and azimuthal ``c[m, p]``, ``s[m, p]`` of n vectors ``v[3, p]``."""
    l_max = q.shape[0] - 1
    for p in range(n):
        c[0, p], s[0, p], q[0, 0, p] = 1.0, 0.0, 1.0
    for m in range(1, l_max + 1):
        for p in range(n):
            c[m, p] = v[0, p] * c[m - 1, p] - v[1, p] * s[m - 1, p]
            s[m, p] = v[0, p] * s[m - 1, p] + v[1, p] * c[m - 1, p]
    for m in range(l_max + 1):
        if m > 0:
            for p in range(n):
                q[m, m, p] = -(2 * m - 1) * q[m - 1, m - 1, p]
        if m < l_max:
            for p in range(n):
                q[m + 1, m, p] = (2 * m + 1) * v[2, p] * q[m, m, p]
        for d in range(m + 2, l_max + 1):
            a, b = (2 * d - 1) / (d - m), (d + m - 1) / (d - m)
            for p in range(n):
                square = v[0, p] * v[0, p] + v[1, p] * v[1, p] + v[2, p] * v[2, p]
                q[d, m, p] = a * v[2, p] * q[d - 1, m, p] - b * square * q[d - 2, m, p]


@compiled
def harmonics(n: int, prefactor: Array, q: Array, c: Array, s: Array, y: Array) -> None:
    """Solid harmonics ``y[l m, p]``."""
    for d in range(len(prefactor)):
        middle = d * d + d
        for p in range(n):
            y[middle, p] = prefactor[d, 0] * q[d, 0, p]
        for m in range(1, d + 1):
            f = prefactor[d, m]
            for p in range(n):
                t = f * q[d, m, p]
                y[middle + m, p] = t * c[m, p]
                y[middle - m, p] = t * s[m, p]


@compiled
def harmonic_gradients(n: int, v: Array, prefactor: Array, q: Array, c: Array, s: Array, dy: Array) -> None:
    """Gradients ``dy[3, l m, p]`` of the solid harmonics."""
    for a in range(3):
        for p in range(n):
            dy[a, 0, p] = 0.0
    for d in range(1, len(prefactor)):
        middle = d * d + d
        f = prefactor[d, 0]
        for p in range(n):
            across = f * q[d - 1, 1, p] if d > 1 else 0.0
            dy[0, middle, p] = v[0, p] * across
            dy[1, middle, p] = v[1, p] * across
            dy[2, middle, p] = f * d * q[d - 1, 0, p]
        for m in range(1, d + 1):
            f = prefactor[d, m]
            for p in range(n):
                own = f * m * q[d, m, p]
                along = f * (d + m) * q[d - 1, m, p] if m < d else 0.0
                across = f * q[d - 1, m + 1, p] if m < d - 1 else 0.0
                cos, sin = c[m, p], s[m, p]
                dcos, dsin = own * c[m - 1, p], own * s[m - 1, p]
                dy[0, middle + m, p] = v[0, p] * across * cos + dcos
                dy[1, middle + m, p] = v[1, p] * across * cos - dsin
                dy[2, middle + m, p] = along * cos
                dy[0, middle - m, p] = v[0, p] * across * sin + dsin
                dy[1, middle - m, p] = v[1, p] * across * sin + dcos
                dy[2, middle - m, p] = along * sin


@compiled
def harmonics_of(
    vectors: Array, first: int, n: int, prefactor: Array, v: Array, q: Array, c: Array, s: Array, y: Array
) -> None:
    """Solid harmonics ``y[l m, p]`` of ``n`` of the vectors (p, 3), with what their gradients need."""
    for p in range(n):
        for a in range(3):
            v[a, p] = vectors[first + p, a]
    legendre(n, v, q, c, s)
    harmonics(n, prefactor, q, c, s, y)
