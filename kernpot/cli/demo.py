"""`kernpot demo`: the main job on the data the package carries, in about a minute."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms, units
from ase.io import write
from ase.md.langevin import Langevin

import kernpot
from kernpot.cli.console import console, print_evaluation, progress_bars
from kernpot.cli.evaluate import write_report
from kernpot.cli.md_beginning import thermalise
from kernpot.cli.options import new_folder
from kernpot.dynamics import GateStopped, UncertaintyGate
from kernpot.errors import KernpotError
from kernpot.files.container import read_model
from kernpot.gp.estimator import SparseGPPotential
from kernpot.structures import read_structures
from kernpot.uncertainty.evaluation import evaluate

SEED = 0
HEATING_STEPS = 6000
TIMESTEP_FS = 0.5
START_K, KELVIN_PER_STEP = 300.0, 0.5
GATE_EVERY = 10


@dataclass(frozen=True)
class _Part:
    """One carried data set and the model to fit to it."""

    name: str
    title: str
    n_inducing: int


PARTS = (
    _Part("ethanol_gfn2", "Ethanol in vacuum, GFN2-xTB", 600),
    _Part("dry_ice_gfn1", "Solid CO2, GFN1-xTB", 300),
)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything it writes.")] = Path(
        "kernpot-demo"
    ),
) -> None:
    """Fit, evaluate and run dynamics on carried data: about a minute.

    Two small sets computed with xTB: the ethanol molecule (energies and
    forces) and solid CO2 (stress, too). For each it fits a potential,
    compares it with trajectories it has not seen, and writes the model and
    a report. Then it heats an ethanol molecule until the gate finds a force
    too uncertain.

    [bold]Example[/]

      kernpot demo --output demo/
    """
    started = time.perf_counter()
    new_folder(output)
    written: list[Path] = []
    potentials = {}
    for part in PARTS:
        potentials[part.name] = _fit_and_evaluate(part, output, written)
    written.append(_heat_until_gate(potentials[PARTS[0].name], output))
    console.rule(f"[bold]done in {time.perf_counter() - started:.0f} s[/]", align="left")
    for path in written:
        console.print(f"  {path}", soft_wrap=True)
    console.print("Open the reports in a browser. The same on your own data: [bold]kernpot fit --help[/]")


def carried_data(name: str) -> Path:
    """Path of a data set the package carries: inside an installed package, or in the checkout it runs from."""
    package = Path(kernpot.__file__).parent
    for folder in (package / "data", package.parent / "examples" / "data"):
        if (folder / f"{name}.xyz.gz").is_file():
            return folder / f"{name}.xyz.gz"
    raise KernpotError(f"the carried data {name}.xyz.gz are missing from {package / 'data'}; install kernpot again")


def _fit_and_evaluate(part: _Part, output: Path, written: list[Path]) -> SparseGPPotential:
    console.rule(f"[bold]{part.title}[/]", align="left")
    structures = read_structures(carried_data(part.name))
    train, test = ([atoms for atoms in structures if atoms.info["split"] == split] for split in ("train", "test"))
    started = time.perf_counter()
    with progress_bars("Checking, choosing environments", "Hyperparameters") as report:
        potential = SparseGPPotential(n_inducing=part.n_inducing, random_state=SEED, progress=report).fit(train)
    console.print(
        f"fitted {len(train)} structures with {potential.n_inducing_} inducing environments "
        f"in {time.perf_counter() - started:.0f} s; now {len(test)} structures of other trajectories"
    )
    with progress_bars() as report:
        result = evaluate(potential, test, progress=report)
    print_evaluation(result)
    model = output / f"{part.name}.kernpot"
    potential.save(model)
    folder = new_folder(output / part.name)
    written += [model, write_report(folder, part.title, result, read_model(model)[0])]
    return potential


def _heat_until_gate(potential: SparseGPPotential, output: Path) -> Path:
    console.rule("[bold]Heating ethanol until the model no longer knows[/]", align="left")
    atoms = _first_of("MD300")
    atoms.calc = potential.calculator()
    rng = np.random.default_rng(SEED)
    thermalise(atoms, START_K, rng)
    dynamics = Langevin(
        atoms, TIMESTEP_FS * units.fs, temperature_K=START_K, friction=0.02 / units.fs, rng=rng, fixcm=False
    )
    gate = UncertaintyGate(potential, every=GATE_EVERY)
    with progress_bars() as report:
        dynamics.attach(lambda: dynamics.set_temperature(temperature_K=START_K + KELVIN_PER_STEP * dynamics.nsteps))
        dynamics.attach(lambda: report("Dynamics", dynamics.nsteps, HEATING_STEPS), interval=GATE_EVERY)
        gate.attach_to(dynamics)
        with suppress(GateStopped):
            dynamics.run(HEATING_STEPS)
    bath = START_K + KELVIN_PER_STEP * dynamics.nsteps
    picoseconds = dynamics.nsteps * TIMESTEP_FS / 1000
    if not gate.events:
        console.print(f"the gate stayed closed up to {bath:.0f} K ({picoseconds:.2f} ps); trained at 300 and 600 K")
        last = output / "heating_last.xyz"
        write(last, atoms, format="extxyz")
        return last
    event = gate.events[-1]
    console.print(
        f"[bold yellow]the gate fired[/] after {picoseconds:.2f} ps, heat bath at {bath:.0f} K (trained at 300, 600)"
    )
    console.print(f"{event}", markup=False)
    frames = output / "heating_gate.xyz"
    write(frames, [*event.before, event.atoms], format="extxyz")
    return frames


def _first_of(config_type: str) -> Atoms:
    structures = read_structures(carried_data(PARTS[0].name))
    atoms = next(atoms for atoms in structures if atoms.info["config_type"] == config_type).copy()
    atoms.info.clear()
    return atoms
