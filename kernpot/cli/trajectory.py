"""Frames at the end of a file: appended, read again, and cut back to the last whole one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write

from kernpot.cli.simulation import Place
from kernpot.dynamics.schedule import OF_THE_CELL
from kernpot.errors import KernpotError
from kernpot.structures.regular import require_readable


def append(path: Path, frames: Atoms | Sequence[Atoms]) -> None:
    """Append frames to an extended-XYZ file."""
    write(path, frames, format="extxyz", append=True)


class GateFrames:
    """The structures around events of a gate, each written once, as soon as it is there.

    Parameters
    ----------
    path : Path
        What is there already is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        there = path.exists() and path.stat().st_size > 0
        self._known: list[Atoms] = list(read(path, ":", format="extxyz")) if there else []

    def add(self, frames: Sequence[Atoms]) -> None:
        """Append those that are not in the file yet: a resumed run meets its first structure again."""
        new = [frame for frame in frames if not any(_same(frame, known) for known in self._known)]
        if new:
            append(self.path, new)
            self._known += new


def _same(frame: Atoms, other: Atoms) -> bool:
    same_step = frame.info.get("step") == other.info.get("step") and len(frame) == len(other)
    # To the digits of the file.
    return same_step and np.allclose(frame.positions, other.positions, rtol=0.0, atol=2e-8)


def cut_to_whole_frames(path: Path) -> int:
    """Remove what a process that was killed has left unfinished at the end of a trajectory.

    Returns
    -------
    int
        Bytes removed.

    Raises
    ------
    KernpotError
        Something else than an unfinished frame is there: the file is then as it was.
    """
    require_readable(path, KernpotError)
    end = 0
    with path.open("rb") as file:
        while (count := file.readline()).endswith(b"\n"):
            if not count.strip().isdigit():
                raise KernpotError(
                    f"{path} is no trajectory of kernpot md to go on from, or damaged: expected a number of atoms "
                    f"after {end} bytes, got {count[:40].decode(errors='replace').strip()!r}"
                )
            if sum(line.endswith(b"\n") for line in islice(file, int(count) + 1)) < int(count) + 1:
                break
            end = file.tell()
    surplus = path.stat().st_size - end
    if end == 0:
        raise KernpotError(f"{path} has no whole frame to go on from; start anew, with --force to replace it")
    if surplus:
        os.truncate(path, end)
    return surplus


def last_frame(path: Path) -> tuple[Atoms, Place]:
    """The last frame of a trajectory, with its momenta, and which it is.

    Raises
    ------
    KernpotError
        It is none to go on from.
    """
    try:
        atoms: Any = read(path, -1, format="extxyz")
        step = int(atoms.info["step"])
    except Exception as error:  # readers raise anything
        raise KernpotError(f"{path} is no trajectory of kernpot md to go on from ({error!r})") from None
    if "momenta" not in atoms.arrays:
        raise KernpotError(
            f"{path}: its last frame has no momenta to go on with; start anew from it as a first structure"
        )
    memory = {name: float(atoms.info[name]) for name in OF_THE_CELL if name in atoms.info}
    return bare(atoms), Place(step, memory)


def bare(atoms: Atoms) -> Atoms:
    """A structure without what was said of it."""
    atoms = atoms.copy()
    atoms.info.clear()  # what was said of the first frame does not hold for the others
    for name in set(atoms.arrays) - {"numbers", "positions", "momenta", "masses", "tags"}:
        del atoms.arrays[name]
    return atoms
