"""`kernpot report`: the page about a run, made anew from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.cli.console import console, print_finding, shown
from kernpot.cli.options import new_file
from kernpot.report.timeline import read_timeline, timeline_findings, write_timeline


def report(
    directory: Annotated[Path, typer.Argument(help="Directory of a run of kernpot learn.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Page to write. [dim]timeline.html[/]", show_default=False)
    ] = None,
) -> None:
    """Write the page about an on-the-fly run, also while it runs or after it was killed.

    Temperature, error bars, what was asked and how wrong the potential was,
    and whether the error bars tell the truth on frames it never learnt.

    [bold]Example[/]

      kernpot report run1
    """
    if output is not None:
        new_file(output, force=True, inputs=(directory / "events.jsonl",))
    page = write_timeline(directory, output)
    for finding in timeline_findings(read_timeline(directory)):
        print_finding(finding)
    console.print(f"wrote [bold]{shown(page)}[/]", soft_wrap=True)
