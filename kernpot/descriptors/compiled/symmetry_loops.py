"""Compiled loops over the pairs of neighbours of centres: symmetry functions and their derivatives.

An angular function is ``2 A_q(theta) e_h(r_j) e_h(r_k) w_h(r_jk)``: few different ``A_q`` (one per ``zeta, lambda``)
and ``e_h``, ``w_h`` (one per ``eta`` and kind) make many functions, ``(q, h)`` for each. ``w_h`` is ``e_h`` for G4 and
one for G5. Triples of a centre are taken many at a time, so that all but finding them vectorises.
"""

from __future__ import annotations

import numpy as np

from kernpot.compilation import compiled
from kernpot.descriptors.compiled.loops import most_neighbours
from kernpot.descriptors.compiled.symmetry import angles, neighbours_of, partners_of, radial, runs_of, spreads
from kernpot.descriptors.symmetry import Array, Index

# Triples taken together: what the loops need of them stays in the nearest cache.
_BATCH = 128


@compiled
def values(
    vectors: Array,
    start: Index,
    slots: Index,
    cutoff: float,
    within: float,
    g2: Array,
    g3: Array,
    eta: Array,
    n_cut: int,
    zeta: Array,
    lam: Array,
    angle: Index,
    channel: Index,
    offsets: Index,
    out: Array,
) -> None:
    """Add the symmetry functions of every centre to ``out[centre, f]``."""
    most, n_h, n_radial = most_neighbours(start), len(eta), 1 + len(g2) + len(g3)
    size = most * (most - 1) // 2 + 1
    v, square, inverse, begin = np.empty((3, most)), np.empty(most), np.empty(most), np.empty(most + 1, np.int64)
    one, two, cos, far = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size), np.empty(size)
    e, de, w, dw = np.empty((n_h, most)), np.empty((n_h, most)), np.empty((n_h, _BATCH)), np.empty((n_h, _BATCH))
    a, da, b = np.empty((len(zeta), _BATCH)), np.empty((len(zeta), _BATCH)), np.empty(_BATCH)
    value, slope, x = np.empty(n_radial), np.empty(n_radial), np.empty((3, max(most, _BATCH)))
    for i in range(len(start) - 1):
        first, many = start[i], start[i + 1] - start[i]
        neighbours_of(vectors, first, many, v, square, inverse)
        for j in range(many):
            radial(square[j], cutoff, g2, g3, value, slope)
            o = slots[first + j] * n_radial
            for f in range(n_radial):
                out[i, o + f] += value[f]
        if len(angle) == 0:
            continue
        spreads(many, square, eta, n_h, cutoff, x, e, de)
        for p in range(runs_of(slots, first, many, begin)):
            for q in range(p + 1):
                n = 0
                for j in range(begin[p], begin[p + 1]):
                    n = partners_of(j, begin[q], min(begin[q + 1], j), within, v, inverse, n, one, two, cos, far)
                o = offsets[slots[first + begin[p]], slots[first + begin[q]]]
                for lo in range(0, n, _BATCH):
                    m = min(_BATCH, n - lo)
                    angles(m, cos[lo:], zeta, lam, a, da, b)
                    spreads(m, far[lo:], eta, n_cut, cutoff, x, w, dw)
                    for h in range(n_h):
                        for t in range(m):
                            w[h, t] *= 2.0 * e[h, one[lo + t]] * e[h, two[lo + t]]
                    for f in range(len(angle)):
                        s = 0.0
                        for t in range(m):
                            s += a[angle[f], t] * w[channel[f], t]
                        out[i, o + f] += s


@compiled
def pull(
    vectors: Array,
    start: Index,
    slots: Index,
    cutoff: float,
    within: float,
    g2: Array,
    g3: Array,
    eta: Array,
    n_cut: int,
    zeta: Array,
    lam: Array,
    angle: Index,
    channel: Index,
    offsets: Index,
    cotangents: Array,
    out: Array,
) -> None:
    """Gradient ``out[p, 3]`` of ``sum(cotangents * features)`` with respect to the pair vectors."""
    most, n_h, n_radial = most_neighbours(start), len(eta), 1 + len(g2) + len(g3)
    size = most * (most - 1) // 2 + 1
    v, square, inverse, begin = np.empty((3, most)), np.empty(most), np.empty(most), np.empty(most + 1, np.int64)
    one, two, cos, far = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size), np.empty(size)
    e, de, w, dw = np.empty((n_h, most)), np.empty((n_h, most)), np.empty((n_h, _BATCH)), np.empty((n_h, _BATCH))
    a, da, b = np.empty((len(zeta), _BATCH)), np.empty((len(zeta), _BATCH)), np.empty(_BATCH)
    value, slope, x = np.empty(n_radial), np.empty(n_radial), np.empty((3, max(most, _BATCH)))
    # Sums of cotangents with A and dA for each channel.
    by_a, by_da = np.empty((n_h, _BATCH)), np.empty((n_h, _BATCH))
    # Derivatives by r_j, r_k and r_jk (each over its length) and by the cosine.
    along_j, along_k, along_jk, turn = np.empty(_BATCH), np.empty(_BATCH), np.empty(_BATCH), np.empty(_BATCH)
    for i in range(len(start) - 1):
        first, many = start[i], start[i + 1] - start[i]
        neighbours_of(vectors, first, many, v, square, inverse)
        for j in range(many):
            radial(square[j], cutoff, g2, g3, value, slope)
            o, s = slots[first + j] * n_radial, 0.0
            for f in range(n_radial):
                s += cotangents[i, o + f] * slope[f]
            for k in range(3):
                out[first + j, k] = s * v[k, j]
        if len(angle) == 0:
            continue
        spreads(many, square, eta, n_h, cutoff, x, e, de)
        for p in range(runs_of(slots, first, many, begin)):
            for q in range(p + 1):
                n = 0
                for j in range(begin[p], begin[p + 1]):
                    n = partners_of(j, begin[q], min(begin[q + 1], j), within, v, inverse, n, one, two, cos, far)
                o = offsets[slots[first + begin[p]], slots[first + begin[q]]]
                for lo in range(0, n, _BATCH):
                    m = min(_BATCH, n - lo)
                    angles(m, cos[lo:], zeta, lam, a, da, b)
                    spreads(m, far[lo:], eta, n_cut, cutoff, x, w, dw)
                    by_a[:] = 0.0
                    by_da[:] = 0.0
                    for f in range(len(angle)):
                        h, g, c = channel[f], angle[f], 2.0 * cotangents[i, o + f]
                        for t in range(m):
                            by_a[h, t] += c * a[g, t]
                            by_da[h, t] += c * da[g, t]
                    for t in range(m):
                        along_j[t], along_k[t], along_jk[t], turn[t] = 0.0, 0.0, 0.0, 0.0
                    for h in range(n_h):
                        for t in range(m):
                            j, k = one[lo + t], two[lo + t]
                            c = by_a[h, t] * w[h, t]
                            along_j[t] += c * de[h, j] * e[h, k]
                            along_k[t] += c * e[h, j] * de[h, k]
                            along_jk[t] += by_a[h, t] * e[h, j] * e[h, k] * dw[h, t]
                            turn[t] += by_da[h, t] * e[h, j] * e[h, k] * w[h, t]
                    for t in range(m):
                        j, k, c = one[lo + t], two[lo + t], cos[lo + t] * turn[t]
                        cross = turn[t] * inverse[j] * inverse[k] - along_jk[t]
                        own_j = along_j[t] + along_jk[t] - c * inverse[j] * inverse[j]
                        own_k = along_k[t] + along_jk[t] - c * inverse[k] * inverse[k]
                        for d in range(3):
                            out[first + j, d] += own_j * v[d, j] + cross * v[d, k]
                            out[first + k, d] += own_k * v[d, k] + cross * v[d, j]


@compiled
def pair_tangents(
    vectors: Array,
    start: Index,
    slots: Index,
    cutoff: float,
    within: float,
    g2: Array,
    g3: Array,
    eta: Array,
    n_cut: int,
    zeta: Array,
    lam: Array,
    angle: Index,
    channel: Index,
    offsets: Index,
    centres: Index,
    chosen: Index,
    out: Array,
) -> None:
    """Derivatives ``out[e, 3, f]`` along ``chosen`` pair vectors; ``offsets`` count among their slot's features."""
    most, n_h, n_radial = most_neighbours(start), len(eta), 1 + len(g2) + len(g3)
    v, square, inverse, begin = np.empty((3, most)), np.empty(most), np.empty(most), np.empty(most + 1, np.int64)
    one, two, cos, far = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most), np.empty(most)
    e, de, w, dw = np.empty((n_h, most)), np.empty((n_h, most)), np.empty((n_h, most)), np.empty((n_h, most))
    a, da, b = np.empty((len(zeta), most)), np.empty((len(zeta), most)), np.empty(most)
    value, slope, x, u = np.empty(n_radial), np.empty(n_radial), np.empty((3, most)), np.empty((3, most))
    # What multiplies A and dA in the factor of r_j, and in that of every r_k.
    own_a, own_da = np.empty((n_h, most)), np.empty((n_h, most))
    cross_a, cross_da = np.empty((n_h, most)), np.empty((n_h, most))
    current, runs = -1, 0
    for c in range(len(chosen)):
        i = centres[chosen[c]]
        first, many = start[i], start[i + 1] - start[i]
        if i != current:
            neighbours_of(vectors, first, many, v, square, inverse)
            spreads(many, square, eta, n_h, cutoff, x, e, de)
            current, runs = i, runs_of(slots, first, many, begin)
        j = chosen[c] - first
        radial(square[j], cutoff, g2, g3, value, slope)
        for k in range(3):
            for f in range(n_radial):
                out[c, k, f] = slope[f] * v[k, j]
            for f in range(n_radial, out.shape[2]):
                out[c, k, f] = 0.0
        for p in range(runs if len(angle) else 0):
            n = partners_of(j, begin[p], min(begin[p + 1], j), within, v, inverse, 0, one, two, cos, far)
            n = partners_of(j, max(begin[p], j + 1), begin[p + 1], within, v, inverse, n, one, two, cos, far)
            angles(n, cos, zeta, lam, a, da, b)
            spreads(n, far, eta, n_cut, cutoff, x, w, dw)
            for d in range(3):
                for t in range(n):
                    u[d, t] = v[d, two[t]]
            for h in range(n_h):
                ej, dej = 2.0 * e[h, j], 2.0 * de[h, j]
                for t in range(n):
                    k = two[t]
                    g = ej * e[h, k]
                    cross_a[h, t] = -g * dw[h, t]
                    cross_da[h, t] = g * w[h, t] * inverse[j] * inverse[k]
                    own_a[h, t] = dej * e[h, k] * w[h, t] - cross_a[h, t]
                    own_da[h, t] = -g * w[h, t] * cos[t] * inverse[j] * inverse[j]
            o = offsets[slots[first + j], slots[first + begin[p]]]
            for f in range(len(angle)):
                q, h = angle[f], channel[f]
                own, x0, x1, x2 = 0.0, 0.0, 0.0, 0.0
                for t in range(n):
                    own += a[q, t] * own_a[h, t] + da[q, t] * own_da[h, t]
                    cross = a[q, t] * cross_a[h, t] + da[q, t] * cross_da[h, t]
                    x0 += cross * u[0, t]
                    x1 += cross * u[1, t]
                    x2 += cross * u[2, t]
                out[c, 0, o + f] = own * v[0, j] + x0
                out[c, 1, o + f] = own * v[1, j] + x1
                out[c, 2, o + f] = own * v[2, j] + x2
