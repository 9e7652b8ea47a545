"""One HTML page about an evaluation that opens from disk: everything it shows is inside the file."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from kernpot.report.findings import findings
from kernpot.report.plots import TITLES
from kernpot.report.provenance import Section
from kernpot.uncertainty.evaluation import EvaluationResult

CAPTIONS = {
    "reliability": "Reliability: a curve below the diagonal means over-confident intervals; the dot marks 90 %.",
    "error_std": "Errors against predicted stds: binned rms errors (black) on the solid line mean right stds.",
    "z_histogram": "Errors in units of their std, beside the standard normal density they should follow.",
}
WORDS = {"good": "Good", "warning": "Take care", "note": "Note"}


@dataclass(frozen=True)
class _Picture:
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
    environment = Environment(
        loader=PackageLoader("kernpot.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": lambda value: f"{value:.3g}", "percent": lambda value: f"{100 * value:.0f} %"}
    parity = [
        _picture(plots[f"parity_{kind}"], f"{TITLES[kind]}: predicted against label.") for kind in result.comparisons
    ]
    others = [[_picture(plots[name], caption)] for name, caption in CAPTIONS.items()]
    page = environment.get_template("page.html.j2").render(
        title=title,
        lead=f"{result.n_structures} structures, {result.n_atoms} atoms, compared with their labels.",
        findings=findings(result),
        words=WORDS,
        tables=[(kind, result.rows(kind)) for kind in result.comparisons],
        titles=TITLES,
        figures=[parity, *others],
        model=model,
    )
    Path(path).write_text(page, encoding="utf-8")


def _picture(path: Path, caption: str) -> _Picture:
    return _Picture("data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii"), caption)
