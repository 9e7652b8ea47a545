"""Reading labelled structures from files: everything ase.io reads, every frame named by its file and number."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import ase.db
from ase import Atoms
from ase.io import iread
from ase.io.formats import filetype, open_with_compression

from kernpot.errors import StructureError
from kernpot.structures.announced import require_announced
from kernpot.structures.endings import require_whole_end
from kernpot.structures.extxyz import read_extxyz, unreadable
from kernpot.structures.keys import LabelKeys, attach_labels
from kernpot.structures.lammps import FORMATS as LAMMPS_FORMATS
from kernpot.structures.lammps import read_lammps
from kernpot.structures.occupancy import check_occupancy
from kernpot.structures.regular import require_readable
from kernpot.structures.unused_cells import warn_of_unused_cells

PathLike = str | os.PathLike[str]

_LAST_LINES = 100


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
        `stress_key` that contains "virial" names a virial. Without a key the label's own name counts, in any case:
        ``free_energy`` before ``energy`` (forces are its derivative), ``forces`` or ``force``, ``stress``, ``virial``
        or ``virials``. Structures that are not periodic in three directions lose a stress, with a warning.

    Returns
    -------
    list of ase.Atoms
        Frames in file order. Each has ``info["source"]``, e.g. ``"train.xyz#12"`` (numbered from 0), and, if it has any
        label, a calculator that holds ``energy`` (eV), ``forces`` (eV/A), ``stress`` (eV/A^3, ASE sign and order).

    Raises
    ------
    StructureError
        A file is missing, truncated, empty or not readable; a header holds what looks like a cell, periodicity or a
        foreign unit and cannot be understood; a file of LAMMPS does not name its elements; sites are partly occupied; a
        named key occurs in no frame; a label has the wrong shape or is infinite; a stress and a virial disagree.

    Warns
    -----
    KernpotWarning
        What may be wrong: labels of two origins, cells or columns that are not used, units that are not understood, a
        stress that is left out.
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
            check_occupancy(atoms, f"{name}#{index}")
            frames.append(atoms)
    warn_of_unused_cells(frames)
    attach_labels(frames, LabelKeys(energy_key, forces_key, stress_key), ", ".join(map(str, paths)))
    return frames


def _listed(path_or_paths: PathLike | Iterable[PathLike]) -> list[PathLike]:
    return [path_or_paths] if isinstance(path_or_paths, (str, os.PathLike)) else list(path_or_paths)


def _read_file(path: Path) -> list[Atoms]:
    if not path.exists():
        raise StructureError(f"{path}: no such file (looked in {path.absolute().parent}).")
    require_readable(path, StructureError)
    frames: list[Atoms] = []
    # readers raise anything from AssertionError to zlib.error, so nothing narrower would do
    try:
        file_format = filetype(str(path))
        if file_format in ("xyz", "extxyz"):
            require_announced(path)
        frames.extend(_frames(path, file_format))
    except StructureError:
        raise
    except Exception as error:
        raise unreadable(str(path), error) from error
    if not frames:
        raise StructureError(f"{path}: contains no structures.")
    return frames


def _frames(path: Path, file_format: str) -> Iterable[Atoms]:
    if file_format == "extxyz":
        return read_extxyz(path)
    if file_format in ("db", "json"):
        return _rows(path, file_format)
    _require_whole_end(path)
    if file_format in LAMMPS_FORMATS:
        return read_lammps(path, file_format)
    return iread(str(path), index=":", format=file_format, parallel=False, do_not_split_by_at_sign=True)


def _require_whole_end(path: Path) -> None:
    """Of formats that are text, whatever ASE thinks of them."""
    with open_with_compression(str(path), "rb") as file:
        end = b"".join(deque(file, maxlen=_LAST_LINES))
    if b"\0" not in end:
        require_whole_end(end.decode(errors="replace"), str(path))


def _rows(path: Path, file_format: str) -> Iterator[Atoms]:
    # ase.io.read drops the key-value pairs, where databases keep config_type and named labels
    with ase.db.connect(str(path), type=file_format, serial=True) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info = {**row.data, **row.key_value_pairs}
            yield atoms
