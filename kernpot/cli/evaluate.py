"""`kernpot evaluate`: errors and coverage on structures the model has not seen."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from kernpot.cli.console import console, print_evaluation, progress_bars, shown
from kernpot.cli.error_bars import ErrorBarsOf, ErrorBarsOption, kind_of, with_error_bars
from kernpot.cli.options import EnergyKey, ForcesKey, Model, StressKey, new_folder
from kernpot.files.container import load, read_model
from kernpot.files.writing import replace_file
from kernpot.report import describe_model, findings, write_html, write_plots
from kernpot.structures import read_structures
from kernpot.uncertainty.evaluation import EvaluationResult
from kernpot.uncertainty.evaluation import evaluate as compare


def evaluate(
    model: Model,
    test: Annotated[list[Path], typer.Argument(help="Files with labelled structures.", show_default=False)],
    report: Annotated[
        Path | None, typer.Option(help="Folder for report.html, plots and metrics.json.", show_default=False)
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    error_bars: ErrorBarsOption = None,
) -> None:
    """Measure errors, and whether the error bars tell the truth, on new structures.

    Prints a table for each kind of label, by config_type (a name in each
    structure's info): mean absolute and rms error, rms predicted std, the
    share of labels inside the predicted 50, 68, 90 and 95 % intervals, rms
    error / std (1 is ideal), and the rank correlation of error and std. Then
    says in words what that means, as far as the structures suffice to tell.

    The report adds reliability diagrams, coverage by group and by std,
    histograms, proper scores and sampling errors.

    [bold]Examples[/]

      kernpot evaluate si.kernpot test.xyz

      kernpot evaluate si.kernpot test.xyz --report report/
    """
    header, _ = read_model(model)
    potential = with_error_bars(load(model), error_bars)
    folder = None if report is None else new_folder(report)
    structures = read_structures(test, energy_key, forces_key, stress_key)
    with progress_bars() as bar:
        result = compare(potential, structures, progress=bar)
    print_evaluation(result)
    if folder is not None:
        told = "" if kind_of(potential) == ErrorBarsOf.exact else f" (error bars of {kind_of(potential)})"
        title = f"{model.name} on {', '.join(path.name for path in test)}{told}"
        page = write_report(folder, title, result, header)
        console.print(f"wrote [bold]{shown(page)}[/]")


def write_report(folder: Path, title: str, result: EvaluationResult, header: dict[str, Any]) -> Path:
    """Write plots, metrics.json and report.html; return the page."""
    plots = write_plots(result, folder)
    sentences = [asdict(finding) for finding in findings(result)]
    metrics = {"title": title, "model_sha256": header["sha256"], "findings": sentences, **result.to_dict()}
    replace_file(folder / "metrics.json", json.dumps(metrics, indent=1, allow_nan=False) + "\n")
    page = folder / "report.html"
    write_html(page, title, result, plots, describe_model(header))
    return page
