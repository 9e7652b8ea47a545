"""`kernpot md`: molecular dynamics that stops where the model no longer knows."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from kernpot.cli.console import console, errors, shown, view_console
from kernpot.cli.error_bars import ErrorBarsOption, kind_of, with_error_bars
from kernpot.cli.live import LiveView
from kernpot.cli.md_beginning import read_start, taken_up, thermalise
from kernpot.cli.md_run import MdRun, MdSettings, run_file
from kernpot.cli.options import Model, Seed, new_file
from kernpot.cli.simulation import INTERRUPTED, Simulation
from kernpot.cli.trajectory import GateFrames, append
from kernpot.dynamics import GateStopped
from kernpot.dynamics.reasons import DEFAULT_FORCE_STD
from kernpot.dynamics.tolerance import threshold_for
from kernpot.files.container import load
from kernpot.potential import Potential

GATE_STOPPED = 3
MISSED = 0.01
# Such files cannot be appended to and cut back.
COMPRESSED = (".gz", ".bz2", ".xz")
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
    context: typer.Context,
    model: Model,
    start: Annotated[Path | None, typer.Argument(help="File with the first structure.", show_default=False)] = None,
    ensemble: Annotated[
        Ensemble,
        typer.Option(help="Constant energy, temperature, or pressure, too.", rich_help_panel=_DYNAMICS),
    ] = Ensemble.langevin,
    temperature: Annotated[
        float, typer.Option(min=0, max=1e5, help="Temperature, K.", rich_help_panel=_DYNAMICS)
    ] = 300.0,
    final_temperature: Annotated[
        float | None,
        typer.Option(
            min=0, max=1e5, help="At the last step, K: a ramp.", show_default=False, rich_help_panel=_DYNAMICS
        ),
    ] = None,
    pressure: Annotated[float, typer.Option(min=-1e4, max=1e4, help="With npt, GPa.", rich_help_panel=_DYNAMICS)] = 0.0,
    steps: Annotated[int, typer.Option(min=1, max=10**12, help="Number of steps.", rich_help_panel=_DYNAMICS)] = 1000,
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
    error_bars: ErrorBarsOption = None,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing trajectory.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last frame of the trajectory, up to --steps in all.")
    ] = False,
) -> None:
    """Run dynamics that stops (exit code 3) when a force becomes too uncertain.

    Every frame is written with its error bars. The structures around each
    event are written to NAME_gate.xyz: label them with your quantum code and
    fit again. Ctrl-C finishes the step, and --resume goes on from there with
    the options the run began with, which are in NAME.run.json; of them only
    --steps may change, and a ramp ends at the step it was planned to.

    [bold]Examples[/]

      kernpot md si.kernpot start.xyz --temperature 600 --steps 20000

      kernpot md si.kernpot start.xyz --ensemble npt --pressure 1 --final-temperature 900

      kernpot md si.kernpot start.xyz --tolerance 0.3 --gate-every 5 -o hot.xyz

      kernpot md si.kernpot start.xyz --error-bars draws --gate-every 1

      kernpot md si.kernpot --resume --steps 40000
    """
    if (start is None) != resume:
        raise typer.BadParameter("give a file with the first structure, or --resume to go on from the trajectory")
    if resume and force:
        raise typer.BadParameter("would replace the trajectory that --resume goes on with", param_hint="--force")
    if not output.name or output.suffix in COMPRESSED:
        raise typer.BadParameter(f"expected the name of a plain file, got {str(output)!r}", param_hint="--output")
    around = output.with_name(f"{output.stem}_gate.xyz")
    if start is None:
        run, potential, atoms, place = taken_up(model, output, around, _given(context))
        if place.step >= run.settings.steps:
            console.print(
                f"{shown(output)} is at step {place.step} of {run.settings.steps} already; give more with --steps"
            )
            return
        rng = np.random.default_rng([run.settings.seed, place.step])
    else:
        for path in (output, around, run_file(output)):
            new_file(path, force, [model, start])
        potential, atoms, place = with_error_bars(load(model), error_bars), read_start(start, index), None
        settings = MdSettings(
            ensemble.value,
            temperature,
            temperature if final_temperature is None else final_temperature,
            pressure,
            steps,
            steps,
            timestep,
            friction,
            index,
            every,
            _threshold(potential, force_std, tolerance),
            energy_std,
            tolerance,
            patience,
            gate_every or every,
            on_event.value,
            seed,
            kind_of(potential),
        )
        run = MdRun.begun(settings, model, atoms)
        rng = np.random.default_rng(seed)
        settings.schedule().check(atoms)
        thermalise(atoms, temperature, rng)
    settings = run.settings
    gate = settings.gate(potential)
    atoms.calc = potential.calculator()
    atoms.get_forces()  # what cannot start must not cost the old trajectory; the dynamics finds these in the cache
    if place is None:
        output.write_bytes(b"")  # rather than removed: there may be a link
        around.unlink(missing_ok=True)
    run.write(output)
    frames, view = GateFrames(around), LiveView(view_console(), output.name)
    simulation = Simulation(
        atoms, settings.schedule(), settings.steps, gate, rng, partial(append, output), settings.every, view.observe,
        note=lambda event: frames.add([*event.before, event.atoms]),
    )  # fmt: skip
    stopped = False
    with view.shown():
        try:
            done = simulation.run(place)
        except GateStopped:
            stopped = True
    if stopped:
        errors.print(f"[bold yellow]gate stopped:[/] {gate.events[-1]}")
        errors.print(f"wrote [bold]{shown(output)}[/], and the structures that led there to [bold]{shown(around)}[/]")
        errors.print(f"[dim]next: kernpot label {shown(around)} --oracle NAME[/]", soft_wrap=True)
        raise typer.Exit(GATE_STOPPED)
    if gate.events:
        console.print(
            f"the gate fired {len(gate.events)} time(s); structures around it are in [bold]{shown(around)}[/]"
        )
    if done < settings.steps:
        errors.print(
            f"stopped after step {done} of {settings.steps}, which is written to [bold]{shown(output)}[/]; "
            "go on with --resume"
        )
        raise typer.Exit(INTERRUPTED)
    console.print(f"{done} steps done, largest force std of a frame {simulation.largest_force_std:.3f} eV/Å")
    console.print(f"wrote [bold]{shown(output)}[/]")


def _given(context: typer.Context) -> dict[str, Any]:
    """Options of the run that stand on the command line, as opposed to their defaults."""
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in context.params.items()
        if name in MdSettings.__dataclass_fields__
        and (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    }


def _threshold(potential: Potential, force_std: float | None, tolerance: float | None) -> float:
    if tolerance is None:
        return DEFAULT_FORCE_STD if force_std is None else force_std
    if force_std is not None:
        raise typer.BadParameter("the threshold follows from the tolerance; give one of them", param_hint="--force-std")
    threshold = threshold_for(potential, tolerance, MISSED)
    console.print(f"threshold for a tolerance of {tolerance:g} eV/Å: force std {threshold:.3g} eV/Å")
    return threshold
