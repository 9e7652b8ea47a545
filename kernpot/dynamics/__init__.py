"""Simulations that know when they no longer know."""

from __future__ import annotations

from kernpot.dynamics.gate import GateEvent, GateStopped, UncertaintyGate

__all__ = ["GateEvent", "GateStopped", "UncertaintyGate"]
