"""By which way inducing environments are chosen when nobody says: the one that leaves smaller errors.

Farthest points cover everything that occurs, leverage follows what occurs often. Which is better depends on the data,
so both are tried where a fit finds its own size anyway: at the size it starts with, by errors on structures left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernpot.descriptors.features import Features
from kernpot.gp.learning.size import FIRST
from kernpot.gp.settings import AUTO
from kernpot.structures.labels import LabelledStructure

WAYS = ("fps", "leverage")
"""Ways that are tried; the first is taken where nothing tells them apart."""


def ways_for(
    parameters: Mapping[str, Any], labelled: Sequence[LabelledStructure], features: Sequence[Features]
) -> tuple[str, ...]:
    """Ways to try for an estimator's parameters; one where there is no choice, or a number of environments is given."""
    inducing = parameters["inducing"]
    if inducing != AUTO:
        # Structures that were given are no way: what is passed on is not looked at.
        return (inducing if isinstance(inducing, str) else WAYS[0],)
    n_environments = len(features) * sum(len(s.atoms) for s in labelled)
    can_tell = parameters["n_inducing"] == AUTO and parameters["optimize"] and n_environments > FIRST
    return WAYS if can_tell else WAYS[:1]


def score_of(summary: Mapping[str, Any]) -> float:
    """Score of a fit by errors on structures left out; infinite where too few were."""
    scores = summary["hyperparameters"].get("scores")
    return float("inf") if scores is None else float(scores["whole"])
