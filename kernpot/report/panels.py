"""What every plot of an evaluation shares: colours, panels for the kinds of label, groups with their look.

Colours are those of Okabe and Ito, which people with colour-vision deficiencies can tell apart; groups differ in
marker, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kernpot.uncertainty.evaluation import Comparison, EvaluationResult
from kernpot.uncertainty.scores import FloatArray

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
REFERENCE: dict[str, Any] = {"color": "#333333", "linewidth": 0.9, "zorder": 1}

Indices = NDArray[np.int64]


def new_figure(width: float, height: float, n_rows: int, n_columns: int, **options: Any) -> tuple[Figure, Any]:
    """A figure (inches) without a window, and its axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(n_rows, n_columns, **options)


def panels(
    result: EvaluationResult,
    draw: Callable[[Axes, Comparison], None],
    height: float = 3.9,
    kinds: Sequence[str] | None = None,
) -> Figure:
    """One panel for each kind of label (those named, or all), side by side."""
    comparisons = [result.comparisons[kind] for kind in kinds or result.comparisons]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(3.9 * len(comparisons), height, 1, len(comparisons), squeeze=False)
        for axes, comparison in zip(grid[0], comparisons, strict=True):
            if comparison.vanishing.all():
                annotate(axes, "all components vanish by symmetry", x=0.5, y=0.5, ha="center")
            else:
                draw(axes, comparison)
            axes.set_title(TITLES[comparison.kind])
    return figure


def groups_of(comparison: Comparison, config_types: Sequence[str]) -> list[tuple[str, Indices, dict[str, Any]]]:
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


def subset(indices: Indices, limit: int) -> Indices:
    """At most `limit` of the indices, the same ones every time."""
    if indices.size <= limit:
        return indices
    return np.sort(np.random.default_rng(0).choice(indices, limit, replace=False))


def span(values: FloatArray) -> tuple[float, float]:
    """Limits of an axis that shows all values with a margin."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.05 * (high - low) or max(1e-3 * abs(low), 1e-3)
    return low - margin, high + margin


def annotate(axes: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Write a remark; `x` and `y` are shares of the panel."""
    axes.text(x, y, text, transform=axes.transAxes, fontsize=8, color="#555555", **options)
