"""Options that several commands share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from kernpot.errors import KernpotError
from kernpot.files.writing import destination

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
# What every library takes that draws random numbers.
LARGEST_SEED = 2**32 - 1
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of every random choice: same input, same seed, same result.")
]


def new_file(path: Path, force: bool, inputs: Iterable[Path] = ()) -> Path:
    """Refuse, before work starts, a result file that could not be written, would replace another, or is an input."""
    if path.name in ("", "-"):
        raise KernpotError(f"expected the name of a file to write, got {str(path)!r}")
    target = destination(path)
    if not path.parent.is_dir():
        raise KernpotError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    if any(_same(path, given) for given in inputs):
        raise KernpotError(f"{path} would be replaced, but it is an input of this command; choose another --output")
    if path.exists() and not force:
        raise KernpotError(f"{path} exists; choose another name with --output, or replace it with --force")
    _require_writable(target.parent)
    return path


def new_folder(path: Path) -> Path:
    """Create a folder for results (files inside it may be replaced)."""
    if path.exists() and not path.is_dir():
        raise KernpotError(f"{path} is a file; give a folder for the results")
    path.mkdir(parents=True, exist_ok=True)
    _require_writable(path)
    return path


def _same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return os.path.realpath(path) == os.path.realpath(other)  # unlike resolve, lets links lead round in circles


def _require_writable(folder: Path) -> None:
    """Try it: permissions do not tell of full, read-only and virtual file systems."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".kernpot."):
            pass
    except OSError as error:
        raise KernpotError(
            f"the folder {folder} cannot be written to ({error.strerror}); choose another with --output"
        ) from None
