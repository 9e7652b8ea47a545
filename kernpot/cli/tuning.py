"""`kernpot fit --tune`: what goes with it, the search with a line for every trial, and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from ase import Atoms
from rich.table import Table
from rich.text import Text

from kernpot.cli.backends import GP
from kernpot.cli.console import console, errors, progress_bars, shown
from kernpot.gp.estimator import SparseGPPotential
from kernpot.report.provenance import errors_in_words
from kernpot.tuning import tune
from kernpot.tuning.trial import Trial


def require_tunable(backend: str, chosen: Mapping[str, Any]) -> None:
    """Refuse, with `BadParameter`, a backend that is not tuned, and options that a search stands for.

    Parameters
    ----------
    backend : str
    chosen : mapping
        Values by the names of options, None where one was not given.
    """
    if backend != GP:
        raise typer.BadParameter(
            f"compares Gaussian processes by errors on structures left out, got --backend {backend}; leave one of the "
            "two out",
            param_hint="--tune",
        )
    given = [name for name, value in chosen.items() if value is not None]
    if given:
        raise typer.BadParameter(
            "--tune chooses descriptor and number of inducing environments itself, at the default power of the kernel: "
            "leave these options out (in Python, kernpot.tune takes an estimator with another kernel)",
            param_hint=", ".join(given),
        )


def tuned(
    estimator: SparseGPPotential, structures: Sequence[Atoms], minutes: float, seed: int, output: Path
) -> SparseGPPotential:
    """The potential that a search of so many minutes finds; its journal lies beside the model file."""
    journal = output.with_name(f"{output.name}.tune.jsonl")
    told = f"going on with the trials in {journal}" if journal.exists() else f"trials are kept in {journal}"
    errors.print(told, markup=False, soft_wrap=True)
    try:
        with progress_bars("Tuning") as report:
            found = tune(structures, minutes, estimator, journal, seed, report, _print_trial)
    except KeyboardInterrupt:
        errors.print(
            f"finished trials are kept in {journal}: the same command goes on from there", markup=False, soft_wrap=True
        )
        raise
    _print(found.table())
    console.print(f"[dim]* chosen; the trials stay in {shown(journal)}: with more minutes they are gone on with[/]")
    return found.best_estimator_


def _print_trial(trial: Trial) -> None:
    request = trial.request
    settings = request.settings
    what = (
        f"{request.n_structures} structures, {request.n_inducing} inducing: cutoff {settings.r_cut:g}, n, l "
        f"{settings.n_max}, {settings.l_max}, sigma {settings.sigma:g}, m {settings.m:g}, {settings.compression}: "
    )
    errors.print(what + (trial.refused or errors_in_words(trial.mae)), markup=False, style="dim", soft_wrap=True)


def _print(rows: Sequence[Mapping[str, str]]) -> None:
    title = Text("Tuning: errors on structures left out (mean absolute)", "bold")
    found = Table(title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True)
    for name in rows[0]:
        found.add_column(name, justify="right")
    for row in rows:
        found.add_row(*map(Text, row.values()), style="bold" if row["trial"].endswith("*") else "")
    console.print(found)
