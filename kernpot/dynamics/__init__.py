"""Simulations that know when they no longer know, and learn."""

from __future__ import annotations

from kernpot.dynamics.bias import BiasedCalculator
from kernpot.dynamics.bootstrap import Bootstrap
from kernpot.dynamics.frames import annotated
from kernpot.dynamics.gate import GateEvent, GateStopped, UncertaintyGate
from kernpot.dynamics.learner import OnTheFlyLearner, Outcome
from kernpot.dynamics.schedule import Schedule, Stage

__all__ = [
    "BiasedCalculator",
    "Bootstrap",
    "GateEvent",
    "GateStopped",
    "OnTheFlyLearner",
    "Outcome",
    "Schedule",
    "Stage",
    "UncertaintyGate",
    "annotated",
]
