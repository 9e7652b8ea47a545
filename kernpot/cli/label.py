"""`kernpot label`: frames in, training frames out."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms
from pydantic import ValidationError

from kernpot.cli.backends import parsed_settings
from kernpot.cli.config.build import make_oracle, with_absolute_paths
from kernpot.cli.config.schema import OracleConfig
from kernpot.cli.console import console, errors, progress_bars, shown
from kernpot.cli.frames import write_frames
from kernpot.cli.options import new_file
from kernpot.dynamics.frame_labels import label_frames
from kernpot.dynamics.frames import without_prediction
from kernpot.dynamics.oracles import Labels, OracleFailure, labelled
from kernpot.dynamics.run_directory import RunDirectory
from kernpot.errors import KernpotError, OraclePending
from kernpot.structures import read_structures

WAITING = 4
_ORACLE = "Who computes"


def label(
    frames: Annotated[list[Path], typer.Argument(help="Files with structures to label.", show_default=False)],
    oracle: Annotated[
        str,
        typer.Option(
            "--oracle",
            "--calculator",
            help="tblite, pyscf, espresso, another calculator's name in ASE (emt, vasp, orca, ...), or files.",
            show_default=False,
            rich_help_panel=_ORACLE,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [dim]FRAMES_labelled.xyz[/]")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the calculator, as in ASE; repeat for more.",
            show_default=False,
            rich_help_panel=_ORACLE,
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Calculations at a time, each in a process.", rich_help_panel=_ORACLE)
    ] = 1,
    timeout: Annotated[
        float | None,
        typer.Option(min=1e-3, help="Seconds after which one has failed.", show_default=False, rich_help_panel=_ORACLE),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, help="How often one that failed is tried again.", rich_help_panel=_ORACLE)
    ] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file of labels.")] = False,
) -> None:
    """Label structures with a quantum code: what a gate stopped at becomes training data.

    Energies, forces and, of crystals, stress take the place of whatever the
    frames carried; what a potential had predicted of them is left out.
    Labels are kept in OUTPUT.labels as they come: after Ctrl-C, a crash or
    kill -9 the same command goes on, and loses what was being computed.

    [bold]Examples[/]

      kernpot label md_gate.xyz --oracle tblite --set method=GFN2-xTB --workers 4

      kernpot label md_gate.xyz --oracle espresso --set pseudo_dir=./pseudo
        --set "pseudopotentials={Si: Si.upf}" --set "input_data={ecutwfc: 30}"

      kernpot label md_gate.xyz --oracle files    [dim]inputs into folders, for a queue[/]

    [dim]Exit codes: 0 all are labelled, 1 an error, or some could not be, 4 waiting for labels that somebody else
    computes (the same command goes on).[/]
    """
    target = output or frames[0].with_name(f"{frames[0].name.removesuffix('.gz').rsplit('.', 1)[0]}_labelled.xyz")
    new_file(target, force, frames)
    folder = target.with_name(f"{target.name}.labels")
    # What cannot compute is refused before anything is read or written.
    chosen = make_oracle(_config(oracle, settings or (), workers, timeout, retries), folder)
    structures = read_structures(frames)
    console.print(f"{len(structures)} structures to label, {sum(map(len, structures))} atoms")
    try:
        with progress_bars("Labels") as report:
            answers = label_frames(structures, chosen, RunDirectory(folder), report)
    except OraclePending as pending:
        console.print(str(pending), markup=False, soft_wrap=True)
        raise typer.Exit(WAITING) from None
    except KeyboardInterrupt:
        errors.print(f"labels are kept in {folder}: the same command goes on from there", markup=False, soft_wrap=True)
        raise
    _conclude(structures, answers, target, folder)


def _config(kind: str, settings: Sequence[str], workers: int, timeout: float | None, retries: int) -> OracleConfig:
    given = with_absolute_paths(parsed_settings(settings), Path.cwd())
    try:
        return OracleConfig(kind=kind, settings=given, workers=workers, timeout=timeout, retries=retries)
    except ValidationError as error:
        raise KernpotError(f"--oracle: expected a name, got {kind!r} ({error.error_count()} mistake)") from None


def _conclude(
    structures: Sequence[Atoms], answers: Sequence[Labels | OracleFailure], target: Path, folder: Path
) -> None:
    """Write what was labelled, and say what was not."""
    found = [
        labelled(without_prediction(atoms), answer)
        for atoms, answer in zip(structures, answers, strict=True)
        if isinstance(answer, Labels)
    ]
    reasons = Counter(answer.reason for answer in answers if isinstance(answer, OracleFailure))
    if found:
        write_frames(target, found)
        stresses = sum(frame.calc.results.get("stress") is not None for frame in found)
        console.print(
            f"wrote [bold]{shown(target)}[/]: {len(found)} structures with energies and forces, {stresses} with stress",
            soft_wrap=True,
        )
    if reasons:
        reason, count = reasons.most_common(1)[0]
        raise KernpotError(
            f"{reasons.total()} of {len(answers)} structures could not be labelled; of {count} the reason is: "
            f"{reason}. The others are kept in {folder}: the same command{' with --force' if found else ''} tries "
            "those that failed again"
        )
    shutil.rmtree(folder)
    console.print(f"[dim]next: kernpot add MODEL {shown(target)}[/]", soft_wrap=True)
