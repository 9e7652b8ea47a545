"""Predictions as distributions, and the measures of how right they are."""

from __future__ import annotations

from kernpot.uncertainty.evaluation import Comparison, EvaluationResult, evaluate
from kernpot.uncertainty.metrics import Metrics
from kernpot.uncertainty.prediction import JointCovariance, MeanPrediction, Prediction, Quantity

__all__ = [
    "Comparison",
    "EvaluationResult",
    "JointCovariance",
    "MeanPrediction",
    "Metrics",
    "Prediction",
    "Quantity",
    "evaluate",
]
