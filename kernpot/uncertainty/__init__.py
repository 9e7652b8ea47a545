"""Measures of how right predictions are: errors, coverage, ranking, per label kind and group."""

from __future__ import annotations

from kernpot.uncertainty.evaluation import Comparison, EvaluationResult, evaluate
from kernpot.uncertainty.metrics import Metrics

__all__ = [
    "Comparison",
    "EvaluationResult",
    "Metrics",
    "evaluate",
]
