"""`kernpot data inspect`: what labelled structures hold, before anything is learnt from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from kernpot.cli.console import console, print_findings, shown
from kernpot.cli.options import EnergyKey, ForcesKey, StressKey, new_folder
from kernpot.report.inspection import Inspection, inspect_structures, inspection_findings, write_inspection
from kernpot.report.inspection.facts import Part
from kernpot.report.inspection.page import contacts, ranges
from kernpot.structures import label_structures, read_structures
from kernpot.structures.kinds import LABEL_KINDS

_MOST = 10


def inspect(
    files: Annotated[list[Path], typer.Argument(help="Files with labelled structures.", show_default=False)],
    report: Annotated[
        Path | None, typer.Option(help="Folder for inspection.html, a page with plots.", show_default=False)
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
) -> None:
    """Say what is in labelled structures: counts, ranges, and what looks wrong.

    Labels by file and by config_type, elements and compositions, ranges of
    energies, forces, pressures and volumes, the closest atoms of each pair of
    elements, exact copies, values far from all others, isolated atoms.
    Nothing is changed.

    [bold]Examples[/]

      kernpot data inspect train.xyz

      kernpot data inspect *.xyz OUTCAR --report inspection/
    """
    folder = None if report is None else new_folder(report)
    structures = read_structures(files, energy_key, forces_key, stress_key)
    found = inspect_structures(label_structures(structures))
    told = inspection_findings(found)
    console.print(f"{len(structures)} structures, {found.n_atoms} atoms")
    _print(found)
    print_findings(told)
    if folder is not None:
        page = folder / "inspection.html"
        write_inspection(page, f"What is in {', '.join(path.name for path in files)}", found, told)
        console.print(f"wrote [bold]{shown(page)}[/]", soft_wrap=True)


def _print(found: Inspection) -> None:
    _print_parts("Files", found.files)
    if len(found.groups) > 1:
        _print_parts("Groups (config_type)", found.groups)
    table = _table("Ranges", "", "least", "median", "largest", "unit")
    for row in ranges(found):
        table.add_row(row["name"], *(f"{row[name]:.4g}" for name in ("low", "median", "high")), row["unit"])
    console.print(table)
    table = _table("Elements", "", "structures", "atoms", "isolated atom, eV")
    for symbol, (n_structures, n_atoms) in found.elements.items():
        energy = found.isolated[symbol]
        table.add_row(symbol, str(n_structures), str(n_atoms), "none" if energy is None else f"{energy:.4f}")
    console.print(table)
    table = _table("Closest atoms", "", "Å", "in")
    for row in contacts(found)[:_MOST]:
        table.add_row(row["pair"], f"{row['distance']:.3f}", shown(row["source"]))
    console.print(table)
    formulas = ", ".join(f"{formula} ({count})" for formula, count in list(found.compositions.items())[:_MOST])
    more = len(found.compositions) - _MOST
    console.print(f"[bold]Compositions[/]  {formulas}{f' and {more} more' if more > 0 else ''}")


def _print_parts(title: str, parts: Sequence[Part]) -> None:
    table = _table(title, "", "structures", "atoms", *(f"with {kind}" for kind in LABEL_KINDS))
    for part in parts:
        labels = (str(part.labels[kind]) for kind in LABEL_KINDS)
        table.add_row(shown(part.name), str(len(part.members)), str(part.n_atoms), *labels)
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 or column in ("in", "unit") else "right", overflow="fold")
    return table
