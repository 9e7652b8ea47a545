"""Plots, sentences and a self-contained HTML page about an evaluation."""

from __future__ import annotations

from kernpot.report.findings import Finding, findings
from kernpot.report.html import write_html
from kernpot.report.plots import error_std_plot, parity_plot, reliability_plot, write_plots, z_histogram
from kernpot.report.provenance import describe_model

__all__ = [
    "Finding",
    "describe_model",
    "error_std_plot",
    "findings",
    "parity_plot",
    "reliability_plot",
    "write_html",
    "write_plots",
    "z_histogram",
]
