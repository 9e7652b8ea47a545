"""`kernpot predict`: means and standard deviations for the structures of a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from ase import Atoms

from kernpot.cli.console import console, progress_bars, shown
from kernpot.cli.error_bars import ErrorBarsOption, with_error_bars
from kernpot.cli.frames import write_frames
from kernpot.cli.options import Model, new_file
from kernpot.dynamics.frames import annotated, without_prediction
from kernpot.dynamics.run_directory import write_atomically
from kernpot.files.container import load
from kernpot.potential import Potential
from kernpot.prediction import Prediction
from kernpot.progress import Report
from kernpot.report.plain import visible
from kernpot.structures import read_structures

# Structures that are predicted together.
_CHUNK = 8
_TABLES = (".csv", ".json")


def predict(
    model: Model,
    frames: Annotated[list[Path], typer.Argument(help="Files with structures.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [dim]FRAMES_predicted.xyz[/]")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Also a table with a row for each structure, .csv or .json.", show_default=False),
    ] = None,
    error_bars: ErrorBarsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Predict energies, forces and stress of structures, with error bars.

    The file written is extended XYZ: energy, forces, stress are means, and
    energy_std, forces_std, energies_std, stress_std their standard
    deviations, which also mark the frames as predictions: kernpot does not
    learn from them. Labels that the structures have are not looked at
    (kernpot evaluate compares with them).

    [bold]Examples[/]

      kernpot predict si.kernpot candidates.xyz

      kernpot predict si.kernpot candidates.cif -o out.xyz --table out.csv

      kernpot predict si.kernpot large.xyz --error-bars draws
    """
    target = output or frames[0].with_name(f"{frames[0].name.removesuffix('.gz').rsplit('.', 1)[0]}_predicted.xyz")
    new_file(target, force, [model, *frames])
    if table is not None:
        if table.suffix not in _TABLES:
            raise typer.BadParameter(f"expected a name that ends in .csv or .json, got {table}", param_hint="--table")
        new_file(table, force, [model, *frames, target])
    potential = with_error_bars(load(model), error_bars)
    structures = [without_prediction(atoms) for atoms in read_structures(frames)]
    with progress_bars() as report:
        predictions = list(_predictions(potential, structures, report))
    found = [annotated(atoms, told) for atoms, told in zip(structures, predictions, strict=True)]
    write_frames(target, found)
    rows = [_row(atoms, told) for atoms, told in zip(structures, predictions, strict=True)]
    if table is not None:
        write_atomically(table, _text(rows, table.suffix))
    worst = max(rows, key=lambda row: row["largest_force_std"])
    console.print(f"{len(rows)} structures; largest std of a force {worst['largest_force_std']:.3g} eV/Å", end="")
    console.print(f" in {visible(worst['source'])}", markup=False)
    written = " and ".join(f"[bold]{shown(path)}[/]" for path in (target, table) if path is not None)
    console.print(f"wrote {written}", soft_wrap=True)


def _predictions(potential: Potential, structures: Sequence[Atoms], report: Report) -> Iterator[Prediction]:
    for start in range(0, len(structures), _CHUNK):
        yield from potential.predict_full(structures[start : start + _CHUNK])
        report("predict", min(start + _CHUNK, len(structures)), len(structures))


def _row(atoms: Atoms, told: Prediction) -> dict[str, Any]:
    """What a table tells of a structure."""
    return {
        "source": atoms.info["source"],
        "formula": str(atoms.symbols),
        "n_atoms": len(atoms),
        "config_type": str(atoms.info.get("config_type", "")),
        "energy": float(told.energy.mean),
        "energy_std": float(told.energy.std),
        "largest_force": float(abs(told.forces.mean).max()),
        "largest_force_std": float(told.forces.std.max()),
        "largest_stress_std": None if told.stress is None else float(told.stress.std.max()),
    }


def _text(rows: Sequence[dict[str, Any]], suffix: str) -> str:
    """The table: eV, eV/Å, eV/Å³."""
    if suffix == ".json":
        return json.dumps({"units": "eV, eV/A, eV/A^3", "structures": rows}, indent=1) + "\n"
    text = StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
