"""`kernpot add`: more labelled structures for a model, without a fit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kernpot.cli.changed import ChangedModel, Replace, changed_file, not_learnt_yet
from kernpot.cli.console import console, progress_bars, shown
from kernpot.cli.options import EnergyKey, ForcesKey, Model, StressKey
from kernpot.errors import KernpotError
from kernpot.files.container import load
from kernpot.structures import read_structures
from kernpot.uncertainty.evaluation import EvaluationResult, evaluate


def add(
    model: Model,
    new: Annotated[list[Path], typer.Argument(help="Files with labelled structures.", show_default=False)],
    output: ChangedModel = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    force: Replace = False,
) -> None:
    """Teach a model more labelled structures, at a fraction of the cost of a fit.

    Environments unlike any before are described as well. Noise levels and
    amplitudes stay those of the fit: after many additions fit again to all.
    Structures that the model has learnt already are left out. Says how wrong
    the model was on the new ones before it learnt them.

    [bold]Examples[/]

      kernpot add si.kernpot md_gate_labelled.xyz -o si2.kernpot

      kernpot add si.kernpot md_gate_labelled.xyz --force
    """
    started = time.perf_counter()
    target = changed_file(model, output, force, new)
    potential = load(model)
    given = read_structures(new, energy_key, forces_key, stress_key)
    structures = not_learnt_yet(model, given)
    if known := len(given) - len(structures):
        console.print(f"{known} of {len(given)} structures were learnt already and are left out")
    if not structures:
        raise KernpotError("there is nothing to learn: the model knows all of these structures")
    with progress_bars("Checking") as report:
        before = evaluate(potential, structures, progress=report)
    _tell(before)
    with progress_bars("Learning"):
        potential.update(structures)
    potential.save(target)
    seconds = time.perf_counter() - started
    console.print(
        f"wrote [bold]{shown(target)}[/]: {len(structures)} structures more, {_total(potential.summary_)} in all, "
        f"after {seconds:.1f} s",
        soft_wrap=True,
    )
    console.print(f"[dim]next: kernpot evaluate {shown(target)} TEST.xyz --report report/[/]", soft_wrap=True)


def _tell(before: EvaluationResult) -> None:
    for kind in before.comparisons:
        row = before.rows(kind)[0]
        console.print(
            f"before: {kind} wrong by {row.mae:.3g} {row.unit} in the mean, where stds were {row.sharpness:.3g} (rms)"
        )


def _total(summary: Mapping[str, Any]) -> int:
    """Structures learnt, in the fit and after it."""
    return sum(part["data"]["structures"] for part in [summary, *summary.get("updates", [])] if "data" in part)
