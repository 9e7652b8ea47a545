"""How right predictions are (errors, coverage, conformal intervals), and what they do to derived properties."""

from __future__ import annotations

from kernpot.uncertainty.conformal import ConformalIntervals, conformal
from kernpot.uncertainty.evaluation import Comparison, EvaluationResult, evaluate
from kernpot.uncertainty.linear import Linearised, linearise
from kernpot.uncertainty.metrics import Metrics
from kernpot.uncertainty.propagated import Propagated
from kernpot.uncertainty.propagation import FixedGeometries, propagate

__all__ = [
    "Comparison",
    "ConformalIntervals",
    "EvaluationResult",
    "FixedGeometries",
    "Linearised",
    "Metrics",
    "Propagated",
    "conformal",
    "evaluate",
    "linearise",
    "propagate",
]
