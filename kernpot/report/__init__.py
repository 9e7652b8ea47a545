"""Plots, sentences and a self-contained HTML page about an evaluation."""

from __future__ import annotations

from kernpot.report.calibration_plots import decile_plot, error_std_plot, group_plot, reliability_plot, z_histogram
from kernpot.report.findings import Finding, findings
from kernpot.report.html import write_html
from kernpot.report.plots import parity_plot, write_plots
from kernpot.report.provenance import describe_model

__all__ = [
    "Finding",
    "decile_plot",
    "describe_model",
    "error_std_plot",
    "findings",
    "group_plot",
    "parity_plot",
    "reliability_plot",
    "write_html",
    "write_plots",
    "z_histogram",
]
