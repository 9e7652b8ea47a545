"""Reading extended-xyz files, plain or compressed, in the dialects of all programs that write them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from ase import Atoms
from ase.io import iread
from ase.io.formats import open_with_compression

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.endings import require_whole_end
from kernpot.structures.header import readable_header

_OF_FORCES = 3


class _Frames(NamedTuple):
    headers: list[int]
    """Lines that are headers of frames."""
    bad: bool
    """Whether something other than a number of atoms follows the last of them where ASE looks for one."""


def read_extxyz(path: Path) -> list[Atoms]:
    """Frames of a file, with what ASE makes of their headers once they are in its words.

    Raises
    ------
    StructureError
        A frame cannot be read, its header cannot be understood, or the file is cut short.
    """
    # ASE's reader seeks back after every frame, which in a compressed file means unpacking it from the start each time
    with open_with_compression(str(path), "r") as file:
        text = file.read()
    require_whole_end(text, str(path))
    lines = text.split("\n")
    found = _find_frames(lines)
    for number, at in enumerate(found.headers):
        lines[at] = readable_header(lines[at], f"{path}#{number}")
    _warn_of_unnamed_columns(path, lines, found.headers)
    frames: list[Atoms] = []
    # readers raise anything from AssertionError to zlib.error, so nothing narrower would do
    try:
        frames.extend(iread(StringIO("\n".join(lines)), index=":", format="extxyz", parallel=False))
    except Exception as error:
        # ASE looks for all headers before it reads a frame; without a single one this is no extxyz file at all
        number = len(found.headers) if not frames and found.bad else len(frames)
        raise unreadable(f"{path}#{number}" if found.headers else str(path), error) from error
    _require_read_to_end(path, lines, frames)
    return frames


def unreadable(where: str, error: Exception) -> StructureError:
    """The error for a file or a frame that a reader gave up."""
    return StructureError(
        f"{where}: cannot be read as structures, the file is damaged, truncated or of a foreign format. The reader"
        f" says: {type(error).__name__}: {str(error).strip() or 'no reason given'}"
    )


def _find_frames(lines: list[str]) -> _Frames:
    headers: list[int] = []
    at = 0
    while at < len(lines) and lines[at].strip():
        try:
            n_atoms = int(lines[at])
        except ValueError:
            return _Frames(headers, bad=True)
        headers.append(at + 1)
        at += n_atoms + 2
        while at < len(lines) and _is_cell_vector(lines[at]):
            at += 1
    return _Frames([at for at in headers if at < len(lines)], bad=False)


def _is_cell_vector(line: str) -> bool:
    """Lattice vectors may follow a frame."""
    return line.lstrip().startswith("VEC")


def _warn_of_unnamed_columns(path: Path, lines: list[str], headers: list[int]) -> None:
    """ASE drops columns that Properties does not name; three and more may be forces."""
    dropped = [
        number
        for number, at in enumerate(headers)
        if at + 1 < len(lines) and len(lines[at + 1].split()) >= _n_columns(lines[at]) + _OF_FORCES
    ]
    if dropped:
        warnings.warn(
            f"{len(dropped)} of {len(headers)} structures (from {path.name}#{dropped[0]} on) have columns that their"
            " header does not name, and which are not read; if they are forces, name them in it, as in"
            " Properties=species:S:1:pos:R:3:forces:R:3.",
            KernpotWarning,
            stacklevel=5,
        )


def _n_columns(header: str) -> int:
    _, _, properties = header.partition("Properties=")
    counts = [int(count) for count in properties.split(maxsplit=1)[0].strip('"').split(":")[2::3]] if properties else []
    return sum(counts) or 4


def _require_read_to_end(path: Path, lines: list[str], frames: list[Atoms]) -> None:
    """ASE stops without a word at a blank line between frames; what follows would be lost."""
    rest: Iterator[str] = iter([line for line in lines if not _is_cell_vector(line)][sum(len(a) + 2 for a in frames) :])
    for line in rest:
        if line.strip():
            raise StructureError(
                f"{path}: the reader stopped after {len(frames)} structures, at a blank line, but more text follows"
                f" ({line.strip()[:40]!r}); remove blank lines between the structures."
            )
