"""Structures dealt out by configuration types: however many are taken, every type has its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernpot.structures.labels import LabelledStructure
from kernpot.structures.reference import is_isolated_atom


def in_proportion(labelled: Sequence[LabelledStructure], rng: np.random.RandomState) -> list[int]:
    """Indices of all structures but isolated atoms, at random, the first of them in proportion to their types."""
    by_type: dict[str, list[int]] = {}
    for k in rng.permutation(len(labelled)).tolist():
        if not is_isolated_atom(labelled[k]):
            by_type.setdefault(labelled[k].config_type, []).append(k)
    # The j-th of n members of a type comes at (j + 1/2) / n.
    place = {k: (j + 0.5) / len(ks) for ks in by_type.values() for j, k in enumerate(ks)}
    return sorted(place, key=lambda k: (place[k], k))
