"""Descriptor and number of inducing environments, chosen by errors on structures left out within a given time."""

from __future__ import annotations

from kernpot.tuning.run import TuneResult, tune

__all__ = ["TuneResult", "tune"]
