"""`kernpot lammps`: a LAMMPS input script with a potential in it, on any number of MPI ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.cli.console import console, shown
from kernpot.engines.lammps import build, run_script
from kernpot.engines.lammps.compiling import NAME


def lammps(
    script: Annotated[
        Path | None, typer.Argument(help="Input script with 'pair_style kernpot'.", show_default=False)
    ] = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Model file.", show_default=False)] = None,
    n_ranks: Annotated[int, typer.Option("-np", min=1, help="MPI ranks.")] = 1,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="For LAMMPS, after --, such as: -- -var T 300", show_default=False)
    ] = None,
    compile_plugin: Annotated[
        bool, typer.Option("--build", help="Compile the pair style for this machine first; alone, no more.")
    ] = False,
) -> None:
    """Run LAMMPS with a potential and its error bars.

    The script names the elements where other potentials name a file, and how often it wants error bars:

      pair_style kernpot force_std 20
      pair_coeff * * Si

    It then finds the std of the force on every atom, c_kernpot_force_std (eV/Å), and the largest, for example for

      fix stop all halt 20 v_kernpot_max_force_std > 0.3 error continue

    --build compiles a pair style of LAMMPS's own, where there is a C++ compiler: from then on scripts run with it, at
    less cost and with every command of LAMMPS, wherever it holds the potential and its error bars (those of draws).
    """
    if compile_plugin:
        folder = build()
        console.print(f"built {shown(folder / NAME)}\nfor lmp itself: export LAMMPS_PLUGIN_PATH={shown(folder)}")
        if script is None:
            return
    if script is None or model is None:
        raise typer.BadParameter("give an input script and --model, as in: kernpot lammps in.si --model si.kernpot")
    code = run_script(script, model, n_ranks, arguments or [])
    raise typer.Exit(code)
