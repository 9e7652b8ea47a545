"""Results that somebody else writes: taken when they are whole and belong to what was asked, never before."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.io import read as ase_read

from kernpot.dynamics.oracles.labels import Labels, checked_labels
from kernpot.errors import OracleFailure
from kernpot.structures.energies import energy_of_forces

Reader = Callable[[Path], Atoms | None]

SETTLED_SECONDS = 5.0
"""A result that has not changed for so long is taken to be whole, in seconds."""

GEOMETRY_TOLERANCE = 1e-3
"""How far an atom or a cell vector of a result may lie from where it was asked, Angstrom: codes print few digits."""


class ResultFile:
    """The result of one frame, looked for again and again.

    Attributes
    ----------
    trouble : str
        Why a result that is there cannot be taken; empty when there is none.
    unsettled : bool
        Whether there is a result that could be taken if it stays as it is.
    """

    def __init__(self, folder: Path, atoms: Atoms, read: str | Reader, read_format: str | None) -> None:
        self._folder = folder
        self._atoms = atoms
        self._read = read
        self._format = read_format
        self._seen: tuple[Any, float] | None = None
        self.trouble = ""
        self.unsettled = False

    @property
    def expected(self) -> str:
        """What is waited for, in words."""
        return f"put {self._read} there" if isinstance(self._read, str) else "put there what your read function reads"

    def look(self) -> Labels | OracleFailure | None:
        """The answer, None while there is none."""
        self.trouble, self.unsettled = "", False
        failed = self._folder / "failed"
        if failed.exists():
            reason = failed.read_text(errors="replace").strip()
            return OracleFailure(f"{self._folder.name}: given up by who computes it: {reason or 'no reason given'}")
        # taken before reading: a change while reading shows as a change afterwards
        state = self._state()
        try:
            found = self._found()
        except Exception as error:
            # half-written files fail in as many ways as there are formats
            self.trouble = f"{type(error).__name__}: {error}"
            return None
        if found is None:
            return None
        if not self._is_settled(state):
            self.unsettled = True
            return None
        try:
            return self._labels(found)
        except OracleFailure as failure:
            return OracleFailure(f"{self._folder.name}: {failure}")

    def _found(self) -> Atoms | None:
        """Atoms with energy and forces, None while there is no file."""
        if isinstance(self._read, str):
            path = self._folder / self._read
            if not path.exists():
                return None
            if path.suffix in (".xyz", ".extxyz") and not path.read_bytes().endswith(b"\n"):
                raise ValueError("the file ends in the middle of a line")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of readers, about files that are half there
                found: Any = ase_read(path, index=-1, format=self._format)
        else:
            found = self._read(self._folder)
        if found is None:
            return None
        results = getattr(found.calc, "results", None) or {}
        labels = {"energy": energy_of_forces(results), "forces": results.get("forces")}
        missing = [kind for kind, label in labels.items() if label is None]
        if missing:
            raise ValueError(f"it has no {' and no '.join(missing)}")
        return cast(Atoms, found)

    def _state(self) -> Any:
        if (self._folder / "done").exists():
            return "done"
        paths = [self._folder / self._read] if isinstance(self._read, str) else sorted(self._folder.rglob("*"))
        stats = [path.stat() for path in paths if path.exists()]
        return [(stat.st_size, stat.st_mtime_ns) for stat in stats]

    def _is_settled(self, state: Any) -> bool:
        if state == "done":
            return True
        now = time.time()
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, now)
        oldest = min(self._seen[1], max((mtime * 1e-9 for _, mtime in state), default=now))
        return now - oldest >= SETTLED_SECONDS

    def _labels(self, found: Atoms) -> Labels:
        difference = _difference(self._atoms, found)
        if difference:
            raise OracleFailure(
                f"the result is of another geometry than was asked: {difference}. Compute the atoms of frame.xyz as"
                " they are, in the same order, and do not relax them."
            )
        results = found.calc.results
        return checked_labels(self._atoms, energy_of_forces(results), results["forces"], results.get("stress"))


def _difference(asked: Atoms, found: Atoms) -> str:
    """How a result's geometry differs, in words; empty when it does not. Periodic images are the same place."""
    if len(asked) != len(found):
        return f"{len(found)} atoms instead of {len(asked)}"
    wrong = np.flatnonzero(asked.numbers != found.numbers)
    if wrong.size:
        atom = int(wrong[0])
        return f"atom {atom} is {found.symbols[atom]} instead of {asked.symbols[atom]}"
    periodic = asked.cell.array[asked.pbc] - found.cell.array[asked.pbc]
    if np.abs(periodic).max(initial=0.0) > GEOMETRY_TOLERANCE:
        return f"cell vectors differ by up to {np.abs(periodic).max():.3g} A"
    _, distances = find_mic(found.positions - asked.positions, asked.cell, asked.pbc)
    if distances.max() > GEOMETRY_TOLERANCE:
        return f"atom {int(distances.argmax())} lies {distances.max():.3g} A from where it was asked"
    return ""
