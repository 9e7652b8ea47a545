"""`kernpot fit`: from labelled structures to a model file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms
from dscribe.descriptors import SOAP

from kernpot.cli.console import console, print_sections, progress_bars
from kernpot.cli.options import EnergyKey, ForcesKey, Seed, StressKey, new_file
from kernpot.descriptors import default_descriptor
from kernpot.descriptors.serial import soap_arguments
from kernpot.errors import DescriptorError
from kernpot.gp.estimator import SparseGPPotential
from kernpot.kernels import SOAPKernel
from kernpot.report.provenance import describe_model
from kernpot.storage import read_model
from kernpot.structures import read_structures

_PANEL = "Model"


class Inducing(StrEnum):
    """How inducing environments are chosen."""

    fps = "fps"
    cur = "cur"
    leverage = "leverage"
    random = "random"


def fit(
    train: Annotated[list[Path], typer.Argument(help="Files with labelled structures.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")] = Path("model.kernpot"),
    n_inducing: Annotated[
        int,
        typer.Option(min=1, help="Inducing environments: more are more accurate and slower.", rich_help_panel=_PANEL),
    ] = 1000,
    cutoff: Annotated[
        float | None,
        typer.Option(min=1.1, max=20, help="Radius of an environment, Å. [dim]By element[/]", rich_help_panel=_PANEL),
    ] = None,
    n_max: Annotated[
        int | None,
        typer.Option(min=1, max=20, help="Radial functions of SOAP. [dim]By element[/]", rich_help_panel=_PANEL),
    ] = None,
    l_max: Annotated[
        int | None,
        typer.Option(min=0, max=20, help="Angular momenta of SOAP. [dim]By element[/]", rich_help_panel=_PANEL),
    ] = None,
    zeta: Annotated[int, typer.Option(min=1, max=20, help="Power of the kernel.", rich_help_panel=_PANEL)] = 2,
    inducing: Annotated[
        Inducing, typer.Option(help="How inducing environments are chosen.", rich_help_panel=_PANEL)
    ] = Inducing.fps,
    n_components: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Directions that inducing environments lie in: fewer are faster. [dim]All[/]",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    seed: Seed = 0,
    n_jobs: Annotated[int, typer.Option(min=-1, help="Processes for the training rows; -1 takes all cores.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing model file.")] = False,
) -> None:
    """Fit a potential to labelled structures and write a model file.

    Structures may lack forces or stress, may be periodic or not, and may
    mix elements. Noise levels and amplitudes are found by maximum evidence:
    nothing has to be tuned by hand. Bad input is refused before the work
    starts, with the name of the file and the number of the frame.

    [bold]Examples[/]

      kernpot fit train.xyz -o si.kernpot

      kernpot fit bulk.xyz surfaces.xyz.gz OUTCAR --n-inducing 2000 --n-jobs 4

      kernpot fit train.xyz --energy-key REF_energy --forces-key REF_forces
    """
    started = time.perf_counter()
    if n_jobs == 0:
        raise typer.BadParameter("0 processes cannot work; give 1 or more, or -1 for all cores", param_hint="--n-jobs")
    new_file(output, force, train)
    structures = read_structures(train, energy_key, forces_key, stress_key)
    console.print(f"{len(structures)} structures, {sum(map(len, structures))} atoms from {len(train)} file(s)")
    with progress_bars("Checking, choosing environments", "Hyperparameters") as report:
        potential = SparseGPPotential(
            descriptor=descriptor_for(structures, cutoff, n_max, l_max),
            n_inducing=n_inducing,
            kernel=SOAPKernel(zeta=zeta),
            inducing=inducing.value,
            n_components=n_components,
            n_jobs=n_jobs,
            random_state=seed,
            progress=report,
        ).fit(structures)
    potential.save(output)
    sections = describe_model(read_model(output)[0])
    print_sections([section for section in sections if section[0] in ("Model", "Hyperparameters")])
    seconds = time.perf_counter() - started
    console.print(f"wrote [bold]{output}[/] ({output.stat().st_size / 1e6:.1f} MB) after {seconds:.1f} s")
    console.print(f"[dim]next: kernpot evaluate {output} TEST.xyz --report report/[/]")


def descriptor_for(
    structures: Sequence[Atoms], cutoff: float | None, n_max: int | None, l_max: int | None
) -> SOAP | None:
    """The default descriptor of the elements present, with what the user wants different."""
    if cutoff is None and n_max is None and l_max is None:
        return None
    arguments = soap_arguments(default_descriptor({int(z) for atoms in structures for z in atoms.numbers}))
    arguments["n_max"] = arguments["n_max"] if n_max is None else n_max
    arguments["l_max"] = arguments["l_max"] if l_max is None else l_max
    if cutoff is not None:
        arguments["r_cut"] = cutoff
        arguments["weighting"] = {**arguments["weighting"], "r0": cutoff}
    try:
        return SOAP(**arguments)
    except ValueError as error:
        raise DescriptorError(f"DScribe refuses the descriptor: {error}; change --cutoff, --n-max or --l-max") from None
