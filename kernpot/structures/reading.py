"""Reading labelled structures from files: everything ase.io reads, every frame named by its file and number."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import ase.db
from ase import Atoms
from ase.io import iread
from ase.io.formats import filetype, open_with_compression

from kernpot.errors import StructureError
from kernpot.structures.keys import LabelKeys, attach_labels

PathLike = str | os.PathLike[str]


def read_structures(
    path_or_paths: PathLike | Iterable[PathLike],
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
) -> list[Atoms]:
    """Read structures and their labels from one or several files.

    Parameters
    ----------
    path_or_paths : path or iterable of paths
        Any format ``ase.io.read`` knows: extxyz (also ``.xyz.gz``), ASE databases, VASP OUTCAR, trajectories, ... Of an
        ASE database the key-value pairs and the data of each row go to ``atoms.info``.
    energy_key, forces_key, stress_key : str, optional
        Where labels are, if not in the file's standard place: a name in ``atoms.info``, ``atoms.arrays`` or the
        calculator's results, e.g. ``energy_key="REF_energy"``. A frame without the named key is unlabelled. A
        `stress_key` that contains "virial" names a virial. Without a `stress_key`, and where there is no stress, a
        virial is taken from ``info["virial"]`` or ``info["virials"]``; frames without a cell lose it, with a warning.

    Returns
    -------
    list of ase.Atoms
        Frames in file order. Each has ``info["source"]``, e.g. ``"train.xyz#12"`` (numbered from 0), and, if it has any
        label, a calculator that holds ``energy`` (eV), ``forces`` (eV/A), ``stress`` (eV/A^3, ASE sign and order).

    Raises
    ------
    StructureError
        A file is missing, truncated, empty or not readable; a named key occurs in no frame; a label has the wrong shape
        or is not finite.
    """
    paths = [Path(path) for path in _listed(path_or_paths)]
    if not paths:
        raise StructureError("read_structures: expected at least one path, got an empty list.")
    same_name = Counter(path.name for path in paths)
    frames: list[Atoms] = []
    for path in paths:
        name = path.name if same_name[path.name] == 1 else str(path)
        for index, atoms in enumerate(_read_file(path)):
            atoms.info["source"] = f"{name}#{index}"
            frames.append(atoms)
    attach_labels(frames, LabelKeys(energy_key, forces_key, stress_key), ", ".join(map(str, paths)))
    return frames


def _listed(path_or_paths: PathLike | Iterable[PathLike]) -> list[PathLike]:
    return [path_or_paths] if isinstance(path_or_paths, (str, os.PathLike)) else list(path_or_paths)


def _read_file(path: Path) -> list[Atoms]:
    if not path.exists():
        raise StructureError(f"{path}: no such file (looked in {path.absolute().parent}).")
    frames: list[Atoms] = []
    # readers raise anything from AssertionError to zlib.error, so nothing narrower would do
    try:
        frames.extend(_frames(path, filetype(str(path))))
    except StructureError:
        raise
    except Exception as error:
        raise _unreadable(str(path), error) from error
    if not frames:
        raise StructureError(f"{path}: contains no structures.")
    return frames


def _unreadable(where: str, error: Exception) -> StructureError:
    return StructureError(
        f"{where}: cannot be read as structures, the file is damaged, truncated or of a foreign format. The reader"
        f" says: {type(error).__name__}: {str(error).strip() or 'no reason given'}"
    )


def _frames(path: Path, file_format: str) -> Iterable[Atoms]:
    if file_format == "extxyz":
        return _extxyz(path)
    if file_format in ("db", "json"):
        return _rows(path, file_format)
    return iread(str(path), index=":", format=file_format, parallel=False, do_not_split_by_at_sign=True)


def _rows(path: Path, file_format: str) -> Iterator[Atoms]:
    # ase.io.read drops the key-value pairs, where databases keep config_type and named labels
    with ase.db.connect(str(path), type=file_format, serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info = {**row.data, **row.key_value_pairs}
            yield atoms


def _extxyz(path: Path) -> list[Atoms]:
    # the reader seeks back after every frame, which in a compressed file means unpacking it from the start each time
    with open_with_compression(str(path), "r") as file:
        text = file.read()
    frames: list[Atoms] = []
    # readers raise anything, see _read_file
    try:
        frames.extend(iread(StringIO(text), index=":", format="extxyz", parallel=False))
    except Exception as error:
        headers = _count_headers(text)
        # ASE looks for all headers before it reads a frame; without a single one this is no extxyz file at all
        bad_header = not frames and headers.bad
        number = headers.n_frames if bad_header else len(frames)
        raise _unreadable(f"{path}#{number}" if headers.n_frames else str(path), error) from error
    _require_read_to_end(path, text, frames)
    return frames


class _Headers(NamedTuple):
    n_frames: int
    bad: bool


def _count_headers(text: str) -> _Headers:
    """Number of frames that start with a number of atoms where ASE looks for it, and whether a wrong one follows."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("VEC")]
    count = at = 0
    while at < len(lines) and lines[at].strip():
        try:
            at += int(lines[at]) + 2
        except ValueError:
            return _Headers(count, bad=True)
        count += 1
    return _Headers(count, bad=False)


def _require_read_to_end(path: Path, text: str, frames: list[Atoms]) -> None:
    """ASE stops without a word at a blank line between frames; what follows would be lost."""
    # lattice vectors may follow a frame as VEC lines
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("VEC")]
    for line in lines[sum(len(atoms) + 2 for atoms in frames) :]:
        if line.strip():
            raise StructureError(
                f"{path}: the reader stopped after {len(frames)} structures, at a blank line, but more text follows"
                f" ({line.strip()[:40]!r}); remove blank lines between the structures."
            )
