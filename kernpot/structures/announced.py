"""What the frames of an xyz file announce, against what the file holds: seen before any room is made for it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from ase.io.formats import open_with_compression

from kernpot.errors import StructureError

# Digits of a count that no file can keep what it says.
_TOO_LONG = 12


def require_announced(path: Path) -> None:
    """Refuse a file with a frame that announces more atoms than lines follow, and one that is no text.

    Parameters
    ----------
    path : Path
        An xyz or extxyz file, compressed or not.

    Raises
    ------
    StructureError
        Naming the frame, or saying that the file is no text.
    """
    with open_with_compression(str(path), "rb") as file:
        if b"\0" in file.read(4096):
            raise StructureError(f"{path}: expected a text file, got one with zero bytes; is it the right file?")
        file.seek(0)
        frame = 0
        while (count := file.readline(4096).strip()).isdigit():
            n_atoms = int(count) if len(count) <= _TOO_LONG else 10**_TOO_LONG
            lines = sum(1 for _ in islice(file, n_atoms + 1))
            if lines < n_atoms + 1:
                raise StructureError(
                    f"{path}#{frame}: cannot be read, it announces {count[:20].decode()} atoms, but lines of "
                    f"{max(lines - 1, 0)} follow; the file is cut short or damaged: copy it again from its source."
                )
            frame += 1
