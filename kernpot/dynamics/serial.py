"""Structures and random generators as JSON, every bit of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import dict2constraint

from kernpot.dynamics.electronic_state import electronic_state

# What of a structure a simulation goes on with; everything else (other info, results) is said of one frame.
_ARRAYS = ("numbers", "positions", "momenta", "masses", "tags", "initial_charges", "initial_magmoms")


def atoms_to_dict(atoms: Atoms) -> dict[str, Any]:
    """Geometry, momenta, electronic state and constraints."""
    return {
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "arrays": {name: atoms.arrays[name].tolist() for name in _ARRAYS if name in atoms.arrays},
        "state": electronic_state(atoms),
        "constraints": [_plain(constraint.todict()) for constraint in atoms.constraints],
    }


def atoms_from_dict(data: dict[str, Any]) -> Atoms:
    """The structure of :func:`atoms_to_dict`."""
    arrays = {name: np.array(data["arrays"][name]) for name in _ARRAYS if name in data["arrays"]}
    atoms = Atoms(arrays.pop("numbers"), arrays.pop("positions"), cell=data["cell"], pbc=data["pbc"])
    for name, array in arrays.items():
        atoms.set_array(name, array)
    # Absent in runs of earlier versions.
    atoms.info.update(data.get("state", {}))
    # Last: constraints would change what is set after them.
    atoms.set_constraint([dict2constraint(constraint) for constraint in data["constraints"]])
    return atoms


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """The state of a random generator."""
    return dict(rng.bit_generator.state)


def generator_from(state: dict[str, Any]) -> np.random.Generator:
    """The generator of :func:`generator_state`."""
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = state
    return rng


def _plain(value: Any) -> Any:
    """Without numpy's types."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
