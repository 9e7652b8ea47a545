"""What the commands share on the terminal: one console, progress bars, tables, warnings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from kernpot.progress import lines
from kernpot.report.findings import Finding, findings
from kernpot.report.plain import visible
from kernpot.report.provenance import Section
from kernpot.uncertainty.evaluation import ALL, EvaluationResult
from kernpot.uncertainty.metrics import Metrics

# Written to a file or a pipe, paths and checksums stay in one piece.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 200)

TITLES = {"energy": "Energies per atom", "forces": "Force components", "stress": "Stress components"}
STAGES = {"rows": "Training rows", "predict": "Predictions"}
_SHOWN = 10
MARKS = {"good": "[green]✓[/]", "warning": "[bold red]![/]", "note": "[yellow]·[/]"}


def shown(name: object) -> str:
    """A name or path from the user between marks of style: none of its own is obeyed."""
    return escape(visible(name))


def view_console() -> Console:
    """Where a view that stays in place goes: beside warnings on a terminal, to stdout as plain lines elsewhere."""
    return errors if console.is_terminal and errors.is_terminal else console


@contextmanager
def progress_bars(before: str = "", after: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """Bars with the time left for each stage that reports itself; `before` and `after` name the work around them.

    Where there is no terminal, a line now and then.

    Yields
    ------
    callable
        ``report(stage, done, total)``.
    """
    if not errors.is_terminal:
        with lines(before, after, lambda line: errors.print(line, markup=False)) as report_lines:
            yield lambda stage, done, total: report_lines(STAGES.get(stage, stage), done, total)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    text = TextColumn("{task.description:<30}")
    with Progress(text, *columns, console=errors, transient=True) as bars:
        tasks = {}
        waiting = bars.add_task(before, total=None) if before else None

        def report(stage: str, done: int, total: int) -> None:
            nonlocal waiting
            if waiting is not None:
                bars.remove_task(waiting)
                waiting = None
            if stage not in tasks:
                tasks[stage] = bars.add_task(STAGES.get(stage, stage), total=total)
            bars.update(tasks[stage], completed=done, total=total)
            if done >= total and after:
                waiting = bars.add_task(after, total=None)

        yield report


def print_evaluation(result: EvaluationResult) -> None:
    """Tables of errors and coverage, and the findings that are about all structures or are warnings."""
    for kind in result.comparisons:
        console.print(_metrics_table(kind, result.rows(kind)))
    told = findings(result)
    print_findings([found for found in told if found.verdict == "warning" or found.config_type == ALL])


def print_findings(told: Sequence[Finding], elsewhere: str = "--report FOLDER shows them") -> None:
    """Findings in their order, folded after ten."""
    for finding in told[:_SHOWN]:
        print_finding(finding)
    if len(told) > _SHOWN:
        console.print(f"[dim]and {len(told) - _SHOWN} more: {elsewhere}[/]")


def print_finding(finding: Finding) -> None:
    """One finding with its mark."""
    console.print(f"{MARKS[finding.verdict]} ", end="")
    console.print(visible(finding.text), markup=False)


def print_sections(sections: Sequence[Section]) -> None:
    """Named tables of names and values."""
    for title, rows in sections:
        table = Table(
            show_header=False,
            box=None,
            padding=(0, 2),
            title=Text(visible(title), "bold"),
            title_justify="left",
            title_style="bold",
        )
        table.add_column()
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(visible(name), "dim"), Text(visible(value)))
        console.print(table)


def _metrics_table(kind: str, rows: Sequence[Metrics]) -> Table:
    # No wider than the narrowest table, which is where rich would wrap it.
    title = f"{TITLES[kind]} ({rows[0].unit}); inside 50, 68, 90, 95 % intervals"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.collapse_padding = True
    table.add_column("config_type", min_width=13, overflow="fold")
    # Narrow enough for 80 columns: numbers are never cut short.
    for name in ("frames", "MAE", "RMSE", "std", "50 %", "68 %", "90 %", "95 %", "err/std", "rank"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells: list[str | Text] = [
            Text(visible(row.config_type)),
            str(row.n_structures),
            *(f"{value:.3g}" for value in (row.mae, row.rmse, row.sharpness)),
            *(f"{100 * share:.0f}" for share in row.coverage.values()),
            f"{row.rms_z:.2f}",
            "-" if row.spearman is None else f"{row.spearman:.2f}",
        ]
        table.add_row(*cells, style="bold" if row.config_type == ALL else "")
    return table
