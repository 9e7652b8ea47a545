"""Figures of a run: what the simulation did, what the potential knew, and what the labels said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kernpot.report.panels import COLOURS, REFERENCE, STYLE, annotate, new_figure
from kernpot.report.timeline.events import Record, Timeline, column
from kernpot.report.timeline.findings import shares_of
from kernpot.uncertainty.sampling_error import share_range

LOOKS: dict[str, dict[str, Any]] = {
    "bootstrap": {"marker": "s", "color": "#7A7A7A"},
    "query": {"marker": "o", "color": "#D55E00"},
    "audit": {"marker": "D", "color": "#0072B2"},
}
NAMES = {"bootstrap": "first structures", "query": "queries", "audit": "audit"}
# Above its panel: inside, it would cover the lines of a short run.
_ABOVE: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 5}
_MARKER: dict[str, Any] = {"linestyle": "none", "markersize": 4, "markeredgewidth": 0, "alpha": 0.85, "zorder": 3}


def history_plot(run: Timeline) -> Figure:
    """Temperature, force std with its threshold and the true errors of labels, and labels, over simulated time."""
    changing = run.steps and np.ptp(np.nan_to_num(column(run.steps, "volume"))) > 1e-6
    heights = [1.0, 1.9, 1.0, *([0.8] if changing else [])]
    with mpl.rc_context(STYLE):
        figure, panels = new_figure(8.4, 2.1 * sum(heights), len(heights), 1, sharex=True, height_ratios=heights)
        _draw_temperature(panels[0], run)
        _draw_stds(panels[1], run)
        _draw_labels(panels[2], run)
        if changing:
            _lines(panels[3], run, "volume")
            panels[3].set(ylabel="volume (Å³)")
        panels[-1].set_xlabel("simulated time of each walker (ps)")
    return figure


def _draw_temperature(axes: Axes, run: Timeline) -> None:
    _lines(axes, run, "temperature")
    first = run.of_walker(run.walkers[0]) if run.walkers else []
    target = column(first, "target_temperature")
    if np.isfinite(target).any():
        time, target = _with_gaps(first, target)
        axes.plot(time, target, color="#000000", linewidth=1.2, linestyle="--", label="target")
        axes.legend(**_ABOVE)
    axes.set(ylabel="temperature (K)")


def _draw_stds(axes: Axes, run: Timeline) -> None:
    _lines(axes, run, "max_force_std")
    handles = [Line2D([], [], color=COLOURS[0], linewidth=0.9, label="largest force std")]
    first = run.of_walker(run.walkers[0]) if run.walkers else []
    if run.threshold is not None:
        time, threshold = _with_gaps(first, column(first, "threshold"))
        handles += axes.plot(time, threshold, color="#000000", linewidth=1.1, linestyle="--", label="threshold")
    fired = [r for r in run.gates if r["reason"] == "force_std"]
    if fired:
        look = {**_MARKER, "marker": "v", "color": "#000000", "markersize": 5}
        handles += axes.plot(_ps(fired), column(fired, "value"), label="gate fires", **look)
    for purpose in ("query", "audit"):
        judged = [r for r in run.judged(purpose) if r.get("time_fs") is not None]
        if judged:
            look = {**_MARKER, **LOOKS[purpose]}
            label = f"true error, {NAMES[purpose]}"
            handles += axes.plot(_ps(judged), column(judged, "max_force_error"), label=label, **look)
    axes.set(ylabel="largest of all force\ncomponents (eV/Å)", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(handles=handles, **_ABOVE)


def _draw_labels(axes: Axes, run: Timeline) -> None:
    end = max([r["time_fs"] for r in run.steps], default=0.0) / 1000
    for purpose, look in LOOKS.items():
        mine = [r for r in run.labels if r["purpose"] == purpose]
        if mine:
            times = np.sort(np.nan_to_num(_ps(mine)))
            counts = np.arange(1, len(mine) + 1)
            times, counts = np.append(times, max(end, times[-1])), np.append(counts, len(mine))
            label = f"{NAMES[purpose]} ({len(mine)})"
            axes.step(times, counts, where="post", color=look["color"], linewidth=1.6, label=label)
    axes.set(ylabel="labels so far")
    axes.set_ylim(bottom=0)
    if run.labels:
        axes.legend(**_ABOVE)


def error_std_of_labels(run: Timeline) -> Figure | None:
    """Largest true error of each label against the largest std predicted for it; None where no label was judged."""
    if not run.judged("query", "audit"):
        return None
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.4, 4.2, 1, 1)
        values = []
        for purpose in ("query", "audit"):
            judged = run.judged(purpose)
            std, error = column(judged, "max_force_std"), np.maximum(column(judged, "max_force_error"), 1e-6)
            values += [*std, *error]
            axes.plot(std, error, label=f"{NAMES[purpose]} ({len(judged)})", **{**_MARKER, **LOOKS[purpose]})
        low, high = 0.7 * np.nanmin(values), 1.4 * max(np.nanmax(values), run.tolerance or 0)
        axes.plot([low, high], [low, high], **REFERENCE)
        if run.threshold is not None and run.tolerance is not None:
            axes.axvline(run.threshold, color="#000000", linewidth=1.0, linestyle="--")
            axes.axhline(run.tolerance, color="#000000", linewidth=1.0, linestyle=":")
            low = min(low, 0.7 * run.threshold)
            axes.fill_between([low, run.threshold], run.tolerance, high, color="#D55E00", alpha=0.1, linewidth=0)
            annotate(axes, "undetected", x=0.02, y=0.98, va="top")
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        axes.set(xlabel="largest predicted force std (eV/Å)", ylabel="largest true force error (eV/Å)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.legend(loc="lower right")
    return figure


def coverage_plot(run: Timeline) -> Figure | None:
    """Share of audited force components inside 90 % intervals as the audit grows; None for fewer than two frames."""
    audited = [r for r in run.judged("audit") if r.get("inside_90") is not None]
    if len(audited) < 2:
        return None
    hits, sizes = shares_of(audited)
    number = np.arange(2, len(audited) + 1)
    share = (np.cumsum(hits) / np.cumsum(sizes))[1:]
    low, high = np.array([share_range(hits[:n], sizes[:n]) for n in number]).T
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(4.4, 4.2, 1, 1)
        axes.axhline(0.9, **REFERENCE)
        axes.fill_between(number, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="sampling error")
        axes.plot(number, share, color=COLOURS[0], linewidth=1.6, label="all frames so far")
        each = column(audited, "inside_90")
        axes.plot(np.arange(1, len(each) + 1), each, label="each frame", **{**_MARKER, **LOOKS["audit"], "alpha": 0.5})
        axes.set(
            xlabel="audited frames", ylabel="share inside 90 % intervals", ylim=(min(0.5, *low, *each) - 0.02, 1.02)
        )
        axes.legend(loc="lower right")
    return figure


def time_plot(run: Timeline) -> Figure:
    """Wall time of the oracle and of learning, as the labels came."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(8.4, 2.4, 1, 1)
        oracle = np.cumsum(np.nan_to_num(column(run.labels, "seconds")))
        axes.plot(np.arange(1, len(oracle) + 1), oracle / 60, color=COLOURS[1], linewidth=1.6, label="oracle")
        learnt = np.cumsum(np.nan_to_num(column(run.learnt, "seconds")))
        known = column(run.learnt, "answers")
        axes.step(known, learnt / 60, where="post", color=COLOURS[0], linewidth=1.6, label="learning")
        fits = [k for k, r in enumerate(run.learnt) if r["kind"] == "fit"]
        look = {**_MARKER, "marker": "o", "color": COLOURS[0]}
        axes.plot(known[fits], learnt[fits] / 60, label="all hyperparameters anew", **look)
        axes.set(xlabel="labels, audit included", ylabel="minutes so far")
        axes.set_ylim(bottom=0)
        axes.legend(**_ABOVE)
    return figure


def _ps(records: Sequence[Record]) -> NDArray[np.float64]:
    return column(records, "time_fs") / 1000


def _lines(axes: Axes, run: Timeline, name: str) -> None:
    """A line for each walker."""
    for k, walker in enumerate(run.walkers):
        records = run.of_walker(walker)
        time, values = _with_gaps(records, column(records, name))
        axes.plot(time, values, color=COLOURS[k % len(COLOURS)], linewidth=0.9, alpha=0.9)


def _with_gaps(
    records: Sequence[Record], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times (ps) and values, with a gap where the walker went back to an earlier time."""
    time = _ps(records)
    back = np.flatnonzero(np.diff(time) <= 0) + 1
    return np.insert(time, back, np.nan), np.insert(values, back, np.nan)
