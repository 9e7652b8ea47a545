"""`kernpot md`: molecular dynamics that stops where the model no longer knows."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from ase import Atoms, units
from ase.io import read, write

from kernpot.cli.console import console, errors, view_console
from kernpot.cli.live import LiveView
from kernpot.cli.options import Model, Seed, new_file
from kernpot.cli.simulation import INTERRUPTED, Simulation
from kernpot.dynamics import GateStopped, UncertaintyGate
from kernpot.dynamics.reasons import DEFAULT_FORCE_STD
from kernpot.dynamics.schedule import Schedule, Stage
from kernpot.dynamics.tolerance import threshold_for
from kernpot.errors import KernpotError
from kernpot.files.container import load
from kernpot.potential import Potential
from kernpot.structures import read_structures

GATE_STOPPED = 3
MISSED = 0.01
_GATE = "Gate"
_DYNAMICS = "Dynamics"


class Ensemble(StrEnum):
    """What is held constant."""

    nve = "nve"
    langevin = "langevin"
    npt = "npt"


class OnEvent(StrEnum):
    """What follows when the gate fires."""

    stop = "stop"
    record = "record"


def md(
    model: Model,
    start: Annotated[Path | None, typer.Argument(help="File with the first structure.", show_default=False)] = None,
    ensemble: Annotated[
        Ensemble,
        typer.Option(help="Constant energy, temperature, or pressure, too.", rich_help_panel=_DYNAMICS),
    ] = Ensemble.langevin,
    temperature: Annotated[float, typer.Option(help="Temperature, K.", rich_help_panel=_DYNAMICS)] = 300.0,
    final_temperature: Annotated[
        float | None,
        typer.Option(help="At the last step, K: a ramp.", show_default=False, rich_help_panel=_DYNAMICS),
    ] = None,
    pressure: Annotated[float, typer.Option(help="With npt, GPa.", rich_help_panel=_DYNAMICS)] = 0.0,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.", rich_help_panel=_DYNAMICS)] = 1000,
    timestep: Annotated[float, typer.Option(min=1e-3, max=20, help="Time step, fs.", rich_help_panel=_DYNAMICS)] = 1.0,
    friction: Annotated[
        float, typer.Option(min=1e-6, help="Of the thermostat, 1/ps.", rich_help_panel=_DYNAMICS)
    ] = 10.0,
    index: Annotated[int, typer.Option(help="Which structure of the file; -1 is the last.")] = -1,
    output: Annotated[Path, typer.Option("--output", "-o", help="Trajectory to write (extxyz).")] = Path("md.xyz"),
    every: Annotated[int, typer.Option(min=1, help="Write a frame, with its stds, every that many steps.")] = 10,
    force_std: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            help=f"Threshold, std of a force component, eV/Å. [dim]{DEFAULT_FORCE_STD}[/]",
            rich_help_panel=_GATE,
        ),
    ] = None,
    energy_std: Annotated[
        float | None,
        typer.Option(min=1e-9, help="On the std of the energy, eV/atom.", show_default=False, rich_help_panel=_GATE),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            help="Instead of --force-std: largest force error to bear, eV/Å; one in a hundred may be missed.",
            show_default=False,
            rich_help_panel=_GATE,
        ),
    ] = None,
    patience: Annotated[
        int, typer.Option(min=1, help="Checks in a row above the threshold before it fires.", rich_help_panel=_GATE)
    ] = 1,
    gate_every: Annotated[
        int | None,
        typer.Option(min=1, help="Check every that many steps. [dim]As --every[/]", rich_help_panel=_GATE),
    ] = None,
    on_event: Annotated[
        OnEvent, typer.Option(help="Stop where it fires, or take note and go on.", rich_help_panel=_GATE)
    ] = OnEvent.stop,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing trajectory.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last frame of the trajectory, up to --steps in all.")
    ] = False,
) -> None:
    """Run dynamics that stops (exit code 3) when a force becomes too uncertain.

    Every frame is written with its error bars. The structures around each
    event are written to NAME_gate.xyz: label them with your quantum code and
    fit again. Ctrl-C finishes the step, and --resume goes on from there.

    [bold]Examples[/]

      kernpot md si.kernpot start.xyz --temperature 600 --steps 20000

      kernpot md si.kernpot start.xyz --ensemble npt --pressure 1 --final-temperature 900

      kernpot md si.kernpot start.xyz --tolerance 0.3 --gate-every 5 -o hot.xyz

      kernpot md si.kernpot --resume --steps 40000
    """
    if (start is None) != resume:
        raise typer.BadParameter("give a file with the first structure, or --resume to go on from the trajectory")
    ramp = temperature if final_temperature is None else (temperature, final_temperature)
    schedule = Schedule([Stage(ensemble.value, steps, ramp, timestep, friction, pressure)])
    inputs = [model, *([] if start is None else [start])]
    if resume and not output.is_file():
        raise KernpotError(f"{output}: no such file; --resume goes on from the last frame of the trajectory --output")
    new_file(output, force or resume, inputs)
    around = new_file(output.with_name(f"{output.stem}_gate.xyz"), force=True, inputs=inputs)
    potential = load(model)
    rng = np.random.default_rng(seed)
    if start is None:
        atoms, first = _last_frame(output)
        rng = np.random.default_rng([seed, first])
    else:
        atoms, first = read_start(start, index), 0
        thermalise(atoms, temperature, rng)
    schedule.check(atoms)
    gate = _gate(potential, force_std, energy_std, tolerance, patience, gate_every or every, on_event.value)
    atoms.calc = potential.calculator()
    atoms.get_forces()  # what cannot start must not cost the old trajectory; the dynamics finds these in the cache
    if not resume:
        output.unlink(missing_ok=True)
    view = LiveView(view_console(), output.name)
    simulation = Simulation(atoms, schedule, gate, rng, _writer(output), every, view.observe)
    stopped = False
    with view.shown():
        try:
            done = simulation.run(first)
        except GateStopped:
            stopped = True
    if gate.events:
        write(around, [frame for event in gate.events for frame in (*event.before, event.atoms)], format="extxyz")
    if stopped:
        errors.print(f"[bold yellow]gate stopped:[/] {gate.events[-1]}")
        errors.print(f"wrote [bold]{output}[/], and the structures that led there to [bold]{around}[/]")
        errors.print(f"[dim]next: kernpot label {around} --oracle NAME[/]", soft_wrap=True)
        raise typer.Exit(GATE_STOPPED)
    if gate.events:
        console.print(f"the gate fired {len(gate.events)} time(s); structures around it are in [bold]{around}[/]")
    if done < steps:
        errors.print(
            f"stopped after step {done} of {steps}, which is written to [bold]{output}[/]; go on with --resume"
        )
        raise typer.Exit(INTERRUPTED)
    console.print(f"{steps} steps done, largest force std of a frame {simulation.largest_force_std:.3f} eV/Å")
    console.print(f"wrote [bold]{output}[/]")


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
    return _bare(atoms)


def _last_frame(path: Path) -> tuple[Atoms, int]:
    """The last frame of a trajectory, with its momenta, and its step."""
    try:
        atoms: Any = read(path, -1, format="extxyz")
        step = int(atoms.info["step"])
    except Exception as error:  # readers raise anything
        raise KernpotError(f"{path} is no trajectory of kernpot md to go on from ({error!r})") from None
    if "momenta" not in atoms.arrays:
        raise KernpotError(
            f"{path}: its last frame has no momenta to go on with; start anew from it as a first structure"
        )
    return _bare(atoms), step


def _bare(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.info.clear()  # what was said of the first frame does not hold for the others
    for name in set(atoms.arrays) - {"numbers", "positions", "momenta", "masses", "tags"}:
        del atoms.arrays[name]
    return atoms


def _gate(
    potential: Potential,
    force_std: float | None,
    energy_std: float | None,
    tolerance: float | None,
    patience: int,
    every: int,
    action: Literal["stop", "record"],
) -> UncertaintyGate:
    if tolerance is not None and force_std is not None:
        raise typer.BadParameter("the threshold follows from the tolerance; give one of them", param_hint="--force-std")
    if tolerance is not None:
        force_std = threshold_for(potential, tolerance, MISSED)
        console.print(f"threshold for a tolerance of {tolerance:g} eV/Å: force std {force_std:.3g} eV/Å")
    threshold = DEFAULT_FORCE_STD if force_std is None else force_std
    return UncertaintyGate(potential, threshold, energy_std, patience=patience, every=every, action=action)


def _writer(path: Path) -> Callable[[Atoms], None]:
    return lambda frame: write(path, frame, format="extxyz", append=True)
