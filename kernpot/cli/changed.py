"""Models that a command changes: where the changed one goes, and whether what it is to learn is new."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms

from kernpot.cli.options import new_file
from kernpot.errors import KernpotError
from kernpot.files.container import read_model
from kernpot.files.training import training_in
from kernpot.structures.identity import identity

ChangedModel = Annotated[Path | None, typer.Option("--output", "-o", help="Model file to write.", show_default=False)]
Replace = Annotated[
    bool, typer.Option("--force", help="Replace an existing model file; without --output, MODEL itself.")
]


def changed_file(model: Path, output: Path | None, force: bool, inputs: Sequence[Path]) -> Path:
    """The file of the changed model: `output`, or with --force the model itself.

    Raises
    ------
    KernpotError
        It cannot be written, or would replace a file that is not to be replaced.
    """
    if output is None and not force:
        raise KernpotError(
            f"the changed model needs a file: give its name with --output, or replace {model} with --force"
        )
    return new_file(output or model, force, inputs)


def not_learnt_yet(model: Path, structures: Sequence[Atoms]) -> list[Atoms]:
    """Those that the model's file does not hold as training structures: learnt twice, a label would count twice."""
    training = training_in(*read_model(model))
    known = {identity(structure.atoms) for structure in training or ()}
    return [atoms for atoms in structures if identity(atoms) not in known]
