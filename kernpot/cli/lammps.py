"""`kernpot lammps`: a LAMMPS input script with a potential in it, on any number of MPI ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.engines.lammps import run_script


def lammps(
    script: Annotated[Path, typer.Argument(help="Input script with 'pair_style kernpot'.", show_default=False)],
    model: Annotated[Path, typer.Option("--model", "-m", help="Model file.", show_default=False)],
    n_ranks: Annotated[int, typer.Option("-np", min=1, help="MPI ranks.")] = 1,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="For LAMMPS, after --, such as: -- -var T 300", show_default=False)
    ] = None,
) -> None:
    """Run LAMMPS with a potential and its error bars.

    The script names the elements where other potentials name a file, and how often it wants error bars:

      pair_style kernpot force_std 20
      pair_coeff * * Si

    It then finds the std of the force on every atom, c_kernpot_force_std (eV/Å), and the largest, for example for

      fix stop all halt 20 v_kernpot_max_force_std > 0.3 error continue
    """
    code = run_script(script, model, n_ranks, arguments or [])
    raise typer.Exit(code)
