"""One HTML page about an evaluation that opens from disk: everything it shows is inside the file."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from jinja2 import Undefined
from matplotlib.figure import Figure

from kernpot.files.writing import replace_file
from kernpot.report.findings import findings
from kernpot.report.pages import templates
from kernpot.report.panels import TITLES
from kernpot.report.provenance import Section
from kernpot.report.structures import worst_first
from kernpot.uncertainty.evaluation import EvaluationResult

CAPTIONS = {
    "reliability": "Reliability: a curve below the diagonal means over-confident intervals; the dot marks 90 %. "
    "The band is what sampling error leaves open for all structures together.",
    "groups": "By config_type (number of structures): share of labels inside 90 % intervals, with its sampling error. "
    "Open circles: too few structures to tell.",
    "deciles": "From the surest tenth of the predictions to the least sure: do 90 % intervals hold 90 % in each? "
    "Green: within 5 points.",
    "error_std": "Errors against predicted stds: binned rms errors (black) on the solid line mean right stds.",
    "z_histogram": "Errors in units of their std, beside the standard normal density they should follow.",
}
SHOWN = 10
"""Findings that are not folded."""
MOST_STRUCTURES = 1000
# Sorts a table by the column whose heading is clicked; the only script that the page allows itself, by its hash.
SCRIPT = (Path(__file__).parent / "sorting.js").read_text(encoding="utf-8")
WORDS = {"good": "Good", "warning": "Take care", "note": "Note"}


@dataclass(frozen=True)
class Picture:
    """A figure inside a page, and what it shows."""

    source: str
    caption: str


def write_html(
    path: str | os.PathLike[str],
    title: str,
    result: EvaluationResult,
    plots: Mapping[str, Path],
    model: Sequence[Section] = (),
) -> None:
    """Write the page.

    Parameters
    ----------
    path : path-like
        The file to write.
    title : str
        Heading.
    result : EvaluationResult
        What was found.
    plots : mapping of str to Path
        PNG files as `kernpot.report.plots.write_plots` returns them; they are copied into the page.
    model : sequence of Section
        Tables about the model, as `kernpot.report.provenance.describe_model` returns them.
    """
    environment = templates(number=as_number, percent=as_percent, numbers=_numbers, percents=_percents)
    parity = [
        _picture(plots[f"parity_{kind}"], f"{TITLES[kind]}: predicted against label.") for kind in result.comparisons
    ]
    others = [[_picture(plots[name], caption)] for name, caption in CAPTIONS.items() if name in plots]
    found = findings(result)
    page = environment.get_template("page.html.j2").render(
        title=title,
        script=SCRIPT,
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii"),
        shown=SHOWN,
        structures=worst_first(result)[:MOST_STRUCTURES],
        lead=f"{result.n_structures} structures, {result.n_atoms} atoms, compared with their labels.",
        findings=found,
        words=WORDS,
        tables=[(kind, result.rows(kind)) for kind in result.comparisons],
        titles=TITLES,
        n_structures=result.n_structures,
        figures=[parity, *others],
        model=model,
    )
    replace_file(Path(path), page)


def as_number(value: float | None) -> str:
    """Three digits, or a dash where there is no number."""
    return "-" if value is None or math.isnan(value) else f"{value:.3g}"


def as_percent(value: float) -> str:
    """A share in percent, or a dash where there is none."""
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


def embedded(figure: Figure) -> str:
    """A figure as the source of a picture in a page."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=130, format="png", metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _numbers(span: tuple[float, float] | Undefined) -> str:
    """A range in brackets; nothing where there is none."""
    return "" if isinstance(span, Undefined) else f" ({span[0]:.3g} to {span[1]:.3g})"


def _percents(span: tuple[float, float] | None) -> str:
    return "" if span is None else f" ({100 * span[0]:.0f} to {100 * span[1]:.0f})"


def _picture(path: Path, caption: str) -> Picture:
    return Picture("data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii"), caption)
