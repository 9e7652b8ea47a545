"""`kernpot info`: what a model file holds."""

from __future__ import annotations

from kernpot.cli.console import print_sections
from kernpot.cli.options import Model
from kernpot.files.container import read_model, require_model
from kernpot.report.provenance import describe_model


def info(model: Model) -> None:
    """Show what a model is, what it learnt from, and with what it was made.

    The file's checksum is verified on the way.

    [bold]Example[/]

      kernpot info si.kernpot
    """
    header, _ = read_model(model)
    require_model(model, header)
    print_sections(describe_model(header))
