"""`kernpot info`: what a model file holds, or what is installed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from kernpot.cli.console import print_sections
from kernpot.errors import NotInFileError
from kernpot.files.container import read_model, require_model, restored
from kernpot.files.parts import reading
from kernpot.report.installation import describe_installation
from kernpot.report.provenance import describe_model


def info(
    model: Annotated[
        Path | None, typer.Argument(help="A model file, e.g. si.kernpot; without one: what is installed.")
    ] = None,
) -> None:
    """Show what a model is, what it learnt from, and with what it was made.

    The file's checksum is verified on the way, and that the model can be
    used. Without a model: the versions
    of kernpot and of all it stands on, which a report of a bug should hold.

    [bold]Example[/]

      kernpot info si.kernpot
      kernpot info
    """
    if model is None:
        print_sections(describe_installation())
        return
    header, tensors = read_model(model)
    require_model(model, header)
    with suppress(NotInFileError):  # the rest of what no file holds cannot be checked, nor does it need to be
        restored(header, tensors)
    with reading("header"):
        sections = describe_model(header)
    print_sections(sections)
