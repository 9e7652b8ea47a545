"""`kernpot export`: a file that other engines read without kernpot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.cli.console import console, shown
from kernpot.cli.error_bars import ErrorBarsOption, with_error_bars
from kernpot.cli.options import Seed
from kernpot.engines.lammps.tables import write_tables
from kernpot.files.container import load


def export(
    model: Annotated[Path, typer.Argument(help="Model file.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [default: beside the model]")
    ] = None,
    draws: Annotated[int, typer.Option(min=0, max=100_000, help="Draws in energy_ensemble; 0 for none.")] = 16,
    seed: Seed = 0,
    error_bars: ErrorBarsOption = None,
    for_lammps: Annotated[
        bool, typer.Option("--lammps", help="Tables for LAMMPS's pair style kernpot instead of a file for metatomic.")
    ] = False,
) -> None:
    """Write a potential for metatomic: ASE, LAMMPS, i-PI, PLUMED, GROMACS, torch-sim, eOn and others read it.

    The file has the outputs energy, energy_uncertainty and energy_ensemble, the latter two of the whole posterior or,
    with --error-bars draws, of the model's shared draws. It is TorchScript, metatomic's form: keep the model file,
    which holds numbers alone, and hand that on.

    With --lammps it is tables of numbers, which the pair style of `kernpot lammps --build` reads: the mean, and stds by
    the model's shared draws.
    """
    if for_lammps:
        tables = output or model.with_suffix(".tables")
        write_tables(load(model), tables)
        console.print(
            f"wrote {shown(tables)} ({tables.stat().st_size / 1e6:.1f} MB), for: pair_coeff * * {shown(tables)} ..."
        )
        return
    from kernpot.engines.metatomic import write

    path = output or model.with_suffix(".pt")
    potential = load(model)
    with_error_bars(potential, error_bars)
    write(potential, path, draws, seed, name=model.stem)
    names = ["energy", "energy_uncertainty", *(["energy_ensemble"] if draws else [])]
    console.print(f"wrote {shown(path)} ({path.stat().st_size / 1e6:.1f} MB): {', '.join(names)}")
