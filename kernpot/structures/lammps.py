"""Reading files of LAMMPS, without what ASE makes up for them: energies of zero, and elements from type numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ase import Atoms
from ase.data import atomic_numbers
from ase.io import iread
from ase.io.formats import open_with_compression

from kernpot.errors import StructureError

FORMATS = ("lammps-dump-text", "lammps-dump-binary", "lammps-data")
"""ASE's names of the formats."""

_UNITS = "metal"


def read_lammps(path: Path, file_format: str) -> Iterator[Atoms]:
    """Frames of a dump or a data file, in units of eV and Angstrom (LAMMPS's metal).

    Raises
    ------
    StructureError
        The file does not say which elements its types are, or is in other units.
    """
    if file_format == "lammps-dump-binary":
        raise _unknown_elements(path)
    with open_with_compression(str(path), "r") as file:
        if file_format == "lammps-data":
            _check_data(path, file.read())
        else:
            _check_dump(path, file)
    for atoms in iread(str(path), index=":", format=file_format, parallel=False, do_not_split_by_at_sign=True):
        if atoms.calc is not None:
            atoms.calc.results.pop("energy", None)  # a zero of ASE's: dumps have none
        yield atoms


def _check_dump(path: Path, lines: Iterator[str]) -> None:
    for line in lines:
        if line.startswith("ITEM: UNITS"):
            _require_units(path, next(islice(lines, 1), "").strip())
        elif line.startswith("ITEM: ATOMS") and not {"element", "mass"} & set(line.split()):
            raise _unknown_elements(path)


def _check_data(path: Path, text: str) -> None:
    units = re.search(r"units\s*=\s*(\w+)", text.partition("\n")[0])
    if units:
        _require_units(path, units.group(1))
    labels = re.search(r"^\s*Atom Type Labels.*\n\s*\n((?:\s*\d+\s+\S+.*\n)+)", text, re.MULTILINE)
    named = labels is not None and all(row.split()[1] in atomic_numbers for row in labels.group(1).splitlines())
    if not named and not re.search(r"^\s*Masses\b", text, re.MULTILINE):
        raise _unknown_elements(path)


def _require_units(path: Path, units: str) -> None:
    if units != _UNITS:
        raise StructureError(
            f"{path}: is in LAMMPS's units {units!r}, expected {_UNITS!r} (eV, Angstrom); convert positions, cell and"
            " forces, e.g. to extended xyz."
        )


def _unknown_elements(path: Path) -> StructureError:
    return StructureError(
        f"{path}: does not say which elements its atom types are. Let LAMMPS write them: for a dump the column element"
        " ('dump 1 all custom 100 run.dump id element x y z fx fy fz' and 'dump_modify 1 element Cu Ni'), for a data"
        " file the section Masses; or convert it to extended xyz with the right elements."
    )
