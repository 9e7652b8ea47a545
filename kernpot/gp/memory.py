"""What a fit of the sparse Gaussian process takes, estimated before anything is made."""

from __future__ import annotations

from collections.abc import Sequence

from kernpot.descriptors.features import Features
from kernpot.gp.inducing.blocks import CANDIDATES
from kernpot.gp.inducing.displaced import MOST_COPIES
from kernpot.parallel.memory import require_memory
from kernpot.structures.labels import LabelledStructure, n_labels
from kernpot.structures.neighbours import most_neighbours

# Matrices of n_inducing^2 that a fit holds at once, for each kind of label and beside them; measured, and rounded up.
_PER_GROUP, _BESIDE = 3, 5
MOST_KEPT = 100
"""Structures whose rows are kept for leave-one-out."""
# Numbers in these rows, 1 GB, but so many rows at any rate; how often a fit holds them at once, as they are and as the
# posterior sees them.
_KEPT_NUMBERS, _FEWEST_KEPT_ROWS, _KEPT_COPIES = 125_000_000, 12_000, 2


def most_kept_rows(n_inducing: int) -> int:
    """How many labels' rows may be kept for leave-one-out."""
    return max(_FEWEST_KEPT_ROWS, _KEPT_NUMBERS // n_inducing)


# Arrays of one row for each environment that moves with an atom (n_features numbers along x, y and z), and of one
# number for each pair of these: the prior variance of a force takes both.
_TANGENTS, _PAIRS_OF_MOVED = 3, 10


def require_memory_for(labelled: Sequence[LabelledStructure], features: Sequence[Features], n_inducing: int) -> None:
    """Refuse a fit for which there is not enough memory.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    features : sequence of Features
        Descriptors.
    n_inducing : int
        As many are wanted; there will be no more than the environments give.

    Raises
    ------
    MemoryLimitError
        With the estimate, the limit and the remedy.
    """
    m = _at_most(labelled, features, n_inducing)
    require_memory(
        memory_for(labelled, features, n_inducing),
        f"a fit with {m} inducing environments of {max(f.n_features for f in features)} features",
        "Take fewer inducing environments (n_inducing), which costs as their square; most fits need 300 to 3000.",
    )
    for s in labelled:
        require_memory_for_forces(s, features)


def memory_for(labelled: Sequence[LabelledStructure], features: Sequence[Features], n_inducing: int) -> float:
    """Bytes that a fit takes."""
    n_atoms = sum(len(s.atoms) for s in labelled)
    widest = max(f.n_features for f in features)
    m = _at_most(labelled, features, n_inducing)
    n_kinds = len({kind for s in labelled for kind in s.kinds})
    candidates = min(n_atoms * len(features), max(CANDIDATES * m, 1000))
    kept = min(sum(sorted(map(n_labels, labelled))[-MOST_KEPT:]), most_kept_rows(n_inducing))
    return 8.0 * (m**2 * (_PER_GROUP * n_kinds + _BESIDE) + _KEPT_COPIES * kept * m + (2 * candidates + m) * widest)


def _at_most(labelled: Sequence[LabelledStructure], features: Sequence[Features], n_inducing: int) -> int:
    return min(n_inducing, (1 + MOST_COPIES) * sum(len(s.atoms) for s in labelled) * len(features))


def require_memory_for_forces(labelled: LabelledStructure, features: Sequence[Features]) -> None:
    """Refuse a structure whose atoms have more neighbours than there is memory for in the rows of its forces.

    Raises
    ------
    MemoryLimitError
        With the estimate, the limit and the remedy.
    """
    if labelled.forces is None:
        return
    for f in features:
        n = most_neighbours(labelled.atoms, f.cutoff)
        require_memory(
            8.0 * 3 * (_PAIRS_OF_MOVED * n**2 + _TANGENTS * n * f.n_features),
            f"{labelled.source}: the forces on an atom with some {n:.0f} neighbours within {f.cutoff:g} A",
            "Take a smaller cutoff (r_cut): 4 to 7 A, with some 50 neighbours, are usual.",
        )
