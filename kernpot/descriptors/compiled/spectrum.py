"""Power spectrum of coefficients, its cotangents, and tangents along single pairs and along directions, compiled.

Coefficients are ``c[centre, l m, q]`` with ``q = (species slot, n)``; ``partners`` is what they are multiplied by, the
coefficients themselves or their sum over slots (:mod:`kernpot.descriptors.layout`).
"""

from __future__ import annotations

import numpy as np

from kernpot.compilation import compiled
from kernpot.descriptors.compiled.harmonics import Array, harmonic_gradients, harmonics_of
from kernpot.descriptors.compiled.loops import Index, most_neighbours
from kernpot.descriptors.compiled.table import radial_slopes

# Pairs whose harmonics are made together.
_BATCH = 32


@compiled
def values(c: Array, partners: Array, take: Index, factor: Array, out: Array) -> None:
    """Features ``out[centre, f] = factor[f] * sum_m c[l m, q1] partners[l m, q2]``, ``take`` indexing (l, q1, q2)."""
    n_q, n_partners = c.shape[2], partners.shape[2]
    degrees = int(np.sqrt(c.shape[1]) + 0.5)
    products = np.empty((degrees, n_q, n_partners))
    flat = products.reshape(-1)
    for i in range(c.shape[0]):
        products[:] = 0.0
        for degree in range(degrees):
            for k in range(degree * degree, (degree + 1) * (degree + 1)):
                for a in range(n_q):
                    f = c[i, k, a]
                    for b in range(n_partners):
                        products[degree, a, b] += f * partners[i, k, b]
        for j in range(out.shape[1]):
            out[i, j] = factor[j] * flat[take[j]]


@compiled
def cotangent(c: Array, partners: Array, take: Index, factor: Array, v: Array, g: Array, back: Array) -> None:
    """Gradients of ``sum(v * features)``: ``g`` with respect to ``c`` and ``back`` with respect to ``partners``."""
    n_q, n_partners = c.shape[2], partners.shape[2]
    degrees = int(np.sqrt(c.shape[1]) + 0.5)
    matrix, transposed = np.empty((degrees, n_q, n_partners)), np.empty((n_partners, n_q))
    flat = matrix.reshape(-1)
    for i in range(c.shape[0]):
        matrix[:] = 0.0
        for j in range(v.shape[1]):
            flat[take[j]] = factor[j] * v[i, j]
        for degree in range(degrees):
            for a in range(n_q):
                for b in range(n_partners):
                    transposed[b, a] = matrix[degree, a, b]
            for k in range(degree * degree, (degree + 1) * (degree + 1)):
                for a in range(n_q):
                    g[i, k, a] = 0.0
                for b in range(n_partners):
                    back[i, k, b] = 0.0
                for b in range(n_partners):
                    f = partners[i, k, b]
                    for a in range(n_q):
                        g[i, k, a] += f * transposed[b, a]
                for a in range(n_q):
                    f = c[i, k, a]
                    for b in range(n_partners):
                        back[i, k, b] += f * matrix[degree, a, b]


@compiled
def pair_tangents(
    vectors: Array,
    weights: Array,
    inverse_step: float,
    functions: Array,
    weighting: Array,
    prefactors: Array,
    centres: Index,
    c: Array,
    partners: Array,
    first: Index,
    second: Index,
    factor: Array,
    out: Array,
) -> None:
    """Derivatives ``out[e, 3, f]`` of the features of ``centres[e]`` along the pair vectors ``vectors[e]``.

    With ``dc = dR Y + R dY`` for the moving slot, ``sum_m dc[n] x[q] = u dR_n (Y . x_q) + R_n (dY . x_q)``: the sums
    over ``m`` are done once for all ``n``. ``first`` and ``second`` index the products ``(l, n, partner)``, followed by
    ``(l, n, q)`` when partners are not the coefficients, followed by a zero.
    """
    degrees, n_q, n_partners = prefactors.shape[0], c.shape[2], partners.shape[2]
    n, lm = functions.shape[2] // degrees, degrees * degrees
    mixed = n_partners != n_q
    n_columns = n_partners + n_q if mixed else n_partners
    at_all = degrees * n * n_partners
    v, q = np.empty((3, _BATCH)), np.zeros((degrees, degrees, _BATCH))
    cos, sin = np.empty((degrees, _BATCH)), np.empty((degrees, _BATCH))
    y, dy = np.empty((lm, _BATCH)), np.empty((3, lm, _BATCH))
    value, slope = np.empty((degrees, n)), np.empty((degrees, n))
    flat_value, flat_slope = value.reshape(-1), slope.reshape(-1)
    # h[0] holds the sums with Y, h[1:] those with dY; columns are the partners, then the coefficients.
    h = np.empty((4, degrees, n_columns))
    products = np.zeros(degrees * n * n_columns + 1)
    for begin in range(0, vectors.shape[0], _BATCH):
        many = min(_BATCH, vectors.shape[0] - begin)
        harmonics_of(vectors, begin, many, prefactors, v, q, cos, sin, y)
        harmonic_gradients(many, v, prefactors, q, cos, sin, dy)
        for p in range(many):
            e = begin + p
            i = centres[e]
            r = np.sqrt(v[0, p] * v[0, p] + v[1, p] * v[1, p] + v[2, p] * v[2, p])
            radial_slopes(r, weights[e], inverse_step, functions, weighting, flat_value, flat_slope)
            h[:] = 0.0
            for degree in range(degrees):
                for k in range(degree * degree, (degree + 1) * (degree + 1)):
                    f0, f1, f2, f3 = y[k, p], dy[0, k, p], dy[1, k, p], dy[2, k, p]
                    for b in range(n_partners):
                        x = partners[i, k, b]
                        h[0, degree, b] += f0 * x
                        h[1, degree, b] += f1 * x
                        h[2, degree, b] += f2 * x
                        h[3, degree, b] += f3 * x
                    if mixed:
                        for b in range(n_q):
                            x = c[i, k, b]
                            h[0, degree, n_partners + b] += f0 * x
                            h[1, degree, n_partners + b] += f1 * x
                            h[2, degree, n_partners + b] += f2 * x
                            h[3, degree, n_partners + b] += f3 * x
            for a in range(3):
                u = v[a, p] / r
                for degree in range(degrees):
                    for k in range(n):
                        f0, f1 = u * slope[degree, k], value[degree, k]
                        o = (degree * n + k) * n_partners
                        for b in range(n_partners):
                            products[o + b] = f0 * h[0, degree, b] + f1 * h[1 + a, degree, b]
                        if mixed:
                            o = at_all + (degree * n + k) * n_q
                            for b in range(n_q):
                                products[o + b] = (
                                    f0 * h[0, degree, n_partners + b] + f1 * h[1 + a, degree, n_partners + b]
                                )
                for j in range(len(first)):
                    out[e, a, j] = factor[j] * (products[first[j]] + products[second[j]])


@compiled
def directional(
    vectors: Array,
    tangents: Array,
    start: Index,
    slots: Index,
    weights: Array,
    inverse_step: float,
    functions: Array,
    weighting: Array,
    prefactors: Array,
    c: Array,
    partners: Array,
    take: Index,
    factor: Array,
    out: Array,
) -> None:
    """Derivatives ``out[centre, x, f]`` of the features when pair vectors move with ``tangents[p, x]``."""
    degrees, n_q, n_partners = prefactors.shape[0], c.shape[2], partners.shape[2]
    n, lm, n_x = functions.shape[2] // degrees, degrees * degrees, tangents.shape[1]
    n_slots = n_q // n
    mixed = n_partners != n_q
    most = most_neighbours(start)
    v, q = np.empty((3, most)), np.zeros((degrees, degrees, most))
    cos, sin = np.empty((degrees, most)), np.empty((degrees, most))
    y, dy = np.empty((lm, most)), np.empty((3, lm, most))
    value, slope = np.empty((degrees, n)), np.empty((degrees, n))
    flat_value, flat_slope = value.reshape(-1), slope.reshape(-1)
    dc, d_partners = np.empty((n_x, lm, n_slots, n)), np.empty((lm, n_partners))
    flat_dc = dc.reshape(n_x, lm, n_q)
    products = np.empty((degrees, n_q, n_partners))
    flat = products.reshape(-1)
    for i in range(len(start) - 1):
        begin, many = start[i], start[i + 1] - start[i]
        harmonics_of(vectors, begin, many, prefactors, v, q, cos, sin, y)
        harmonic_gradients(many, v, prefactors, q, cos, sin, dy)
        dc[:] = 0.0
        for p in range(many):
            r = np.sqrt(v[0, p] * v[0, p] + v[1, p] * v[1, p] + v[2, p] * v[2, p])
            radial_slopes(r, weights[begin + p], inverse_step, functions, weighting, flat_value, flat_slope)
            slot = slots[begin + p]
            for x in range(n_x):
                t0, t1, t2 = tangents[begin + p, x, 0], tangents[begin + p, x, 1], tangents[begin + p, x, 2]
                radially = (t0 * v[0, p] + t1 * v[1, p] + t2 * v[2, p]) / r
                for degree in range(degrees):
                    for k in range(degree * degree, (degree + 1) * (degree + 1)):
                        f0 = radially * y[k, p]
                        f1 = t0 * dy[0, k, p] + t1 * dy[1, k, p] + t2 * dy[2, k, p]
                        for j in range(n):
                            dc[x, k, slot, j] += f0 * slope[degree, j] + f1 * value[degree, j]
        for x in range(n_x):
            if mixed:
                for k in range(lm):
                    for j in range(n):
                        s = 0.0
                        for slot in range(n_slots):
                            s += dc[x, k, slot, j]
                        d_partners[k, j] = s
            else:
                for k in range(lm):
                    for b in range(n_q):
                        d_partners[k, b] = flat_dc[x, k, b]
            products[:] = 0.0
            for degree in range(degrees):
                for k in range(degree * degree, (degree + 1) * (degree + 1)):
                    for a in range(n_q):
                        f0, f1 = flat_dc[x, k, a], c[i, k, a]
                        for b in range(n_partners):
                            products[degree, a, b] += f0 * partners[i, k, b] + f1 * d_partners[k, b]
            for j in range(out.shape[2]):
                out[i, x, j] = factor[j] * flat[take[j]]
