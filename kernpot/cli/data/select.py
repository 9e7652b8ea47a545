"""`kernpot data select`: the structures whose labels would teach most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from ase import Atoms

from kernpot.cli.console import console, progress_bars, shown
from kernpot.cli.frames import write_frames
from kernpot.cli.options import Seed, new_file
from kernpot.files.container import load
from kernpot.gp.estimator import SparseGPPotential
from kernpot.potential import Chosen, Potential
from kernpot.progress import Report
from kernpot.structures import read_structures

# Enough to tell structures apart; labels do not play a part.
_N_INDUCING = 300


def select(
    files: Annotated[list[Path], typer.Argument(help="Files with structures, labelled or not.", show_default=False)],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="How many.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("selected.xyz"),
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="What is known already. [dim]Nothing[/]", show_default=False),
    ] = None,
    rest: Annotated[Path | None, typer.Option(help="File for the structures not chosen.", show_default=False)] = None,
    random_part: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the choices that is drawn at random.")
    ] = 0.5,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Choose the structures whose labels would teach most together.

    A greedy D-optimal choice from geometries alone, with structures drawn at
    random in between; copies of one another and of what the model has learnt
    are not chosen. Labels that the structures have are kept, not looked at.

    [bold]Examples[/]

      kernpot data select candidates.xyz -n 50 -o to_label.xyz

      kernpot data select md_gate.xyz -n 5 --model si.kernpot -o to_label.xyz
    """
    inputs = [*files, *([] if model is None else [model])]
    new_file(output, force, inputs)
    if rest is not None:
        new_file(rest, force, [*inputs, output])
    potential = None if model is None else load(model)
    structures = read_structures(files)
    with progress_bars("Describing") as report:
        chosen = chosen_by(potential, structures, number, random_part, seed, report)
    taken = chosen.indices.tolist()
    write_frames(output, [structures[k] for k in taken])
    drawn = int(chosen.random.sum())
    console.print(
        f"wrote [bold]{shown(output)}[/]: {len(taken)} of {len(structures)} structures, {drawn} of them at random",
        soft_wrap=True,
    )
    if rest is not None:
        left = sorted(set(range(len(structures))) - set(taken))
        write_frames(rest, [structures[k] for k in left])
        console.print(f"wrote [bold]{shown(rest)}[/]: {len(left)} structures", soft_wrap=True)


def chosen_by(
    potential: Potential | None, structures: Sequence[Atoms], k: int, random_part: float, seed: int, report: Report
) -> Chosen:
    """The choice of a potential, or where there is none of a Gaussian process that knows nothing yet."""
    chooser = SparseGPPotential(n_inducing=_N_INDUCING) if potential is None else potential
    told = {"random_state": seed, "progress": report}
    chooser.set_params(**{name: value for name, value in told.items() if name in chooser.get_params(deep=False)})
    return chooser.select(structures, k, random_part)
