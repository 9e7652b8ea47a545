"""Plots that judge error bars: reliability, coverage by group and by std, errors against stds, standardised errors.

Components that vanish by symmetry are left out of all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.stats import norm

from kernpot.report.findings import MIN_STRUCTURES
from kernpot.report.panels import REFERENCE, annotate, groups_in, groups_of, looks, panels, shared_out, subset
from kernpot.report.plain import plot_text
from kernpot.tails import half_width
from kernpot.uncertainty.evaluation import Comparison, EvaluationResult
from kernpot.uncertainty.sampling_error import reliability_band
from kernpot.uncertainty.scores import FloatArray, covered

_MIN_OUTLINED = 100


def reliability_plot(result: EvaluationResult) -> Figure:
    """Share of labels found inside the central intervals, against the share the intervals claim.

    The band is the 90 % bootstrap range over structures; components that vanish by symmetry are left out.
    """
    claimed = np.linspace(0.01, 0.99, 99)

    def draw(axes: Axes, whole: Comparison) -> None:
        comparison = whole.judged
        axes.plot([0, 1], [0, 1], **REFERENCE)
        axes.fill_between([0, 1], [0, 1], 0, color="#D55E00", alpha=0.06, linewidth=0)
        axes.fill_between([0, 1], [0, 1], 1, color="#0072B2", alpha=0.06, linewidth=0)
        annotate(axes, "intervals too wide", x=0.03, y=0.96, va="top")
        annotate(axes, "intervals too narrow", x=0.97, y=0.03, ha="right")
        z = comparison.score
        if len(comparison.config_types) > 1:
            for name, chosen, look in groups_of(comparison, groups_in(result)):
                curve = [covered(z[chosen], level).mean() for level in claimed]
                axes.plot(claimed, curve, color=look["color"], linewidth=1.3, label=name)
        low, high = reliability_band(z, comparison.structure, claimed)
        axes.fill_between(claimed, low, high, color="#000000", alpha=0.15, linewidth=0, label="sampling error of all")
        curve = [covered(z, level).mean() for level in claimed]
        axes.plot(claimed, curve, color="#000000", linewidth=2.0, label="all")
        axes.plot(0.9, covered(z, 0.9).mean(), "o", color="#000000", markersize=5)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="share of labels the interval claims", ylabel="share found inside")

    return panels(result, draw)


def group_plot(result: EvaluationResult) -> Figure:
    """Share of labels inside 90 % intervals for each `config_type`, with its sampling error."""
    names = groups_in(result)
    look = looks(names)
    colours = {name: look[shown]["color"] for shown, members in shared_out(names).items() for name in members}

    def draw(axes: Axes, comparison: Comparison) -> None:
        rows = [row for row in result.rows(comparison.kind) if row.n_judged][::-1]
        axes.axvline(0.9, **REFERENCE)
        for place, row in enumerate(rows):
            colour = colours.get(row.config_type, "#000000")
            share, span = row.coverage[0.9], row.coverage_range or (0.0, 1.0)
            filled = colour if row.n_structures_judged >= MIN_STRUCTURES else "#FFFFFF"
            axes.plot(span, [place, place], color=colour, linewidth=1.6)
            axes.plot(share, place, "o", color=colour, markerfacecolor=filled, markersize=6)
        names = [f"{plot_text(row.config_type)} ({row.n_structures_judged})" for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set(xlabel="share inside 90 % intervals", xlim=(0, 1.02), ylim=(-0.6, len(rows) - 0.4))

    return panels(result, draw, height=1.6 + 0.32 * max(len(result.rows(kind)) for kind in result.comparisons))


def decile_plot(result: EvaluationResult) -> Figure | None:
    """Share of labels inside 90 % intervals in each tenth of the predicted std, with its sampling error.

    None where no kind of label has the 200 components it takes.
    """
    kinds = [kind for kind in result.comparisons if result.rows(kind)[0].deciles]

    def draw(axes: Axes, comparison: Comparison) -> None:
        deciles = result.rows(comparison.kind)[0].deciles
        place = np.arange(1, len(deciles) + 1)
        axes.axhline(0.9, **REFERENCE)
        axes.axhspan(0.85, 0.95, color="#009E73", alpha=0.1, linewidth=0)
        spans = np.array([decile.coverage_range or (0.0, 1.0) for decile in deciles])
        axes.vlines(place, spans[:, 0], spans[:, 1], color="#0072B2", linewidth=1.6)
        axes.plot(place, [decile.coverage for decile in deciles], "o", color="#0072B2", markersize=6)
        axes.set_xticks(place, [f"{decile.std:.2g}" for decile in deciles], rotation=60, fontsize=7.5)
        axes.set(xlabel=f"predicted std in the tenth ({comparison.unit})", ylabel="share inside 90 % intervals")
        axes.set_ylim(min(0.6, spans.min() - 0.02), 1.01)

    return panels(result, draw, kinds=kinds) if kinds else None


def error_std_plot(result: EvaluationResult) -> Figure:
    """Absolute error against predicted std: where stds are right, the binned rms error lies on the diagonal."""

    def draw(axes: Axes, whole: Comparison) -> None:
        comparison = whole.judged
        error = np.abs(comparison.error)
        usable = np.flatnonzero((error > 0) & (comparison.std > 0))
        if usable.size == 0:
            annotate(axes, "no error and std above zero", x=0.5, y=0.5, ha="center")
            return
        axes.set(xscale="log", yscale="log")
        axes.set(xlabel=f"predicted std ({comparison.unit})", ylabel=f"|error| ({comparison.unit})")
        for name, chosen, look in groups_of(comparison, groups_in(result)):
            shown = subset(np.intersect1d(chosen, usable), 4000)
            axes.plot(comparison.std[shown], error[shown], label=name, **look)
        low, high = comparison.std[usable].min(), comparison.std[usable].max()
        margin = max(1.25, np.sqrt(12 * low / high))  # at least a decade, or the ticks would overlap
        low, high = low / margin, high * margin
        span = np.array([low, high])
        half = half_width(0.9, comparison.degrees_of_freedom)
        reference = {**REFERENCE, "zorder": 3}
        axes.plot(span, span, label="rms error = std", **reference)
        axes.plot(span, half * span, linestyle="--", label="90 % of points below", **reference)
        _draw_bins(axes, comparison.std[usable], error[usable])
        floor = 0.03 * float(np.median(error[usable]))
        axes.set(xlim=(low, high), ylim=(floor, 2 * max(error.max(), half * high)))
        for axis, ratio in ((axes.xaxis, high / low), (axes.yaxis, 100.0)):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 50 else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())

    return panels(result, draw)


def z_histogram(result: EvaluationResult) -> Figure:
    """Histogram of errors as normal scores beside the standard normal density they should follow.

    For Gaussian tails the score is error / std; heavier predicted tails are turned into normal ones.
    """

    def draw(axes: Axes, whole: Comparison) -> None:
        comparison = whole.judged
        z = comparison.score
        edges = np.linspace(-5, 5, 2 * int(np.clip(np.sqrt(z.size), 6, 30)) + 1)
        axes.hist(np.clip(z, -5, 5), edges.tolist(), density=True, color="#BBBBBB", label="all")
        if len(comparison.config_types) > 1:
            for name, chosen, look in groups_of(comparison, groups_in(result)):
                if chosen.size >= _MIN_OUTLINED:
                    line: dict[str, Any] = {"color": look["color"], "histtype": "step", "label": name}
                    axes.hist(np.clip(z[chosen], -5, 5), edges[::2].tolist(), density=True, **line)
        grid = np.linspace(-5, 5, 201)
        axes.plot(grid, norm.pdf(grid), color="#000000", linewidth=1.4, label="ideal")
        beyond = int((np.abs(z) > 5).sum())
        if beyond:
            annotate(axes, f"{beyond} of {z.size} beyond ±5", x=0.02, y=0.93)
        # A group of almost vanishing errors would flatten all others.
        axes.set(
            xlabel="normal score of the error",
            ylabel="density",
            xlim=(-5, 5),
            ylim=(0, min(axes.get_ylim()[1], 0.9)),
        )

    return panels(result, draw)


def _draw_bins(axes: Axes, std: FloatArray, error: FloatArray) -> None:
    """Root mean square error in bins of equal count along the std."""
    n_bins = min(10, std.size // 20)
    if n_bins < 2:
        return
    bins = np.array_split(np.argsort(std), n_bins)
    x = [np.sqrt(np.mean(std[chosen] ** 2)) for chosen in bins]
    y = [np.sqrt(np.mean(error[chosen] ** 2)) for chosen in bins]
    look: dict[str, Any] = {"color": "#000000", "markersize": 6, "markeredgecolor": "#FFFFFF", "zorder": 4}
    axes.plot(x, y, "o", label="rms error in bins", **look)
