"""Learning curves: random subsets of the training structures, each within the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from kernpot.comparison.splits import elements_of
from kernpot.structures.reference import is_alone

SMALLEST = 10


def sizes(n: int, smallest: int = SMALLEST) -> list[int]:
    """10, 20, 40, ... and all; a last step of less than a factor of 1.4 is left out."""
    found = []
    size = smallest
    while 1.4 * size <= n:
        found.append(size)
        size *= 2
    return [*found, n]


def nested_subsets(structures: Sequence[Atoms], seed: int = 0) -> list[list[Atoms]]:
    """Subsets of the `sizes`, the last of which is everything.

    Isolated atoms belong to all of them and do not count. First come the structures that it takes to know all elements,
    then the others at random.
    """
    alone = [a for a in structures if is_alone(a)]
    others = [a for a in structures if not is_alone(a)]
    shuffled = [others[k] for k in np.random.default_rng(seed).permutation(len(others))]
    known = elements_of(alone)
    first: list[Atoms] = []
    rest: list[Atoms] = []
    for atoms in shuffled:
        new = elements_of([atoms]) - known
        (first if new else rest).append(atoms)
        known |= new
    ordered = [*first, *rest]
    return [[*ordered[:n], *alone] for n in sizes(len(others))[:-1]] + [list(structures)]
