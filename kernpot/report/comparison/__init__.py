"""The page about a comparison of potentials."""

from __future__ import annotations

from kernpot.report.comparison.findings import advice, comparison_findings
from kernpot.report.comparison.page import write_comparison

__all__ = ["advice", "comparison_findings", "write_comparison"]
