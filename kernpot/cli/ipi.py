"""`kernpot ipi`: answer i-PI at its socket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kernpot.cli.options import Model, Seed
from kernpot.engines.ipi import run_client


def ipi(
    model: Model,
    template: Annotated[Path, typer.Argument(help="File with the atoms in i-PI's order.", show_default=False)],
    address: Annotated[str, typer.Option(help="Host, or the name of a unix socket.")] = "localhost",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; without one, a unix socket.", show_default=False)
    ] = None,
    committee: Annotated[
        int, typer.Option(min=0, max=100_000, help="Draws that i-PI gets as a committee; 0: none.")
    ] = 0,
    committee_forces: Annotated[bool, typer.Option("--committee-forces", help="Their forces, too.")] = False,
    seed: Seed = 0,
) -> None:
    """Give i-PI energies, forces and virials until its run is over.

    i-PI's input has <ffsocket mode='unix'> <address>kernpot</address> ... :

      i-pi input.xml &

      kernpot ipi water.kernpot water.xyz --address kernpot --committee 16

    Start it several times to work on several beads at once. Without a socket, in i-PI's own process, see the docs.
    """
    run_client(model, template, address, port, committee, committee_forces, seed)
