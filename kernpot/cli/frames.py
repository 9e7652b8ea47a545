"""Frames that commands write: extended XYZ with labels under the names that kernpot reads, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from ase import Atoms
from ase.io import write

from kernpot.dynamics.run_directory import write_atomically


def write_frames(path: Path, frames: Iterable[Atoms]) -> None:
    """Write frames with the results of their calculators; where they were read from is not written.

    Raises
    ------
    RunDirectoryError
        When the disk refuses the file; an old one is then as it was.
    """
    text = StringIO()
    for atoms in frames:
        frame = atoms.copy()
        frame.calc = atoms.calc
        frame.info.pop("source", None)
        write(text, frame, format="extxyz")
    write_atomically(path, text.getvalue())
