"""Plots of an evaluation: parity, reliability, error against std, and standardised errors.

Each function returns a matplotlib `Figure` (no window is opened). Colours are those of Okabe and Ito, which people with
colour-vision deficiencies can tell apart; groups differ in marker, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray
from scipy.stats import norm

from kernpot.uncertainty.evaluation import Comparison, EvaluationResult
from kernpot.uncertainty.metrics import FloatArray, covered, standardised

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
TITLES = {"energy": "Energy per atom", "forces": "Force components", "stress": "Stress components"}
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 8,
}
_REFERENCE: dict[str, Any] = {"color": "#333333", "linewidth": 0.9, "zorder": 1}
_MAX_BARS = 300
_MAX_POINTS = 20000

Indices = NDArray[np.int64]


def parity_plot(comparison: Comparison, config_types: Sequence[str] | None = None) -> Figure:
    """Prediction against label, and below it the error with its 90 % interval.

    Parameters
    ----------
    comparison : Comparison
        One kind of label. Energies are drawn relative to their mean.
    config_types : sequence of str, optional
        All names, in the order in which they get their colours; those of `comparison` when not given.
    """
    with mpl.rc_context(STYLE):
        figure, (top, bottom) = _figure(4.8, 5.6, 2, 1, sharex=True, height_ratios=(2, 1))
        half = norm.ppf(0.95) * comparison.std
        origin = float(comparison.label.mean()) if comparison.kind == "energy" else 0.0
        label, mean = comparison.label - origin, comparison.mean - origin
        low, high = _span(label)
        top.plot([low, high], [low, high], **_REFERENCE)
        bottom.axhline(0, **_REFERENCE)
        for name, chosen, look in _groups(comparison, config_types or comparison.config_types):
            shown = _subset(chosen, _MAX_POINTS)
            barred = _subset(chosen, max(_MAX_BARS // len(comparison.config_types), 20))
            bars = {"fmt": "none", "ecolor": look["color"], "elinewidth": 0.7, "alpha": 0.55}
            for axes, values in ((top, mean), (bottom, comparison.error)):
                axes.plot(label[shown], values[shown], label=name, **look)
                axes.errorbar(label[barred], values[barred], yerr=half[barred], **bars)
        top.set(title=TITLES[comparison.kind], ylabel=f"predicted ({comparison.unit})")
        top.set(xlim=(low, high), ylim=_span(np.concatenate([label, mean])))
        bottom.set(xlabel=f"label ({comparison.unit})", ylabel=f"error ({comparison.unit})")
        # A few extreme errors would flatten all others; they stay visible in the upper panel.
        reach = 1.15 * float(np.quantile(np.abs(comparison.error) + half, 0.99)) or 1.0
        bottom.set_ylim(-reach, reach)
        top.legend(loc="upper left", markerscale=2)
        notes = ["bars: 90 % intervals"]
        if origin:
            notes.insert(0, f"0 is the mean label, {origin / 1000:.4f} eV/atom")
        _note(top, "\n".join(notes), x=0.98, y=0.03, ha="right")
    return figure


def reliability_plot(result: EvaluationResult) -> Figure:
    """Share of labels found inside the central intervals, against the share the intervals claim."""
    claimed = np.linspace(0.01, 0.99, 99)

    def draw(axes: Axes, comparison: Comparison) -> None:
        axes.plot([0, 1], [0, 1], **_REFERENCE)
        axes.fill_between([0, 1], [0, 1], 0, color="#D55E00", alpha=0.06, linewidth=0)
        axes.fill_between([0, 1], [0, 1], 1, color="#0072B2", alpha=0.06, linewidth=0)
        _note(axes, "intervals too wide", x=0.03, y=0.96, va="top")
        _note(axes, "intervals too narrow", x=0.97, y=0.03, ha="right")
        z = standardised(comparison.error, comparison.std)
        if len(comparison.config_types) > 1:
            for name, chosen, look in _groups(comparison, result.config_types):
                curve = [covered(z[chosen], level).mean() for level in claimed]
                axes.plot(claimed, curve, color=look["color"], linewidth=1.3, label=name)
        curve = [covered(z, level).mean() for level in claimed]
        axes.plot(claimed, curve, color="#000000", linewidth=2.0, label="all")
        axes.plot(0.9, covered(z, 0.9).mean(), "o", color="#000000", markersize=5)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="share of labels the interval claims", ylabel="share found inside")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92))

    return _panels(result, draw)


def error_std_plot(result: EvaluationResult) -> Figure:
    """Absolute error against predicted std: where stds are right, the binned rms error lies on the diagonal."""

    def draw(axes: Axes, comparison: Comparison) -> None:
        error = np.abs(comparison.error)
        usable = np.flatnonzero((error > 0) & (comparison.std > 0))
        if usable.size == 0:
            _note(axes, "no error and std above zero", x=0.5, y=0.5, ha="center")
            return
        axes.set(xscale="log", yscale="log")
        axes.set(xlabel=f"predicted std ({comparison.unit})", ylabel=f"|error| ({comparison.unit})")
        for _, chosen, look in _groups(comparison, result.config_types):
            shown = _subset(np.intersect1d(chosen, usable), 4000)
            axes.plot(comparison.std[shown], error[shown], **look)
        low, high = comparison.std[usable].min(), comparison.std[usable].max()
        margin = max(1.25, np.sqrt(12 * low / high))  # at least a decade, or the ticks would overlap
        low, high = low / margin, high * margin
        span = np.array([low, high])
        reference = {**_REFERENCE, "zorder": 3}
        axes.plot(span, span, label="rms error = std", **reference)
        axes.plot(span, norm.ppf(0.95) * span, linestyle="--", label="90 % of points below", **reference)
        _draw_bins(axes, comparison.std[usable], error[usable])
        floor = 0.03 * float(np.median(error[usable]))
        axes.set(xlim=(low, high), ylim=(floor, 2 * max(error.max(), norm.ppf(0.95) * high)))
        for axis, ratio in ((axes.xaxis, high / low), (axes.yaxis, 100.0)):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ratio < 50 else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.legend(loc="lower right")

    return _panels(result, draw)


def z_histogram(result: EvaluationResult) -> Figure:
    """Histogram of error / std beside the standard normal density it should follow."""

    def draw(axes: Axes, comparison: Comparison) -> None:
        z = standardised(comparison.error, comparison.std)
        edges = np.linspace(-5, 5, 2 * int(np.clip(np.sqrt(z.size), 6, 30)) + 1)
        axes.hist(np.clip(z, -5, 5), edges.tolist(), density=True, color="#56B4E9", alpha=0.75, label="found")
        grid = np.linspace(-5, 5, 201)
        axes.plot(grid, norm.pdf(grid), color="#000000", linewidth=1.4, label="ideal")
        beyond = int((np.abs(z) > 5).sum())
        if beyond:
            _note(axes, f"{beyond} of {z.size} beyond ±5", x=0.02, y=0.93)
        axes.set(xlabel="error / std", ylabel="density", xlim=(-5, 5))
        axes.legend(loc="upper right")

    return _panels(result, draw)


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
        ``parity_energy``, ..., ``reliability``, ``error_std``, ``z_histogram`` and the file of each.
    """
    figures = {
        f"parity_{kind}": parity_plot(comparison, result.config_types)
        for kind, comparison in result.comparisons.items()
    }
    figures["reliability"] = reliability_plot(result)
    figures["error_std"] = error_std_plot(result)
    figures["z_histogram"] = z_histogram(result)
    paths = {}
    for name, figure in figures.items():
        paths[name] = Path(folder) / f"{name}.png"
        figure.savefig(paths[name], dpi=130, metadata={"Software": None})
    return paths


def _figure(width: float, height: float, n_rows: int, n_columns: int, **options: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, n_columns, **options)


def _panels(result: EvaluationResult, draw: Callable[[Axes, Comparison], None]) -> Figure:
    """One panel for each kind of label, side by side."""
    comparisons = list(result.comparisons.values())
    with mpl.rc_context(STYLE):
        figure, grid = _figure(3.9 * len(comparisons), 3.9, 1, len(comparisons), squeeze=False)
        for axes, comparison in zip(grid[0], comparisons, strict=True):
            draw(axes, comparison)
            axes.set_title(TITLES[comparison.kind])
    return figure


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


def _groups(comparison: Comparison, config_types: Sequence[str]) -> list[tuple[str, Indices, dict[str, Any]]]:
    """Name, indices and look of each config_type present; the look is the same in every plot."""
    groups = []
    for index, name in enumerate(config_types):
        if name not in comparison.config_types:
            continue
        look = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": "none",
            "markersize": 2.8,
            "markeredgewidth": 0,
            "alpha": 0.75,
            "zorder": 2,
        }
        groups.append((name, np.flatnonzero(comparison.config_type == name), look))
    return groups


def _subset(indices: Indices, limit: int) -> Indices:
    """At most `limit` of the indices, the same ones every time."""
    if indices.size <= limit:
        return indices
    return np.sort(np.random.default_rng(0).choice(indices, limit, replace=False))


def _span(values: FloatArray) -> tuple[float, float]:
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.05 * (high - low) or max(1e-3 * abs(low), 1e-3)
    return low - margin, high + margin


def _note(axes: Axes, text: str, x: float, y: float, **options: Any) -> None:
    axes.text(x, y, text, transform=axes.transAxes, fontsize=8, color="#555555", **options)
