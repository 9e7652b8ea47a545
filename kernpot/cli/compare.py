"""`kernpot compare`: both backends on the same structures, and which to use when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from ase import Atoms
from rich.table import Table

from kernpot.cli.backends import GP, NNP, unfitted
from kernpot.cli.console import console, errors, print_finding, progress_bars, shown
from kernpot.cli.options import EnergyKey, ForcesKey, Seed, StressKey, new_folder
from kernpot.comparison import ComparisonResult, Shift, Split, default_shift, hold_out, run, summarise, without_group
from kernpot.dynamics.run_directory import write_atomically
from kernpot.errors import KernpotError
from kernpot.progress import Report
from kernpot.report.comparison import advice, comparison_findings, write_comparison
from kernpot.structures import read_structures
from kernpot.uncertainty.evaluation import UNITS

SHARE = 0.2


def compare(
    train: Annotated[list[Path], typer.Argument(help="Files with labelled structures to learn.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the page, numbers and finished fits.")
    ] = Path("comparison"),
    test: Annotated[
        list[Path] | None,
        typer.Option(help="File with test structures; repeat for more. [dim]20 % of TRAIN[/]", show_default=False),
    ] = None,
    shifted: Annotated[
        list[Path] | None,
        typer.Option(help="File with structures unlike those learnt; repeat for more.", show_default=False),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A config_type to leave out of a fit and ask about.", show_default=False),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Force error above which a force is bad, eV/Å. [dim]By test errors[/]"),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="A backend to compare, of an installed package too; repeat. [dim]gp and nnp[/]"),
    ] = None,
    learning_curve: Annotated[bool, typer.Option(help="Also learn from 10, 20, 40, ... of the structures.")] = True,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    seed: Seed = 0,
) -> None:
    """Compare the Gaussian process and the neural-network ensemble on your data.

    All (--backend names others) learn from the same structures and are asked about the same others:
    errors, learning curve, coverage of intervals by config_type, finding bad
    forces on structures unlike those learnt, intervals of derived quantities,
    time. A page of tables and plots says in words which to use when, and
    what these data cannot tell.

    Without --test a fifth of the structures is held out, whole stretches of
    a trajectory at a time. Without --shifted one config_type (or the highest
    energies) is left out of a fit of its own.

    Interrupted by Ctrl-C or killed, the same command goes on: finished fits
    are kept in the folder and not done again.

    [bold]Examples[/]

      kernpot compare train.xyz -o comparison

      kernpot compare train.xyz --test test.xyz --shifted hot.xyz -o comparison
    """
    new_folder(output)
    backends(seed, None, backend or (GP, NNP))  # what is not installed is refused before anything is read
    keys = (energy_key, forces_key, stress_key)
    structures = read_structures(train, *keys)
    learnt, asked = (structures, read_structures(test, *keys)) if test else hold_out(structures, SHARE, seed)
    unlike = read_structures(shifted, *keys) if shifted else None
    name = ", ".join(path.name for path in shifted or ())
    split = Split(learnt, asked, _shifts(learnt, asked, leave_out or (), unlike, name))
    told = ", ".join(f"{len(s.shifted)} of {s.name}" for s in split.shifts) or "none"
    console.print(
        f"{len(learnt)} structures to learn, {len(asked)} to be asked about; unlike those learnt: {shown(told)}"
    )
    try:
        with progress_bars() as report:
            answers = run(
                backends(seed, report, backend or (GP, NNP)), split, output / "fits", learning_curve, seed, report
            )
    except KeyboardInterrupt:
        errors.print(f"finished fits are kept in {shown(output / 'fits')}: the same command goes on from there")
        raise
    result = summarise(answers, tolerance)
    data = {"advice": [finding.text for finding in advice(result)], **result.to_dict()}
    write_atomically(output / "comparison.json", json.dumps(data, indent=1, allow_nan=False) + "\n")
    page = output / "comparison.html"
    files = {"Training files": train, "Test files": test, "Shifted files": shifted}
    about = [(name, ", ".join(map(str, paths)) if paths else "-") for name, paths in files.items()]
    write_comparison(page, "Which potential for these data?", result, [("Inputs", [*about, ("Seed", str(seed))])])
    _print(result)
    console.print(f"wrote [bold]{shown(page)}[/]", soft_wrap=True)


def backends(seed: int, report: Report | None, names: Sequence[str] = (GP, NNP)) -> dict[str, Any]:
    """What is compared, by the names of the classes: unfitted potentials as they come."""
    found = [unfitted(name, {"random_state": seed, "progress": report}, {}) for name in names]
    return {type(potential).__name__: potential for potential in found}


def _shifts(
    train: list[Atoms], test: list[Atoms], groups: Sequence[str], unlike: list[Atoms] | None, name: str
) -> list[Shift]:
    given = [without_group(train, test, group) for group in groups]
    if unlike is not None:
        given.append(Shift(name, None, test, unlike))
    if not given and (chosen := default_shift(train, test)) is not None:
        given.append(chosen)
    if len({shift.name for shift in given}) < len(given):
        raise KernpotError(f"each --leave-out and --shifted needs a name of its own, got {[s.name for s in given]}")
    return given


def _print(result: ComparisonResult) -> None:
    """Errors and costs side by side, then which to use when."""
    table = Table(
        title="Test errors and wall times", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in ("", *result.potentials):
        table.add_column(column, justify="right" if column else "left")
    for score in result.scores:
        cells = [f"{value:.3g}{' *' if score.best == name else ''}" for name, value in score.values.items()]
        table.add_row(f"{score.kind} {score.measure.upper()} ({UNITS[score.kind]})", *cells)
    for kind in result.kinds:
        rows = [result.row(name, kind) for name in result.potentials]
        shares = [None if row is None else row["coverage"]["0.9"] for row in rows]
        table.add_row(f"{kind} in 90 % intervals", *("-" if s is None else f"{100 * s:.0f} %" for s in shares))
    costs = [result.cost[name] for name in result.potentials]
    table.add_row("fit (s)", *(f"{cost['fit']['wall_s']:.3g}" for cost in costs))
    for key, what in (("mean", "mean (ms/atom)"), ("full", "mean and error bars (ms/atom)")):
        table.add_row(what, *(f"{cost['answers'][-1][key]['median']:.3g}" for cost in costs))
    console.print(table)
    console.print("[dim]* smaller than the next one by more than sampling error[/]")
    for finding in [*advice(result), *(f for f in comparison_findings(result) if f.verdict == "warning")]:
        print_finding(finding)
