"""Parity plots, and all plots of an evaluation as files.

Each function returns a matplotlib `Figure` (no window is opened).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from kernpot.files.writing import destination
from kernpot.report.calibration_plots import decile_plot, error_std_plot, group_plot, reliability_plot, z_histogram
from kernpot.report.panels import (
    REFERENCE,
    STYLE,
    TITLES,
    annotate,
    groups_in,
    groups_of,
    legend_beside,
    new_figure,
    shared_out,
    span,
    subset,
)
from kernpot.uncertainty.evaluation import Comparison, EvaluationResult

_MAX_BARS = 300
_MAX_POINTS = 20000


def parity_plot(comparison: Comparison, config_types: Sequence[str] | None = None) -> Figure:
    """Prediction against label, and below it the error with its 90 % interval.

    Parameters
    ----------
    comparison : Comparison
        One kind of label. Energies are drawn relative to their mean.
    config_types : sequence of str, optional
        All names, in the order in which they get their colours; those of `comparison` when not given. Of more than ten
        the first nine have colours of their own.
    """
    names = config_types or comparison.config_types
    with mpl.rc_context(STYLE):
        figure, (top, bottom) = new_figure(6.0, 5.6, 2, 1, sharex=True, height_ratios=(2, 1))
        half = comparison.half_width(0.9)
        origin = float(comparison.label.mean()) if comparison.kind == "energy" else 0.0
        label, mean = comparison.label - origin, comparison.mean - origin
        low, high = span(label)
        top.plot([low, high], [low, high], **REFERENCE)
        bottom.axhline(0, **REFERENCE)
        for name, chosen, look in groups_of(comparison, names):
            shown = subset(chosen, _MAX_POINTS)
            barred = subset(chosen, max(_MAX_BARS // len(shared_out(names)), 20))
            bars = {"fmt": "none", "ecolor": look["color"], "elinewidth": 0.7, "alpha": 0.55}
            for axes, values in ((top, mean), (bottom, comparison.error)):
                axes.plot(label[shown], values[shown], label=name, **look)
                axes.errorbar(label[barred], values[barred], yerr=half[barred], **bars)
        top.set(title=TITLES[comparison.kind], ylabel=f"predicted ({comparison.unit})")
        top.set(xlim=(low, high), ylim=span(np.concatenate([label, mean])))
        bottom.set(xlabel=f"label ({comparison.unit})", ylabel=f"error ({comparison.unit})")
        # A few extreme errors would flatten all others; they stay visible in the upper panel.
        reach = 1.15 * float(np.quantile(np.abs(comparison.error) + half, 0.99)) or 1.0
        bottom.set_ylim(-reach, reach)
        notes = ["bars: 90 % intervals"]
        if origin:
            notes.insert(0, f"0 is the mean label, {origin / 1000:.4f} eV/atom")
        annotate(top, "\n".join(notes), x=0.98, y=0.03, ha="right")
        legend_beside(figure)
    return figure


def write_plots(result: EvaluationResult, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Write every plot of an evaluation as PNG.

    Parameters
    ----------
    result : EvaluationResult
        What was found.
    folder : path-like
        Existing folder.

    Returns
    -------
    dict of str to Path
        ``parity_energy``, ..., ``reliability``, ``groups``, ``deciles``, ``error_std``, ``z_histogram`` and the file of
        each.
    """
    figures = {
        f"parity_{kind}": parity_plot(comparison, groups_in(result)) for kind, comparison in result.comparisons.items()
    }
    figures["reliability"] = reliability_plot(result)
    figures["groups"] = group_plot(result)
    if (deciles := decile_plot(result)) is not None:
        figures["deciles"] = deciles
    figures["error_std"] = error_std_plot(result)
    figures["z_histogram"] = z_histogram(result)
    paths = {}
    for name, figure in figures.items():
        paths[name] = destination(Path(folder) / f"{name}.png")
        figure.savefig(paths[name], dpi=130, metadata={"Software": None})
    return paths
