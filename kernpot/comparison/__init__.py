"""Several potentials on the same structures: errors, error bars, learning curves, costs, and which to use when."""

from __future__ import annotations

from kernpot.comparison.blocks import blocks, hold_out
from kernpot.comparison.criteria import Criterion, criteria
from kernpot.comparison.result import ComparisonResult, summarise
from kernpot.comparison.run import run
from kernpot.comparison.splits import Shift, Split, default_shift, without_group, without_hottest

__all__ = [
    "ComparisonResult",
    "Criterion",
    "Shift",
    "Split",
    "blocks",
    "criteria",
    "default_shift",
    "hold_out",
    "run",
    "summarise",
    "without_group",
    "without_hottest",
]
