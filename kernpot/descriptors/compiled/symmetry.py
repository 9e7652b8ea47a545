"""Parts of symmetry functions, compiled: cutoffs, Gaussians and powers of many neighbours or triples at a time.

Slopes are ``(df/dr) / r``: their products with vectors are gradients.
"""

from __future__ import annotations

import math

import numpy as np

from kernpot.compilation import compiled
from kernpot.descriptors.symmetry import Array, Index

# cos(pi sqrt(u)) for u from 0 to 1 in powers of u, the highest first, to the last digit.
_COSINE = np.array([(-1) ** k * math.pi ** (2 * k) / math.factorial(2 * k) for k in range(15)])[::-1].copy()


@compiled
def cutoff_value(square: float, cutoff: float) -> tuple[float, float]:
    """``(cos(pi r / cutoff) + 1) / 2`` and its slope at a squared distance."""
    if not square < cutoff * cutoff:
        return 0.0, 0.0
    r, a = math.sqrt(square), math.pi / cutoff
    x = a * r
    return 0.5 * (math.cos(x) + 1.0), -0.5 * a * (math.sin(x) / r if r > 0 else a)


@compiled
def radial(square: float, cutoff: float, g2: Array, g3: Array, value: Array, slope: Array) -> None:
    """All functions of one neighbour and their slopes."""
    f, df = cutoff_value(square, cutoff)
    r = math.sqrt(square)
    inverse = 1.0 / r if r > 0 else 0.0  # the direction of a vector of no length does not matter
    value[0], slope[0] = f, df
    o = 1
    for k in range(len(g2)):
        away = r - g2[k, 1]
        gauss = math.exp(-g2[k, 0] * away * away)
        value[o + k], slope[o + k] = gauss * f, gauss * (df - 2.0 * g2[k, 0] * away * inverse * f)
    o += len(g2)
    for k in range(len(g3)):
        c, s = math.cos(g3[k] * r), math.sin(g3[k] * r)
        value[o + k], slope[o + k] = c * f, c * df - g3[k] * s * inverse * f


@compiled
def spreads(n: int, square: Array, eta: Array, n_cut: int, cutoff: float, x: Array, e: Array, de: Array) -> None:
    """``exp(-eta_h r^2) f(r)`` and slopes at squared distances, for the first ``n_cut`` channels; ones else.

    The cosine is a series in ``r^2``, which needs no roots and vectorises; ``x[3, n]`` is for work.
    """
    scale = 1.0 / (cutoff * cutoff)
    for t in range(n):
        x[0, t] = min(square[t] * scale, 1.0)
        x[1, t], x[2, t] = 0.0, 0.0
    for k in range(len(_COSINE)):
        for t in range(n):
            x[2, t] = x[2, t] * x[0, t] + x[1, t]
            x[1, t] = x[1, t] * x[0, t] + _COSINE[k]
    for t in range(n):
        inside = x[0, t] < 1.0
        x[1, t] = 0.5 + 0.5 * x[1, t] if inside else 0.0
        x[2, t] = scale * x[2, t] if inside else 0.0
    for h in range(n_cut):
        for t in range(n):
            g = math.exp(-eta[h] * square[t])
            e[h, t], de[h, t] = g * x[1, t], g * (x[2, t] - 2.0 * eta[h] * x[1, t])
    for h in range(n_cut, len(eta)):
        for t in range(n):
            e[h, t], de[h, t] = 1.0, 0.0


@compiled
def angles(n: int, cos: Array, zeta: Array, lam: Array, a: Array, da: Array, b: Array) -> None:
    """``A_q = ((1 + lambda cos) / 2)^zeta`` and derivatives with respect to the cosine."""
    for q in range(len(zeta)):
        whole = int(zeta[q])
        scale = 0.5 * lam[q] * zeta[q]
        if whole == 0 and zeta[q] == 0.0:
            for t in range(n):
                a[q, t], da[q, t] = 1.0, 0.0
        elif whole == zeta[q] and whole > 0:
            # b^(zeta - 1) in da by squaring b, then once more b.
            for t in range(n):
                b[t] = 0.5 * (1.0 + lam[q] * cos[t])
                a[q, t], da[q, t] = b[t], 1.0
            left = whole - 1
            while left > 0:
                if left & 1:
                    for t in range(n):
                        da[q, t] *= b[t]
                left >>= 1
                if left > 0:
                    for t in range(n):
                        b[t] *= b[t]
            for t in range(n):
                a[q, t] *= da[q, t]
                da[q, t] *= scale
        else:
            for t in range(n):
                x = 0.5 * (1.0 + lam[q] * cos[t])
                # On the line where the base vanishes the gradient does, if there is one at all.
                rest = x ** (zeta[q] - 1.0) if x > 0 else 0.0
                a[q, t], da[q, t] = x * rest, scale * rest


@compiled
def neighbours_of(vectors: Array, first: int, many: int, v: Array, square: Array, inverse: Array) -> None:
    """Vectors ``v[3, m]`` of a centre, their squared lengths, and their inverse lengths."""
    for p in range(many):
        square[p] = 0.0
        for k in range(3):
            v[k, p] = vectors[first + p, k]
            square[p] += v[k, p] * v[k, p]
        inverse[p] = 1.0 / math.sqrt(square[p]) if square[p] > 0 else 0.0


@compiled
def runs_of(slots: Index, first: int, many: int, begin: Index) -> int:
    """Neighbours ``begin[x]`` to ``begin[x + 1]`` are of one element; the number of elements."""
    n = 0
    for p in range(many):
        if p == 0 or slots[first + p] != slots[first + p - 1]:
            begin[n] = p
            n += 1
    begin[n] = many
    return n


@compiled
def partners_of(
    j: int,
    begin: int,
    end: int,
    within: float,
    v: Array,
    inverse: Array,
    n: int,
    one: Index,
    two: Index,
    cos: Array,
    far: Array,
) -> int:
    """Append the triples of ``j`` with neighbours nearer to it than ``sqrt(within)``: cosines, squared distances."""
    for k in range(begin, end):
        x, y, z = v[0, k] - v[0, j], v[1, k] - v[1, j], v[2, k] - v[2, j]
        dot = v[0, j] * v[0, k] + v[1, j] * v[1, k] + v[2, j] * v[2, k]
        one[n], two[n] = j, k
        # Rounding takes collinear neighbours beyond one.
        cos[n] = min(1.0, max(-1.0, dot * inverse[j] * inverse[k]))
        far[n] = x * x + y * y + z * z
        # Without a branch, which would be taken at random.
        n += 1 if far[n] < within else 0
    return n
