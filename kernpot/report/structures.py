"""Errors of each structure of an evaluation beside their stds, the worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kernpot.uncertainty.evaluation import Comparison, EvaluationResult


@dataclass(frozen=True)
class LabelError:
    """Of an energy per atom, or of the component of a structure's label that is furthest out, in the unit of its kind.

    Attributes
    ----------
    error, std : float
        Prediction minus label, and its predicted std.
    """

    error: float
    std: float


@dataclass(frozen=True)
class StructureErrors:
    """Of one structure.

    Attributes
    ----------
    source, config_type : str
    worst : float
        Largest absolute error in units of its std, over all kinds.
    errors : dict of str to LabelError
        By kind of label.
    """

    source: str
    config_type: str
    worst: float
    errors: dict[str, LabelError]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        told = {kind: {"error": found.error, "std": found.std} for kind, found in self.errors.items()}
        return {"source": self.source, "config_type": self.config_type, **told}


def worst_first(result: EvaluationResult) -> list[StructureErrors]:
    """The structures, those whose errors are furthest out of their stds first; none where sources are not known."""
    if not result.sources:
        return []
    errors: dict[int, dict[str, LabelError]] = {}
    groups: dict[int, str] = {}
    worst: dict[int, float] = {}
    for kind, comparison in result.comparisons.items():
        z = np.abs(comparison.error) / np.maximum(comparison.std, np.finfo(float).tiny)
        z[comparison.vanishing] = 0.0
        for place, k in _furthest(comparison, z):
            index = int(comparison.structure[k])
            found = LabelError(float(comparison.error[k]), float(comparison.std[k]))
            errors.setdefault(index, {})[kind] = found
            groups[index] = str(comparison.config_type[k])
            worst[index] = max(worst.get(index, 0.0), float(z[place]))
    order = sorted(errors, key=lambda index: -worst[index])
    return [StructureErrors(result.sources[k], groups[k], worst[k], errors[k]) for k in order]


def _furthest(comparison: Comparison, z: np.ndarray) -> list[tuple[int, int]]:
    """For each structure the component furthest out in units of its std, and the one with the largest error."""
    order = np.argsort(comparison.structure, kind="stable")
    starts = np.flatnonzero(np.diff(comparison.structure[order], prepend=-1))
    found = []
    for members in np.split(order, starts[1:]):
        furthest = int(members[z[members].argmax()])
        found.append((furthest, int(members[np.abs(comparison.error[members]).argmax()])))
    return found
