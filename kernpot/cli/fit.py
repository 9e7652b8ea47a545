"""`kernpot fit`: from labelled structures to a model file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from ase import Atoms

from kernpot.cli.backends import GP, NNP, fitting, parsed_settings, unfitted
from kernpot.cli.config.flags import files_or_settings
from kernpot.cli.console import console, errors, print_findings, print_sections, progress_bars, shown
from kernpot.cli.descriptor import descriptor_for
from kernpot.cli.options import EnergyKey, ForcesKey, Seed, StressKey, new_file
from kernpot.cli.scheduler import on_cluster
from kernpot.cli.tuning import require_tunable, tuned
from kernpot.files.container import read_model
from kernpot.gp.estimator import SparseGPPotential
from kernpot.kernels import SOAPKernel
from kernpot.potential import Potential
from kernpot.properties.contacts import pressed_contacts
from kernpot.report.findings import Finding
from kernpot.report.fit_findings import contact_findings, inducing_finding
from kernpot.report.provenance import LEFT_OUT, describe_model, files_rows
from kernpot.structures import read_structures
from kernpot.structures.counts import count_by_file
from kernpot.structures.labels import source_of

_PANEL, _GP, _NNP = "Model", "Gaussian process", "Networks"


class Uncertainty(StrEnum):
    """Where the error bars of networks come from."""

    ensemble = "ensemble"
    shallow = "shallow"
    last_layer = "last_layer"


class Inducing(StrEnum):
    """How inducing environments are chosen."""

    auto = "auto"
    fps = "fps"
    cur = "cur"
    leverage = "leverage"
    random = "random"


def fit(
    train: Annotated[
        list[Path],
        typer.Argument(
            help="Files with labelled structures; or one YAML file that names them, and options.",
            show_default=False,
            is_eager=True,
            callback=files_or_settings,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")] = Path("model.kernpot"),
    backend: Annotated[
        str,
        typer.Option(
            help="gp, a sparse Gaussian process; nnp, an ensemble of neural networks; or that of an installed package.",
            rich_help_panel=_PANEL,
        ),
    ] = GP,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A parameter of a backend of another package; repeat for more.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
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
    n_inducing: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Inducing environments: more are more accurate and slower. [dim]As many as help, from 1000[/]",
            rich_help_panel=_GP,
        ),
    ] = None,
    zeta: Annotated[
        int | None, typer.Option(min=1, max=20, help="Power of the kernel. [dim]2[/]", rich_help_panel=_GP)
    ] = None,
    inducing: Annotated[
        Inducing | None,
        typer.Option(
            help="How inducing environments are chosen. [dim]auto: fps, or leverage where it is better[/]",
            rich_help_panel=_GP,
        ),
    ] = None,
    n_components: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Directions of the features that are used: fewer are faster. [dim]All; networks: 128[/]",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    n_members: Annotated[int | None, typer.Option(min=2, help="Networks. [dim]8[/]", rich_help_panel=_NNP)] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Widths of the hidden layers. [dim]32,32[/]", rich_help_panel=_NNP)
    ] = None,
    uncertainty: Annotated[
        Uncertainty | None, typer.Option(help="Source of the error bars. [dim]ensemble[/]", rich_help_panel=_NNP)
    ] = None,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data. [dim]100 or more[/]", rich_help_panel=_NNP)
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="File from which a training that was stopped goes on.", rich_help_panel=_NNP),
    ] = None,
    tune: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=100_000,
            metavar="MINUTES",
            help="Choose descriptor and number of inducing environments, within about so many minutes.",
            show_default=False,
            rich_help_panel=_GP,
        ),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    trust_labels: Annotated[
        bool,
        typer.Option(
            "--trust-labels", help="Fit labels that contradict one another, with a warning.", rich_help_panel="Labels"
        ),
    ] = False,
    seed: Seed = 0,
    n_jobs: Annotated[
        int | None,
        typer.Option(
            min=-1,
            max=10_000,
            help="Processes for the training rows; -1 takes all cores. [dim]1[/]",
            rich_help_panel=_GP,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Address of a Dask scheduler whose workers make the training rows, such as tcp://host:8786.",
            show_default=False,
            rich_help_panel=_GP,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing model file.")] = False,
) -> None:
    """Fit a potential to labelled structures and write a model file.

    Structures may lack forces or stress, may be periodic or not, and may
    mix elements. Noise levels and amplitudes are found by maximum evidence
    (networks: error bars by a part of the structures that is held out):
    nothing has to be tuned by hand; --tune also chooses the descriptor, by
    errors on structures left out. Bad input is refused before the work
    starts, with the name of the file and the number of the frame.

    [bold]Examples[/]

      kernpot fit train.xyz -o si.kernpot

      kernpot fit bulk.xyz surfaces.xyz.gz OUTCAR --n-inducing 2000 --n-jobs 4

      kernpot fit train.xyz --energy-key REF_energy --forces-key REF_forces

      kernpot fit train.xyz -o si.kernpot --tune 10    [dim]the same command goes on if it was stopped[/]

      kernpot fit train.xyz --backend nnp --checkpoint training.checkpoint

      kernpot fit fit.yaml    [dim]train: [a.xyz, b.xyz], n-inducing: 500, ...; options go before the file[/]
    """
    started = time.perf_counter()
    if n_jobs == 0:
        raise typer.BadParameter("0 processes cannot work; give 1 or more, or -1 for all cores", param_hint="--n-jobs")
    if scheduler is not None and (backend != GP or n_jobs is not None):
        raise typer.BadParameter(
            "a cluster makes the training rows of --backend gp, on all processes it has; leave --backend nnp "
            "and --n-jobs out",
            param_hint="--scheduler",
        )
    if tune is not None:
        require_tunable(
            backend,
            {"--n-inducing": n_inducing, "--cutoff": cutoff, "--n-max": n_max, "--l-max": l_max, "--zeta": zeta},
        )
    chosen = _given(backend, {
        GP: {
            "n_inducing": n_inducing,
            "kernel": None if zeta is None else SOAPKernel(zeta=zeta),
            "inducing": None if inducing is None else inducing.value,
            "n_jobs": n_jobs,
        },
        NNP: {
            "n_members": n_members,
            "hidden": None if hidden is None else _widths(hidden),
            "uncertainty": None if uncertainty is None else uncertainty.value,
            "max_epochs": max_epochs,
            "checkpoint": checkpoint,
        },
    })  # fmt: skip
    chosen |= {} if n_components is None else {"n_components": n_components}
    if settings:
        if backend in (GP, NNP):
            raise typer.BadParameter(
                f"is for backends of other packages, got --backend {backend}, which has options of its own",
                param_hint="--set",
            )
        chosen |= parsed_settings(settings)
    unfitted(backend, {}, chosen)  # what cannot be is refused before anything is read
    new_file(output, force, train)
    structures = read_structures(train, energy_key, forces_key, stress_key)
    console.print(f"{len(structures)} structures, {sum(map(len, structures))} atoms from {len(train)} file(s)")
    labels = [(a.info["source"], () if a.calc is None else a.calc.results) for a in structures]
    print_sections([("Structures with labels", files_rows(count_by_file(labels)))])
    descriptor = descriptor_for(structures, cutoff, n_max, l_max)
    shared: dict[str, Any] = {"descriptor": descriptor, "random_state": seed}
    shared |= {"trust_labels": True} if trust_labels else {}
    if tune is None:
        potential = _fitted(backend, shared, chosen, structures, scheduler, checkpoint)
    else:
        with on_cluster(scheduler):
            potential = tuned(unfitted(backend, shared, chosen), structures, tune, seed, output)
    potential.save(output)
    sections = describe_model(read_model(output)[0])
    print_sections([section for section in sections if section[0] in ("Model", "Hyperparameters", LEFT_OUT)])
    print_findings(_findings(potential, structures))
    seconds = time.perf_counter() - started
    console.print(f"wrote [bold]{shown(output)}[/] ({output.stat().st_size / 1e6:.1f} MB) after {seconds:.1f} s")
    console.print(f"[dim]next: kernpot evaluate {shown(output)} TEST.xyz --report report/[/]")


def _fitted(
    backend: str,
    shared: Mapping[str, Any],
    chosen: Mapping[str, Any],
    structures: Sequence[Atoms],
    scheduler: str | None,
    checkpoint: Path | None,
) -> Any:
    """One fit, with bars."""
    with progress_bars("Checking, choosing environments", "Hyperparameters") as report:
        try:
            with on_cluster(scheduler), fitting(backend):
                return unfitted(backend, {**shared, "progress": report}, chosen).fit(structures)
        except KeyboardInterrupt:
            if checkpoint is not None and checkpoint.exists():
                errors.print(f"the training is kept in {checkpoint}: the same command goes on from there", markup=False)
            raise


def _findings(potential: Potential, structures: Sequence[Atoms]) -> list[Finding]:
    """What the fit says of itself."""
    sources = [source_of(atoms, k) for k, atoms in enumerate(structures)]
    found = contact_findings(pressed_contacts(potential, structures, sources))
    if isinstance(potential, SparseGPPotential):
        inducing = inducing_finding(potential.summary_, potential.n_inducing_)
        found += [] if inducing is None else [inducing]
    return sorted(found, key=lambda finding: finding.verdict != "warning")


def _given(backend: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Options of a backend that were given; those of another are refused, as they would do nothing."""
    for other, values in options.items():
        foreign = [name for name, value in values.items() if value is not None]
        if other != backend and foreign:
            names = ", ".join("--" + {"kernel": "zeta"}.get(name, name).replace("_", "-") for name in foreign)
            raise typer.BadParameter(
                f"belongs to --backend {other}, got --backend {backend}; leave it out", param_hint=names
            )
    return {name: value for name, value in options.get(backend, {}).items() if value is not None}


def _widths(text: str) -> tuple[int, ...]:
    """Widths of layers from ``"32,32"``."""
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if not widths or min(widths) < 1:
        raise typer.BadParameter(f"expected widths such as 32,32, got {text!r}", param_hint="--hidden")
    return widths
