"""Where dynamics begins: a structure with momenta drawn for it, or the last frame of a trajectory that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from kernpot.cli.console import errors, shown
from kernpot.cli.error_bars import with_error_bars
from kernpot.cli.md_run import MdRun, run_file
from kernpot.cli.options import new_file
from kernpot.cli.simulation import Place
from kernpot.cli.trajectory import bare, cut_to_whole_frames, last_frame
from kernpot.errors import KernpotError
from kernpot.files.container import load
from kernpot.potential import Potential
from kernpot.structures import read_structures


def thermalise(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Give the atoms momenta drawn from the Maxwell-Boltzmann distribution at `temperature` (K)."""
    thermal = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(thermal[:, None] * rng.standard_normal((len(atoms), 3)))


def read_start(path: Path, index: int) -> Atoms:
    """One structure of a file, without what was said of it."""
    structures = read_structures(path)
    try:
        atoms = structures[index]
    except IndexError:
        raise KernpotError(f"{path} has {len(structures)} structure(s), there is no number {index}") from None
    return bare(atoms)


def taken_up(model: Path, output: Path, around: Path, given: dict[str, Any]) -> tuple[MdRun, Potential, Atoms, Place]:
    """The run that a trajectory is of, its model, and where it is; nothing is touched before all of that fits."""
    if not output.is_file():
        raise KernpotError(f"{output}: no such file; --resume goes on from the last frame of the trajectory --output")
    run = MdRun.read(output)
    steps = given.pop("steps", run.settings.steps)
    run.require_same(given, model)
    for path in (output, around, run_file(output)):
        new_file(path, force=True, inputs=[model])
    potential = with_error_bars(load(model), run.settings.error_bars)
    for path in (output, around):
        if path.is_file() and (surplus := cut_to_whole_frames(path)):
            errors.print(
                f"{shown(path)}: cut back to its last whole frame ({surplus} bytes of an unfinished one removed)"
            )
    atoms, place = last_frame(output)
    run.constrain(atoms)
    return run.up_to(steps), potential, atoms, place
