"""`kernpot properties`: lattice, equation of state and elastic constants of a crystal, with intervals."""

from __future__ import annotations

import json
from operator import itemgetter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from kernpot.cli.console import console, progress_bars, shown
from kernpot.cli.md_beginning import read_start
from kernpot.cli.options import Model, Seed, new_file
from kernpot.files.container import load
from kernpot.files.writing import replace_file
from kernpot.properties import (
    ElasticConstants,
    EquationOfState,
    RelaxedCell,
    bulk_modulus,
    conventional_cell,
    cubic_constants,
    shear_modulus,
)
from kernpot.properties.relax import relaxed
from kernpot.uncertainty.propagated import Propagated
from kernpot.uncertainty.propagation import propagate


def properties(
    model: Model,
    crystal: Annotated[Path, typer.Argument(help="File with a crystal near its minimum.", show_default=False)],
    draws: Annotated[int, typer.Option(min=8, max=100_000, help="Draws of the potential; 8 or more.")] = 32,
    level: Annotated[float, typer.Option(min=0.01, max=0.99, help="Probability inside the intervals.")] = 0.9,
    index: Annotated[int, typer.Option(help="Which structure of the file; -1 is the last.")] = -1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write a JSON file.", show_default=False)
    ] = None,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing JSON file.")] = False,
) -> None:
    """Lattice, equation of state and elastic constants of a crystal, with intervals.

    The crystal is relaxed with the mean potential; every draw of the potential
    then gives each property a value of its own, and their spread the interval:
    what the training data leave open, and how far the model misses them.

    [bold]Example[/]

      kernpot properties si.kernpot diamond.xyz --draws 64 -o si.json
    """
    if output is not None:
        new_file(output, force, (model, crystal))
    potential = load(model)
    start = RelaxedCell(read_start(crystal, index))
    drawn = potential.sample_potentials(draws, random_state=seed)
    with progress_bars("Relaxing") as report:
        atoms = relaxed(start.atoms, potential, start.fmax, start.max_steps, cell=True)
        state = propagate(EquationOfState(atoms), drawn, progress=report)
        constants = propagate(ElasticConstants(atoms), drawn, progress=report)
        cells = propagate(RelaxedCell(atoms), drawn, progress=report)
    rows = _lattice_rows(cells, conventional_cell(atoms))
    units = ("Å³/atom", "eV/atom", "GPa", "")
    rows += [
        (name, state.map(itemgetter(k), unit))
        for k, (name, unit) in enumerate(zip(EquationOfState.names, units, strict=True))
    ]
    rows += _elastic_rows(constants)
    _show(rows, level, len(drawn))
    if output is not None:
        replace_file(output, json.dumps({name: _stored(found, level) for name, found in rows}, indent=1) + "\n")
        console.print(f"wrote [bold]{shown(output)}[/]")


def _lattice_rows(cells: Propagated, conventional: NDArray[np.int64]) -> list[tuple[str, Propagated]]:
    """Lengths of the cell given and, where that is another, of the conventional one."""
    given = cells.map(lambda cell: np.linalg.norm(cell, axis=1))
    rows = [(name, given.map(itemgetter(k))) for k, name in enumerate("abc")]
    standard = cells.map(lambda cell: np.linalg.norm(conventional @ cell, axis=1))
    if np.allclose(np.sort(standard.of_mean), np.sort(given.of_mean), rtol=1e-3):
        return rows
    return rows + [(f"{name} (conventional)", standard.map(itemgetter(k))) for k, name in enumerate("abc")]


def _elastic_rows(constants: Propagated) -> list[tuple[str, Propagated]]:
    """The independent constants of a cubic crystal, or all that do not vanish; and the moduli."""
    c = constants.of_mean
    c11, c12, c44 = cubic_constants(c)
    cubic = np.zeros((6, 6))
    cubic[:3, :3], cubic[3:, 3:] = c12 + (c11 - c12) * np.eye(3), c44 * np.eye(3)
    small = 0.01 * np.abs(c).max()
    moduli = [("K (Hill)", constants.map(bulk_modulus)), ("G (Hill)", constants.map(shear_modulus))]
    if np.abs(c - cubic).max() < small:
        three = constants.map(cubic_constants)
        return [(name, three.map(itemgetter(k))) for k, name in enumerate(("C11", "C12", "C44"))] + moduli
    upper = [(i, j) for i in range(6) for j in range(i, 6) if abs(c[i, j]) > small]
    return [(f"C{i + 1}{j + 1}", constants.map(itemgetter((i, j)))) for i, j in upper] + moduli


def _show(rows: list[tuple[str, Propagated]], level: float, n_draws: int) -> None:
    table = Table(box=None, pad_edge=False, title=f"{n_draws} draws", title_justify="left", title_style="bold")
    table.add_column("")
    for name in ("value", "std", f"{level:.0%} from", "to"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("unit")
    for name, found in rows:
        low, high = found.interval(level)
        decimals = max(1 - int(np.floor(np.log10(max(float(found.std), 1e-12)))), 0)
        numbers = (f"{float(x):.{decimals}f}" for x in (found.of_mean, found.std, low, high))
        table.add_row(name, *numbers, found.unit)
    console.print(table)
    failed = max(len(found.failures) for _, found in rows)
    if failed:
        console.print(f"{failed} of {n_draws} draws found no value and are left out")


def _stored(found: Propagated, level: float) -> dict[str, float | str | list[float]]:
    low, high = found.interval(level)
    return {
        "value": float(found.of_mean),
        "std": float(found.std),
        "level": level,
        "interval": [float(low), float(high)],
        "unit": found.unit,
    }
