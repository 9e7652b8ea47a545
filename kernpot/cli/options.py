"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.errors import KernpotError

Model = Annotated[Path, typer.Argument(help="A model file, e.g. si.kernpot.", show_default=False)]
EnergyKey = Annotated[
    str | None, typer.Option(help="Name of the energy in the files, e.g. REF_energy.", rich_help_panel="Labels")
]
ForcesKey = Annotated[
    str | None, typer.Option(help="Name of the forces in the files, e.g. REF_forces.", rich_help_panel="Labels")
]
StressKey = Annotated[
    str | None, typer.Option(help="Name of the stress or virial in the files.", rich_help_panel="Labels")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice: same input, same seed, same result.")]


def new_file(path: Path, force: bool) -> Path:
    """Refuse, before work starts, a result file that could not be written or would replace another."""
    if path.is_dir():
        raise KernpotError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise KernpotError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    if path.exists() and not force:
        raise KernpotError(f"{path} exists; choose another name with --output, or replace it with --force")
    return path


def new_folder(path: Path) -> Path:
    """Create a folder for results (files inside it may be replaced)."""
    if path.exists() and not path.is_dir():
        raise KernpotError(f"{path} is a file; give a folder for the results")
    path.mkdir(parents=True, exist_ok=True)
    return path
