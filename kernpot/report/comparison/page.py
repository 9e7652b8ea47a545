"""One HTML page about a comparison that opens from disk: everything it shows is inside the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from kernpot.comparison.result import ComparisonResult
from kernpot.dynamics.run_directory import write_atomically
from kernpot.report.comparison.findings import advice, comparison_findings
from kernpot.report.comparison.plots import draw_all
from kernpot.report.html import WORDS, Picture, as_number, as_percent, embedded
from kernpot.report.pages import templates
from kernpot.report.panels import TITLES
from kernpot.report.provenance import Section
from kernpot.uncertainty.evaluation import UNITS

CAPTIONS = {
    "learning": "Random subsets of the training structures, each within the next; one fit each, all asked about "
    "the same test structures. The last point is the fit to all.",
    "errors": "Mean absolute error by config_type (number of structures).",
    "reliability": "A curve below the diagonal means over-confident intervals. Bands: 90 % "
    "sampling error over structures.",
    "coverage": "Do 90 % intervals hold 90 % of the labels? Bars: 90 % sampling error; of few structures it is wide.",
    "roc": "Does the std tell bad forces from good ones, on structures unlike those learnt and familiar ones together? "
    "What is bad depends on the potential: a more accurate one has fewer, and harder, bad forces to find.",
    "derived": "Share of 90 % intervals of derived quantities (number of them) that hold the value by the labels.",
    "cost": "Wall time; the fit once, answers for the larger cell as the median of repeats.",
}
ROWS = (("learning",), ("errors",), ("reliability",), ("coverage",), ("roc", "derived"), ("cost",))


def write_comparison(path: Path, title: str, result: ComparisonResult, about: Sequence[Section] = ()) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
        The file to write.
    title : str
        Heading.
    result : ComparisonResult
    about : sequence of Section
        Tables of names and values: inputs, settings, machine.

    Raises
    ------
    KernpotError
        When the file cannot be written.
    """
    environment = templates(number=as_number, percent=_percent, numbers=_numbers, percents=_percents)
    pictures = {name: Picture(embedded(figure), CAPTIONS[name]) for name, figure in draw_all(result).items()}
    figures = [[pictures[name] for name in row if name in pictures] for row in ROWS]
    page = environment.get_template("comparison/page.html.j2").render(
        title=title,
        lead=f"{result.n_train} structures learnt, {result.n_test} asked about; the same for {_all(result.potentials)}",
        advice=advice(result),
        findings=comparison_findings(result),
        words=WORDS,
        result=result,
        titles=TITLES,
        units=UNITS,
        figures=[row for row in figures if row],
        groups={
            kind: list(
                dict.fromkeys(r["config_type"] for r in result.metrics[result.potentials[0]] if r["kind"] == kind)
            )
            for kind in result.kinds
        },
        about=about,
    )
    write_atomically(path, page)


def _all(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _percent(value: float | None) -> str:
    return as_percent(math.nan if value is None else value)


def _numbers(span: Sequence[float] | None) -> str:
    return "" if span is None else f" ({span[0]:.3g} to {span[1]:.3g})"


def _percents(span: Sequence[float] | None) -> str:
    return "" if span is None else f" ({100 * span[0]:.0f} to {100 * span[1]:.0f})"
