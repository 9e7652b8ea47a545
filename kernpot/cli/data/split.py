"""`kernpot data split`: files to learn from, to validate and to test with."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from ase import Atoms
from ase.data import chemical_symbols

from kernpot.cli.console import console, errors, progress_bars, shown
from kernpot.cli.data.select import chosen_by
from kernpot.cli.frames import write_frames
from kernpot.cli.options import EnergyKey, ForcesKey, Seed, StressKey, new_file
from kernpot.comparison.parts import TRAIN, UNITS, deal_out, with_copies
from kernpot.errors import KernpotError
from kernpot.structures import read_structures
from kernpot.structures.reference import is_alone

_TEST, _VALIDATION = "test", "validation"


class By(StrEnum):
    """What stays together."""

    trajectory = "trajectory"
    piece = "piece"
    group = "group"
    file = "file"
    random = "random"
    optimal = "optimal"


_PLURAL = {By.trajectory: "trajectories", By.piece: "pieces of trajectories", By.group: "groups", By.file: "files"}


def split(
    files: Annotated[list[Path], typer.Argument(help="Files with labelled structures.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for train.xyz, test.xyz.")] = Path("split"),
    by: Annotated[By, typer.Option(help="What stays together; optimal: train is a D-optimal choice.")] = By.trajectory,
    test: Annotated[float, typer.Option(min=0.001, max=0.99, help="Share of the structures to test with.")] = 0.2,
    validation: Annotated[float, typer.Option(min=0, max=0.9, help="Share for a third file, validation.xyz.")] = 0.0,
    key: Annotated[
        str | None,
        typer.Option(
            help="Name in info that tells trajectories or groups apart. [dim]trajectory, config_type[/]",
            show_default=False,
        ),
    ] = None,
    energy_key: EnergyKey = None,
    forces_key: ForcesKey = None,
    stress_key: StressKey = None,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Part structures into files to learn from and to test with.

    Neighbouring frames of a trajectory are nearly copies of one another: a
    test on frames between those learnt says little. By trajectory, whole
    trajectories are held out, those named in info or those found (consecutive
    frames of the same atoms that stay near one another). By piece, tenths of
    trajectories are. By group, whole config_types are: how wrong is the model
    on what it has never seen? By file, whole files. At random, single
    structures. Optimal: train is what would teach most together.

    Exact copies are never parted, isolated atoms are always learnt, and but
    for --by group and file every config_type is in train.

    [bold]Examples[/]

      kernpot data split all.xyz -o split --test 0.2

      kernpot data split all.xyz --by group --key source_run --validation 0.1
    """
    if test + validation >= 1:
        raise typer.BadParameter(
            f"with --validation {validation:g} nothing is left to learn from; together they must stay below 1",
            param_hint="--test",
        )
    if key is not None and by not in (By.trajectory, By.group):
        raise typer.BadParameter(f"names trajectories or groups, got --by {by.value}", param_hint="--key")
    shares = {_TEST: test} | ({_VALIDATION: validation} if validation else {})
    output.mkdir(parents=True, exist_ok=True)
    targets = {part: new_file(output / f"{part}.xyz", force, files) for part in (TRAIN, *shares)}
    structures = read_structures(files, energy_key, forces_key, stress_key)
    if by is By.optimal:
        found = _optimal(structures, shares, seed)
    else:
        units = UNITS[by.value](structures, key)
        if by is not By.random:
            sizes = np.unique(units, return_counts=True)[1]
            console.print(
                f"{len(structures)} structures: {int((sizes > 1).sum())} {_PLURAL[by]} of several, "
                f"{int((sizes == 1).sum())} alone"
            )
        found = deal_out(structures, units, shares, seed, every_group=by not in (By.group, By.file))
    _warn_of_unknown_elements(structures, found)
    for part, members in found.items():
        write_frames(targets[part], [structures[k] for k in members])
        console.print(f"wrote [bold]{shown(targets[part])}[/]: {len(members)} structures", soft_wrap=True)


def _optimal(structures: Sequence[Atoms], shares: dict[str, float], seed: int) -> dict[str, list[int]]:
    """D-optimal structures to learn from, with their copies and isolated atoms; the others by chance."""
    whole = with_copies(structures, np.arange(len(structures)))
    free = [k for k in np.unique(whole).tolist() if not is_alone(structures[k])]
    n_learnt = max(1, round((1 - sum(shares.values())) * len(free)))
    with progress_bars("Describing") as report:
        chosen = chosen_by(None, [structures[k] for k in free], n_learnt, 0.0, seed, report)
    learnt = {free[k] for k in chosen.indices.tolist()}
    rest = np.random.default_rng(seed).permutation([k for k in free if k not in learnt]).tolist()
    n_test = round(len(rest) * shares[_TEST] / sum(shares.values()))
    part_of = {k: _TEST if place < n_test else _VALIDATION for place, k in enumerate(rest)}
    found: dict[str, list[int]] = {part: [] for part in (TRAIN, *shares)}
    for k, first in enumerate(whole.tolist()):
        found[part_of.get(first, TRAIN)].append(k)
    if empty := [part for part, members in found.items() if not members]:
        raise KernpotError(f"no structure is left for {empty[0]}: {len(free)} different ones are too few")
    return found


def _warn_of_unknown_elements(structures: Sequence[Atoms], found: dict[str, list[int]]) -> None:
    known = {int(z) for k in found[TRAIN] for z in structures[k].numbers}
    for part, members in found.items():
        foreign = {int(z) for k in members for z in structures[k].numbers} - known
        if foreign:
            names = ", ".join(chemical_symbols[z] for z in sorted(foreign))
            errors.print(
                f"[bold yellow]warning:[/] {part} holds {names}, which train does not: no model of it can answer"
            )
