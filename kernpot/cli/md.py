"""`kernpot md`: molecular dynamics that stops where the model no longer knows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms, units
from ase.io import write
from ase.md.langevin import Langevin

from kernpot.cli.console import console, errors, progress_bars
from kernpot.cli.options import Model, Seed, new_file
from kernpot.dynamics import GateStopped, UncertaintyGate
from kernpot.errors import KernpotError
from kernpot.storage import load
from kernpot.structures import read_structures

GATE_STOPPED = 3
_GATE = "Gate"


def md(
    model: Model,
    start: Annotated[Path, typer.Argument(help="File with the first structure.", show_default=False)],
    temperature: Annotated[float, typer.Option(min=0, help="Temperature, K.")] = 300.0,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = 1000,
    timestep: Annotated[float, typer.Option(min=1e-3, max=20, help="Time step, fs.")] = 1.0,
    friction: Annotated[float, typer.Option(min=0, help="Langevin friction, 1/fs; 0 conserves energy.")] = 0.01,
    index: Annotated[int, typer.Option(help="Which structure of the file; -1 is the last.")] = -1,
    output: Annotated[Path, typer.Option("--output", "-o", help="Trajectory to write (extxyz).")] = Path("md.xyz"),
    every: Annotated[int, typer.Option(min=1, help="Write a frame, and check the gate, every that many steps.")] = 10,
    force_std: Annotated[
        float, typer.Option(min=1e-6, help="Threshold on the std of a force component, eV/Å.", rich_help_panel=_GATE)
    ] = 0.15,
    patience: Annotated[
        int, typer.Option(min=1, help="Checks in a row above the threshold before it stops.", rich_help_panel=_GATE)
    ] = 1,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing trajectory.")] = False,
) -> None:
    """Run Langevin dynamics that stops (exit code 3) when a force becomes too uncertain.

    The structures that led there are written to NAME_gate.xyz: label them
    with your quantum code and fit again.

    [bold]Examples[/]

      kernpot md si.kernpot start.xyz --temperature 600 --steps 20000

      kernpot md si.kernpot start.xyz --force-std 0.3 --every 5 -o hot.xyz
    """
    new_file(output, force, (model, start))
    around = new_file(output.with_name(f"{output.stem}_gate.xyz"), force=True, inputs=(model, start))
    potential = load(model)
    atoms = read_start(start, index)
    atoms.calc = potential.calculator()
    thermalise(atoms, temperature, rng := np.random.default_rng(seed))
    dynamics = Langevin(
        atoms, timestep * units.fs, temperature_K=temperature, friction=friction / units.fs, rng=rng, fixcm=False
    )
    gate = UncertaintyGate(potential, force_std, patience, every)
    atoms.get_forces()  # what cannot start must not cost the old trajectory; the dynamics finds these in the cache
    output.unlink(missing_ok=True)
    with progress_bars() as report:
        dynamics.attach(lambda: _write_frame(output, atoms, dynamics.nsteps * timestep), interval=every)
        dynamics.attach(lambda: report("Dynamics", dynamics.nsteps, steps), interval=every)
        gate.attach_to(dynamics)
        with suppress(GateStopped):
            dynamics.run(steps)
    if not gate.events:
        console.print(f"{steps} steps done, largest force std at the end {gate.last_force_std:.3f} eV/Å")
        console.print(f"wrote [bold]{output}[/]")
        return
    event = gate.events[-1]
    write(around, [*event.before, event.atoms], format="extxyz")
    errors.print(f"[bold yellow]gate stopped:[/] {event}")
    errors.print(f"wrote [bold]{output}[/], and the structures that led there to [bold]{around}[/]")
    raise typer.Exit(GATE_STOPPED)


def thermalise(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Give the atoms momenta drawn from the Maxwell-Boltzmann distribution at `temperature` (K)."""
    thermal = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(thermal[:, None] * rng.standard_normal((len(atoms), 3)))


def read_start(path: Path, index: int) -> Atoms:
    """One structure of a file, without what was said of it."""
    structures = read_structures(path)
    try:
        atoms = structures[index]
    except IndexError:
        raise KernpotError(f"{path} has {len(structures)} structure(s), there is no number {index}") from None
    atoms = atoms.copy()
    atoms.info.clear()  # what was said of the first frame does not hold for the others
    return atoms


def _write_frame(path: Path, atoms: Atoms, time_fs: float) -> None:
    atoms.info["time_fs"] = time_fs
    write(path, atoms, format="extxyz", append=True)
