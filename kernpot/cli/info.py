"""`kernpot info`: what a model file holds, or what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.cli.console import print_sections
from kernpot.files.container import read_model, require_model
from kernpot.report.installation import describe_installation
from kernpot.report.provenance import describe_model


def info(
    model: Annotated[
        Path | None, typer.Argument(help="A model file, e.g. si.kernpot; without one: what is installed.")
    ] = None,
) -> None:
    """Show what a model is, what it learnt from, and with what it was made.

    The file's checksum is verified on the way. Without a model: the versions
    of kernpot and of all it stands on, which a report of a bug should hold.

    [bold]Example[/]

      kernpot info si.kernpot
      kernpot info
    """
    if model is None:
        print_sections(describe_installation())
        return
    header, _ = read_model(model)
    require_model(model, header)
    print_sections(describe_model(header))
