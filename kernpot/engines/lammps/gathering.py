"""All atoms of a LAMMPS that are spread over processes, as one structure in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

# LAMMPS metal units: Angstrom and picoseconds.
_VELOCITY = 1.0 / (1000 * units.fs)


class Taken(NamedTuple):
    """What a process has of a structure: its own atoms, and the box.

    Attributes
    ----------
    own : dict of str to ndarray
        By name, of the own atoms.
    box : tuple
        As LAMMPS tells it.
    """

    own: dict[str, NDArray[Any]]
    box: Any


def taken(lmp: Any, properties: Sequence[str]) -> Taken:
    """Copies of what this process has.

    Parameters
    ----------
    lmp : lammps.lammps
    properties : sequence of str
        Per-atom numbers (of ``fix property/atom``) that become arrays.
    """
    n = lmp.extract_setting("nlocal")
    own: dict[str, Any] = {
        "lammps_id": _of(lmp, "id", n).astype(np.int64),
        "type": _of(lmp, "type", n).astype(np.int64),
        "x": _of(lmp, "x", n, 3),
        "v": _of(lmp, "v", n, 3),
    }
    own["m"] = _of(lmp, "rmass", n) if lmp.extract_setting("rmass_flag") else _type_masses(lmp)[own["type"]]
    return Taken(own | {name: _of(lmp, f"d_{name}", n) for name in properties}, lmp.extract_box())


def with_array(part: Taken, name: str, own: NDArray[np.float64]) -> Taken:
    """With a number for every own atom."""
    return part._replace(own=part.own | {name: np.array(own, dtype=np.float64).ravel()})


def gathered(part: Taken, world: Any, numbers_of_types: NDArray[np.int64]) -> Atoms:
    """Atoms ordered by identifier; every process at once.

    Parameters
    ----------
    part : Taken
        Of this process.
    world : mpi4py.MPI.Comm or None
    numbers_of_types : ndarray of int64
        Atomic number of every atom type; entry 0 is none.
    """
    parts = [part.own] if world is None else world.allgather(part.own)
    every = {name: np.concatenate([one[name] for one in parts]) for name in part.own}
    order = np.argsort(every["lammps_id"])
    every = {name: values[order] for name, values in every.items()}
    low, high, xy, yz, xz, periodic, _ = part.box
    lx, ly, lz = (b - a for a, b in zip(low, high, strict=True))
    cell = [[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]
    atoms = Atoms(numbers_of_types[every.pop("type")], every.pop("x"), cell=cell, pbc=[bool(p) for p in periodic])
    atoms.set_celldisp(low)
    atoms.set_masses(every.pop("m"))
    atoms.set_velocities(every.pop("v") * _VELOCITY)
    for name, values in every.items():
        atoms.set_array(name, values)
    return atoms


def _of(lmp: Any, name: str, n: int, dim: int = 1) -> NDArray[Any]:
    if n == 0:
        return np.empty((0, 3) if dim == 3 else 0)
    found = lmp.numpy.extract_atom(name, nelem=n, dim=dim) if dim == 3 else lmp.numpy.extract_atom(name, nelem=n)
    return np.array(found)


def _type_masses(lmp: Any) -> NDArray[np.float64]:
    return np.array(lmp.numpy.extract_atom("mass", nelem=lmp.extract_setting("ntypes") + 1))
