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
    std_every: Annotated[
        int, typer.Option(min=0, help="Standard deviations of atomic energies every that many steps; 0: never.")
    ] = 1,
    force_std_every: Annotated[
        int, typer.Option(min=0, help="Exact standard deviations of forces likewise, by one rank; 0: never.")
    ] = 0,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="For LAMMPS, after --, such as: -- -var T 300", show_default=False)
    ] = None,
) -> None:
    """Run LAMMPS with a potential and its error bars.

    The script names the elements where other potentials name a file:

      pair_style kernpot
      pair_coeff * * Si

    and finds c_kernpot_std (eV) of every atom and v_kernpot_max_std, for example for

      fix stop all halt 10 v_kernpot_max_std > 0.05 error continue
    """
    code = run_script(script, model, n_ranks, std_every, force_std_every, arguments or [])
    raise typer.Exit(code)
