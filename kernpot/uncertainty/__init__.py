"""Predictions as distributions, and the measures of how right they are."""

from __future__ import annotations

from kernpot.uncertainty.prediction import JointCovariance, MeanPrediction, Prediction, Quantity

__all__ = ["JointCovariance", "MeanPrediction", "Prediction", "Quantity"]
