"""Gradients of many sums of features at once, compiled: neighbours, harmonics and radial functions are shared.

With the cotangents ``g`` of the coefficients, and ``dc[n, l m] = u_a R'_n Y + R_n dY_a`` along every pair and direction
``a``, all gradients along the pairs of one species are one matrix product for each centre.
"""

from __future__ import annotations

import numpy as np

from kernpot.compilation import compiled
from kernpot.descriptors.compiled.harmonics import Array, harmonic_gradients, harmonics_of
from kernpot.descriptors.compiled.loops import Index, most_neighbours
from kernpot.descriptors.compiled.table import radial_slopes


@compiled
def cotangents(
    c: Array, partners: Array, take: Index, factor: Array, v: Array, n_slots: int, mixed: bool, g: Array
) -> None:
    """Gradients ``g[centre, slot, n, l m, k]`` of ``sum(v[:, k] * features)`` with respect to the coefficients.

    Arguments as of :func:`kernpot.descriptors.compiled.spectrum.cotangent`; ``mixed`` where partners are sums of the
    coefficients over slots.
    """
    n_q, n_partners, many = c.shape[2], partners.shape[2], v.shape[1]
    degrees, n = int(np.sqrt(c.shape[1]) + 0.5), n_q // n_slots
    matrix = np.empty((degrees, n_q, n_partners, many), g.dtype)
    flat = matrix.reshape(-1, many)
    back = np.empty((n, many), g.dtype)
    row = np.empty(many, g.dtype)
    for i in range(c.shape[0]):
        matrix[:] = 0.0
        for j in range(v.shape[2]):
            place, f = take[j], g.dtype.type(factor[j])
            for k in range(many):
                flat[place, k] = f * v[i, k, j]
        if not mixed:
            # Partners are the coefficients: both factors of a product are differentiated.
            for degree in range(degrees):
                for a in range(n_q):
                    for k in range(many):
                        matrix[degree, a, a, k] *= 2
                    for b in range(a):
                        for k in range(many):
                            both = matrix[degree, a, b, k] + matrix[degree, b, a, k]
                            matrix[degree, a, b, k] = both
                            matrix[degree, b, a, k] = both
        for degree in range(degrees):
            for lm in range(degree * degree, (degree + 1) * (degree + 1)):
                back[:] = 0.0
                for slot in range(n_slots):
                    for a in range(n):
                        q = slot * n + a
                        row[:] = 0.0
                        for b in range(n_partners):
                            x = g.dtype.type(partners[i, lm, b])
                            for k in range(many):
                                row[k] += x * matrix[degree, q, b, k]
                        for k in range(many):
                            g[i, slot, a, lm, k] = row[k]
                        if mixed:
                            own = g.dtype.type(c[i, lm, q])
                            for b in range(n_partners):
                                for k in range(many):
                                    back[b, k] += own * matrix[degree, q, b, k]
                if mixed:
                    for slot in range(n_slots):
                        for a in range(n):
                            for k in range(many):
                                g[i, slot, a, lm, k] += back[a, k]


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
    """Gradients ``out[p, 3, k]`` of ``sum(g[..., k] * c)`` with respect to pair vectors, sorted by centre and slot."""
    degrees, most = prefactors.shape[0], most_neighbours(start)
    n, lm, many = functions.shape[2] // degrees, degrees * degrees, out.shape[2]
    v, value, slope = np.empty((3, most)), np.empty((degrees, n)), np.empty((degrees, n))
    flat_value, flat_slope = value.reshape(-1), slope.reshape(-1)
    q = np.zeros((degrees, degrees, most))
    cos, sin = np.empty((degrees, most)), np.empty((degrees, most))
    y, dy = np.empty((lm, most)), np.empty((3, lm, most))
    # Those of a pair next to one another, radial functions repeated for every m: long loops, which vectorise.
    own_y, own_dy = np.empty(lm, g.dtype), np.empty((3, lm), g.dtype)
    values, slopes = np.empty((n, lm), g.dtype), np.empty((n, lm), g.dtype)
    dc = np.empty((most, 3, n, lm), g.dtype)
    for i in range(len(start) - 1):
        first, n_pairs = start[i], start[i + 1] - start[i]
        harmonics_of(vectors, first, n_pairs, prefactors, v, q, cos, sin, y)
        harmonic_gradients(n_pairs, v, prefactors, q, cos, sin, dy)
        for p in range(n_pairs):
            r = np.sqrt(v[0, p] * v[0, p] + v[1, p] * v[1, p] + v[2, p] * v[2, p])
            radial_slopes(r, weights[first + p], inverse_step, functions, weighting, flat_value, flat_slope)
            for degree in range(degrees):
                for k in range(degree * degree, (degree + 1) * (degree + 1)):
                    own_y[k] = y[k, p]
                    for a in range(3):
                        own_dy[a, k] = dy[a, k, p]
            for j in range(n):
                for degree in range(degrees):
                    f0, f1 = g.dtype.type(value[degree, j]), g.dtype.type(slope[degree, j])
                    for k in range(degree * degree, (degree + 1) * (degree + 1)):
                        values[j, k], slopes[j, k] = f0, f1
            for a in range(3):
                u = g.dtype.type(v[a, p] / r)
                for j in range(n):
                    for k in range(lm):
                        dc[p, a, j, k] = u * own_y[k] * slopes[j, k] + own_dy[a, k] * values[j, k]
        begin = 0
        while begin < n_pairs:
            slot, end = slots[first + begin], begin + 1
            while end < n_pairs and slots[first + end] == slot:
                end += 1
            moved = dc[begin:end].reshape(3 * (end - begin), n * lm)
            found = out[first + begin : first + end].reshape(3 * (end - begin), many)
            np.dot(moved, g[i, slot].reshape(n * lm, many), found)
            begin = end


@compiled
def fold(centres: Index, neighbours: Index, vectors: Array, gradients: Array, positions: Array, strain: Array) -> None:
    """Fold gradients along pair vectors (p, 3, k) onto atoms (n, 3, k) and strain (3, 3, k), in place."""
    many = gradients.shape[2]
    for p in range(len(centres)):
        i, j = centres[p], neighbours[p]
        for a in range(3):
            for k in range(many):
                positions[j, a, k] += gradients[p, a, k]
            for k in range(many):
                positions[i, a, k] -= gradients[p, a, k]
            for b in range(3):
                x = vectors[p, b]
                for k in range(many):
                    strain[a, b, k] += gradients[p, a, k] * x
