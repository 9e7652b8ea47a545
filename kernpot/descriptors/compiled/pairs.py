"""Small compiled sweeps over pairs."""

from __future__ import annotations

from kernpot.compilation import compiled
from kernpot.descriptors.compiled.harmonics import Array
from kernpot.descriptors.compiled.loops import Index


@compiled
def nearest_and_farthest(vectors: Array) -> tuple[float, float]:
    """Smallest and largest squared length of vectors (p, 3); (inf, 0) of none. NaN makes the largest NaN."""
    smallest, largest = float("inf"), 0.0
    for p in range(vectors.shape[0]):
        square = vectors[p, 0] * vectors[p, 0] + vectors[p, 1] * vectors[p, 1] + vectors[p, 2] * vectors[p, 2]
        smallest = min(smallest, square)
        if largest == largest and not square <= largest:  # once NaN, always NaN
            largest = square
    return smallest, largest


@compiled
def fold(centres: Index, neighbours: Index, vectors: Array, gradient: Array, positions: Array, strain: Array) -> None:
    """Fold a gradient along pair vectors (p, 3) onto atoms (n, 3) and strain (3, 3), in place."""
    total = strain.copy()
    for p in range(len(centres)):
        i, j = centres[p], neighbours[p]
        for a in range(3):
            g = gradient[p, a]
            positions[j, a] += g
            positions[i, a] -= g
            for b in range(3):
                total[a, b] += g * vectors[p, b]
    strain[:] = total
