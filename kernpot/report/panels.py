"""What every plot of an evaluation shares: colours, panels for the kinds of label, groups with their look.

The first colours are those of Okabe and Ito, which people with colour-vision deficiencies can tell apart; groups differ
in marker, too. There are at most ten: where there are more groups, the smallest share one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kernpot.report.plain import plot_text
from kernpot.uncertainty.evaluation import Comparison, EvaluationResult
from kernpot.uncertainty.scores import FloatArray

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A", "#332288", "#882255", "#999933"
)  # fmt: skip
OTHERS = "#C4C4C4"
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

_LONGEST = 24
# Inches beside the panels.
_LEGEND = 1.5

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
        figure, grid = new_figure(3.9 * len(comparisons) + _LEGEND, height, 1, len(comparisons), squeeze=False)
        for axes, comparison in zip(grid[0], comparisons, strict=True):
            if comparison.vanishing.all():
                annotate(axes, "all components vanish by symmetry", x=0.5, y=0.5, ha="center")
            else:
                draw(axes, comparison)
            axes.set_title(TITLES[comparison.kind])
        legend_beside(figure)
    return figure


def in_order(sizes: Mapping[str, int]) -> list[str]:
    """Names of groups in the order in which they get their colours: sorted, of more than ten the largest nine first."""
    if len(sizes) <= len(COLOURS):
        return sorted(sizes)
    by_size = sorted(sizes, key=lambda name: (-sizes[name], name))
    return sorted(by_size[: len(COLOURS) - 1]) + sorted(by_size[len(COLOURS) - 1 :])


def shared_out(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What a legend says, and the groups it stands for: of more than ten the first nine, and all others together."""
    if len(names) <= len(COLOURS):
        return {name: (name,) for name in names}
    first, rest = names[: len(COLOURS) - 1], tuple(names[len(COLOURS) - 1 :])
    others = f"{len(rest)} others"
    while others in names:
        others += " "
    return {name: (name,) for name in first} | {others: rest}


def looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each entry of :func:`shared_out` is drawn, the same in every plot."""
    return {
        shown: {
            "color": COLOURS[index] if members == (shown,) else OTHERS,
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": "none",
            "markersize": 2.8,
            "markeredgewidth": 0,
            "alpha": 0.75,
            "zorder": 2,
        }
        for index, (shown, members) in enumerate(shared_out(names).items())
    }


def groups_of(comparison: Comparison, config_types: Sequence[str]) -> list[tuple[str, Indices, dict[str, Any]]]:
    """Name, indices and look of each group present, of :func:`shared_out`; the look is the same in every plot."""
    look = looks(config_types)
    found = []
    for name, members in shared_out(config_types).items():
        chosen = np.flatnonzero(np.isin(comparison.config_type, members))
        if chosen.size:
            found.append((plot_text(name), chosen, look[name]))
    return found


def groups_in(result: EvaluationResult) -> list[str]:
    """The config_types of an evaluation, in the order in which they get their colours."""
    sizes = dict.fromkeys(result.config_types, 0)
    for row in result.metrics:
        if row.config_type in sizes:
            sizes[row.config_type] = max(sizes[row.config_type], row.n_structures)
    return in_order(sizes)


def legend_beside(figure: Figure) -> None:
    """One legend for all panels, outside of them, where it covers nothing."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        legend = figure.legend(list(handles.values()), list(handles), loc="outside right upper", markerscale=2)
        for text in legend.get_texts():
            text.set_text(shortened(text.get_text()))


def shortened(name: str) -> str:
    """A name that leaves room for the plot."""
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


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
