"""The input folders of `FileOracle`: one per frame, named by its geometry, there all at once or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write as ase_write

from kernpot.dynamics.electronic_state import electronic_state
from kernpot.errors import OracleError

Writer = Callable[[Path, Atoms], Any]

HASH_DIGITS = 16


def folder_name(atoms: Atoms) -> str:
    """Formula and hash of elements, positions, cell and pbc, to the last bit, in this order of the atoms.

    Of charges and spins, too, where something is said of them.
    """
    digest = hashlib.sha256()
    for array in (
        atoms.numbers.astype("<i8"),
        atoms.positions.astype("<f8") + 0.0,  # -0 is 0
        atoms.cell.array.astype("<f8") + 0.0,
        atoms.pbc.astype("<i8"),
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    for name in ("initial_charges", "initial_magmoms"):
        if atoms.arrays.get(name, np.zeros(1)).any():
            digest.update(name.encode() + np.ascontiguousarray(atoms.arrays[name].astype("<f8") + 0.0).tobytes())
    state = electronic_state(atoms)
    if state:
        digest.update(json.dumps(state, sort_keys=True).encode())
    return f"{atoms.get_chemical_formula()}-{digest.hexdigest()[:HASH_DIGITS]}"


def write_folder(
    folder: Path,
    name: str,
    atoms: Atoms,
    write: Writer | Mapping[str, Mapping[str, Any]] | None,
    template: Path | None,
) -> None:
    """Write the inputs of one frame, unless its folder is there.

    The folder is written under another name, brought to disk and renamed: a queue that looks for folders never sees
    half of one, and neither does a run that was killed.

    Raises
    ------
    OracleError
        The folder cannot be written to, or what the user gave to write inputs fails.
    """
    final = folder / name
    part = folder / f".{name}.part"
    try:
        if final.is_dir():
            return
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        if template is not None:
            shutil.copytree(template, part, dirs_exist_ok=True)
        ase_write(part / "frame.xyz", atoms, format="extxyz")
        _write_inputs(part, atoms, write)
        for path in [*part.rglob("*"), part]:
            _to_disk(path)
        part.rename(final)
        _to_disk(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            shutil.rmtree(part)
        raise OracleError(
            f"the inputs of {name} cannot be written to {folder}: {error.strerror or error}. Free some space, or name"
            " a folder that can be written to; frames that were written before are found again."
        ) from error


def _write_inputs(part: Path, atoms: Atoms, write: Writer | Mapping[str, Mapping[str, Any]] | None) -> None:
    try:
        if callable(write):
            write(part, atoms.copy())
        elif write is not None:
            for file_name, settings in write.items():
                ase_write(part / file_name, atoms, **settings)
    except OSError:
        raise
    except Exception as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OracleError(
            f"write: no input for {atoms.get_chemical_formula()}: {type(error).__name__}: {error}"
        ) from error


def _to_disk(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle on a folder that could be synchronised
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
