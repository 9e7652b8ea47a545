"""Figures of a comparison; a potential has one colour and one marker in all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from kernpot.comparison.result import ComparisonResult
from kernpot.comparison.scoring import Record
from kernpot.report.panels import COLOURS, MARKERS, REFERENCE, STYLE, TITLES, annotate, new_figure
from kernpot.report.plain import plot_text
from kernpot.uncertainty.evaluation import UNITS

_SHORT = {"energy": "energy", "forces": "force", "stress": "stress"}


def look_of(result: ComparisonResult, name: str) -> dict[str, Any]:
    """Colour and marker of a potential."""
    place = result.potentials.index(name)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)], "label": name}


def learning_plot(result: ComparisonResult) -> Figure | None:
    """Errors, coverage and fit time against the number of structures; None where only one number was learnt from."""
    if len(result.curve) < 2:
        return None

    def errors(kind: str) -> Callable[[str], list[float]]:
        return lambda name: [
            s.values.get(name, np.nan) if (s := p.score(kind, "mae")) else np.nan for p in result.curve
        ]

    def coverage(name: str) -> list[float]:
        return [p.coverage.get(name, {}).get("forces", np.nan) for p in result.curve]

    def seconds(name: str) -> list[float]:
        return [p.fit_s.get(name, np.nan) for p in result.curve]

    drawn = [(f"{_SHORT[kind]} MAE ({UNITS[kind]})", errors(kind)) for kind in result.kinds if kind != "stress"]
    parts = [*drawn, ("force labels in 90 % intervals", coverage), ("fit, wall time (s)", seconds)]
    sizes = [p.n_train for p in result.curve]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(3.1 * len(parts), 3.2, 1, len(parts), squeeze=False)
        for axes, (title, values) in zip(grid[0], parts, strict=True):
            for name in result.potentials:
                axes.plot(sizes, values(name), linewidth=1.4, markersize=5, **look_of(result, name))
            axes.set(xscale="log", xlabel="training structures", title=title)
            if values is coverage:
                axes.axhline(0.9, **REFERENCE)
                axes.set_ylim(top=1.01)
            else:
                axes.set_yscale("log")
                few_ticks(axes.yaxis)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks(sizes, [str(n) for n in sizes], rotation=45)
        grid[0, 0].legend()
    return figure


def group_error_plot(result: ComparisonResult) -> Figure:
    """Mean absolute error of each ``config_type``."""

    def draw(axes: Axes, rows: dict[str, Record], place: int, look: dict[str, Any]) -> None:
        names = list(rows)
        values = [rows[name]["mae"] for name in names]
        axes.plot(values, np.arange(len(names)) + place, linestyle="none", markersize=6, **look)
        axes.set(xscale="log")
        few_ticks(axes.xaxis)

    return _by_group(result, draw, "MAE")


def group_coverage_plot(result: ComparisonResult) -> Figure:
    """Share of labels inside 90 % intervals of each ``config_type``, with its sampling error."""

    def draw(axes: Axes, rows: dict[str, Record], place: float, look: dict[str, Any]) -> None:
        label = look.pop("label")
        for k, row in enumerate(rows.values()):
            share = row["coverage"]["0.9"]
            if share is None:
                continue
            low, high = row["coverage_range"] or (0.0, 1.0)
            axes.plot([low, high], [k + place, k + place], color=look["color"], linewidth=1.4)
            axes.plot(share, k + place, linestyle="none", markersize=6, label=None if k else label, **look)
        axes.axvline(0.9, **REFERENCE)
        axes.set_xlim(0, 1.02)

    return _by_group(result, draw, "share inside 90 % intervals")


def _by_group(result: ComparisonResult, draw: Callable[..., None], what: str) -> Figure:
    """A panel for each kind of label, a line for each group, all structures on top."""
    kinds = result.kinds
    with mpl.rc_context(STYLE):
        of = {
            kind: {
                name: {r["config_type"]: r for r in result.metrics[name] if r["kind"] == kind}
                for name in result.potentials
            }
            for kind in kinds
        }
        most = max(len(rows) for named in of.values() for rows in named.values())
        figure, grid = new_figure(3.9 * len(kinds), 1.6 + 0.34 * most, 1, len(kinds), squeeze=False)
        for axes, kind in zip(grid[0], kinds, strict=True):
            n = len(result.potentials)
            for k, name in enumerate(result.potentials):
                draw(axes, of[kind][name], 0.26 * (k - 0.5 * (n - 1)), look_of(result, name))
            rows = of[kind][result.potentials[0]]
            axes.set_yticks(
                range(len(rows)), [f"{plot_text(name)} ({row['n_structures']})" for name, row in rows.items()]
            )
            unit = f" ({UNITS[kind]})" if what == "MAE" else ""
            axes.set(title=TITLES[kind], xlabel=f"{what}{unit}", ylim=(len(rows) - 0.4, -0.6))
        grid[0, 0].legend(fontsize=7)
    return figure


def reliability_plot(result: ComparisonResult) -> Figure:
    """Share of labels found inside intervals against the share the intervals claim, with sampling error."""
    kinds = [kind for kind in result.kinds if all(kind in result.reliability[name] for name in result.potentials)]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(3.9 * max(len(kinds), 1), 3.9, 1, max(len(kinds), 1), squeeze=False)
        for axes, kind in zip(grid[0], kinds, strict=False):
            axes.plot([0, 1], [0, 1], **REFERENCE)
            for name in result.potentials:
                curve, look = result.reliability[name][kind], look_of(result, name)
                if curve["low"] is not None:
                    axes.fill_between(
                        curve["level"], curve["low"], curve["high"], color=look["color"], alpha=0.15, linewidth=0
                    )
                axes.plot(curve["level"], curve["found"], linewidth=1.6, markersize=3.5, **look)
            annotate(axes, "too wide", x=0.03, y=0.8, va="top")
            annotate(axes, "too narrow", x=0.97, y=0.03, ha="right")
            axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=TITLES[kind])
            axes.set(xlabel="share of labels the interval claims", ylabel="share found inside")
        grid[0, 0].legend(loc="upper left")
    return figure


def roc_plot(result: ComparisonResult) -> Figure | None:
    """ROC curves of the force std, a panel for each shift; None where nothing is bad, or all is."""
    told = [d for d in result.detection if any(curve.found for curve in d.curves.values())]
    if not told:
        return None
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(3.9 * len(told), 3.9, 1, len(told), squeeze=False)
        for axes, detection in zip(grid[0], told, strict=True):
            axes.plot([0, 1], [0, 1], **{**REFERENCE, "linestyle": ":"})
            for name, curve in detection.curves.items():
                if curve.auc is not None:
                    look = look_of(result, name)
                    label = f"{name}: area {curve.auc:.2f}, {100 * curve.bad:.0f} % bad"
                    axes.plot(curve.false_alarms, curve.found, color=look["color"], linewidth=1.6, label=label)
            axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", title=f"Unfamiliar: {plot_text(detection.shift)}")
            axes.set(xlabel="false alarms, of good forces", ylabel="found, of bad forces")
            axes.legend(loc="lower right")
    return figure


def derived_plot(result: ComparisonResult) -> Figure | None:
    """Share of derived quantities inside their 90 % intervals; None where there are none."""
    of = {name: found for name, found in result.derived.items() if not isinstance(found, str) and found}
    if not of:
        return None
    kinds = list(dict.fromkeys(kind for found in of.values() for kind in found))
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(6.4, 1.4 + 0.36 * len(kinds), 1, 1)
        for k, (name, found) in enumerate(of.items()):
            look = look_of(result, name)
            label = look.pop("label")
            for row, kind in enumerate(kinds):
                if kind in found:
                    y = row + 0.26 * (k - 0.5 * (len(of) - 1))
                    axes.plot(found[kind].range or (0, 1), [y, y], color=look["color"], linewidth=1.4)
                    axes.plot(found[kind].inside_90, y, linestyle="none", label=label, markersize=6, **look)
                    label = None
        counts = {kind: next(found[kind].n for found in of.values() if kind in found) for kind in kinds}
        axes.set_yticks(range(len(kinds)), [f"{kind} ({counts[kind]})" for kind in kinds])
        axes.axvline(0.9, **REFERENCE)
        axes.set(xlabel="share inside 90 % intervals", xlim=(0, 1.02), ylim=(len(kinds) - 0.4, -0.6))
        axes.legend(loc="upper left")
    return figure


def cost_plot(result: ComparisonResult) -> Figure:
    """Wall time of the fit, of a mean, and of every mean and standard deviation."""
    parts: list[tuple[str, Callable[[Record], float]]] = [
        ("fit (s)", lambda cost: cost["fit"]["wall_s"]),
        ("mean (ms/atom)", lambda cost: cost["answers"][-1]["mean"]["median"]),
        ("mean and error bars (ms/atom)", lambda cost: cost["answers"][-1]["full"]["median"]),
    ]
    with mpl.rc_context(STYLE):
        figure, grid = new_figure(9.0, 0.9 + 0.4 * len(result.potentials), 1, 3)
        for axes, (title, value) in zip(grid, parts, strict=True):
            for k, name in enumerate(result.potentials):
                seconds = value(result.cost[name])
                axes.barh(k, seconds, 0.6, color=look_of(result, name)["color"])
                axes.text(seconds, k, f" {seconds:.3g}", va="center", fontsize=8)
            axes.set_yticks(range(len(result.potentials)), result.potentials if axes is grid[0] else [])
            axes.set(title=title, ylim=(len(result.potentials) - 0.4, -0.6))
            axes.margins(x=0.25)
    return figure


def few_ticks(axis: Axis) -> None:
    """Labels that do not overlap on a logarithmic axis of any length."""
    low, high = axis.get_data_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def draw_all(result: ComparisonResult) -> dict[str, Figure]:
    """Every figure there is something to draw in, by name."""
    figures = {
        "learning": learning_plot(result),
        "errors": group_error_plot(result),
        "reliability": reliability_plot(result),
        "coverage": group_coverage_plot(result),
        "roc": roc_plot(result),
        "derived": derived_plot(result),
        "cost": cost_plot(result),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}
