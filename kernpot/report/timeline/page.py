"""One HTML page about a run that opens from disk: everything it shows is inside the file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from kernpot.errors import KernpotError
from kernpot.files.writing import WriteError, replace_file
from kernpot.report.html import WORDS, Picture, as_number, as_percent, embedded
from kernpot.report.pages import templates
from kernpot.report.provenance import Section
from kernpot.report.timeline.events import Record, Timeline, column, read_timeline
from kernpot.report.timeline.findings import timeline_findings
from kernpot.report.timeline.plots import NAMES, coverage_plot, error_std_of_labels, history_plot, time_plot

CAPTIONS = {
    "history": "What the simulation did and what the potential knew. Where the gate looks and finds the largest force "
    "std above its threshold, it fires, the oracle is asked, and the walker goes back to the last structure that was "
    "trusted (a gap in its line), or waits where it is if there was none. The line may be above the threshold: between "
    "two looks, and where a walker that was stopped several times in a row goes on with a threshold raised for some "
    "steps. Points are true errors, found when the label came.",
    "error_std": "Largest true force error of a labelled frame against the largest std predicted for it. A look of the "
    "gate would let frames in the shaded corner pass: error above the tolerance (dotted), std not above the threshold "
    "(dashed).",
    "coverage": "Do 90 % intervals hold 90 %? On audited frames, which are met at random and never learnt.",
    "time": "Where the time went: the oracle's own, and that of learning.",
}


def write_timeline(directory: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> Path:
    """Write the page about a run, which may still be running.

    Parameters
    ----------
    directory : path-like
        Of the run.
    path : path-like, optional
        File to write; ``timeline.html`` in the directory when not given.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    KernpotError
        When the directory holds no run, or the file cannot be written.
    """
    run = read_timeline(directory)
    environment = templates(
        number=as_number,
        percent=lambda value: "" if value is None else as_percent(value),
        plain=lambda value: "" if value is None else str(value),
        picoseconds=lambda value: "" if value is None else f"{value / 1000:.3f}",
    )
    page = environment.get_template("timeline/page.html.j2").render(
        title=run.name,
        lead=_lead(run),
        cards=_cards(run),
        findings=timeline_findings(run),
        words=WORDS,
        figures=_figures(run),
        summary=_summary(run),
        labels=run.labels,
        failed=run.failed,
        sections=_sections(run.provenance),
        settings=run.settings,
    )
    target = Path(directory) / "timeline.html" if path is None else Path(path)
    try:
        replace_file(target, page)  # a browser that reloads the page of a running simulation must not meet half of it
    except WriteError:
        raise
    except OSError as error:
        raise KernpotError(
            f"{target} cannot be written ({error.strerror}); make room or make its folder writable, or write the page "
            f"elsewhere: kernpot report {directory} --output PAGE.html"
        ) from None
    return target


def _lead(run: Timeline) -> str:
    if run.end is None:
        return "Still running, or ended without a word (killed); the files tell what follows."
    message = (run.end.get("message") or "").rstrip(".")
    return f"Ended: {run.end['reason']}{'; ' + message if message else ''}."


def _cards(run: Timeline) -> list[tuple[str, str]]:
    purposes = {name: sum(r["purpose"] == name for r in run.labels) for name in NAMES}
    n_walkers = len(run.walkers)
    seconds = run.seconds()
    inducing = next((r.get("n_inducing") for r in reversed(run.learnt) if r.get("n_inducing")), None)
    cards = [
        (f"{run.simulated_fs / 1000:.4g} ps", "simulated" + (f" by {n_walkers} walkers" if n_walkers > 1 else "")),
        (str(len(run.labels)), ", ".join(f"{n} {NAMES[name]}" for name, n in purposes.items() if n) or "labels"),
        (str(len(run.gates)), "times the gate fired"),
        (str(len(run.failed)), "failures of oracle or dynamics"),
        (_duration(seconds["oracle"]), "oracle"),
        (_duration(seconds["learning"]), "learning"),
    ]
    return cards if inducing is None else [*cards, (str(inducing), "inducing environments")]


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def _figures(run: Timeline) -> list[list[Picture]]:
    drawn = {
        "history": history_plot(run) if run.steps else None,
        "error_std": error_std_of_labels(run),
        "coverage": coverage_plot(run),
        "time": time_plot(run) if run.labels else None,
    }
    pictures = {name: Picture(embedded(figure), CAPTIONS[name]) for name, figure in drawn.items() if figure is not None}
    rows = (("history",), ("error_std", "coverage"), ("time",))
    found = [[pictures[name] for name in row if name in pictures] for row in rows]
    return [row for row in found if row]


def _summary(run: Timeline) -> list[dict[str, Any]]:
    """A row for each purpose that has labels."""
    rows = []
    for purpose, name in NAMES.items():
        labels = [r for r in run.labels if r["purpose"] == purpose]
        if not labels:
            continue
        judged = run.judged(purpose)
        rows.append(
            {
                "purpose": name,
                "labels": len(labels),
                "judged": len(judged),
                "rms": _mean(judged, "rms_force_error", 2),
                "error": _median(judged, "max_force_error"),
                "std": _median(judged, "max_force_std"),
                "energy": 1000 * _mean(judged, "energy_error_per_atom", 2),
                "inside": _mean(judged, "inside_90", 1),
                "above": sum(bool(r.get("flagged")) for r in judged),
                "seconds": float(np.nansum(column(labels, "seconds"))),
            }
        )
    return rows


def _median(records: list[Record], name: str) -> float:
    return float(np.median(column(records, name))) if records else np.nan


def _mean(records: list[Record], name: str, power: int) -> float:
    """Power mean over frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # none: NaN
        return float(np.nanmean(column(records, name) ** power) ** (1 / power))


def _sections(provenance: Mapping[str, Any]) -> list[Section]:
    """``run.json`` as tables: a section for each part that has parts, one for all others."""
    plain = [(name, _text(value)) for name, value in provenance.items() if not isinstance(value, Mapping)]
    parts = [
        (str(name), [(str(key), _text(inner)) for key, inner in value.items()])
        for name, value in provenance.items()
        if isinstance(value, Mapping) and value
    ]
    return ([("Run", plain)] if plain else []) + parts


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_text(inner) for inner in value) or "-"
    return "-" if value is None else str(value)
