"""Every answer of an oracle, on disk before it is used: one file each, never asked for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ase import Atoms

from kernpot.dynamics.electronic_state import electronic_state
from kernpot.dynamics.oracles import Labels, OracleFailure, checked_labels, labelled
from kernpot.dynamics.run_directory import RunDirectoryError, read_json, write_atomically
from kernpot.dynamics.serial import atoms_from_dict, atoms_to_dict
from kernpot.structures.identity import identity


def key_of(atoms: Atoms) -> str:
    """Name of a geometry with its electronic state: equal for exact copies only."""
    state = electronic_state(atoms)
    return hashlib.sha256(identity(atoms) + (json.dumps(state).encode() if state else b"")).hexdigest()


@dataclass(frozen=True, eq=False)
class Entry:
    """One answer.

    Attributes
    ----------
    number : int
        In the order of asking.
    atoms : Atoms
        What was asked about.
    answer : Labels or OracleFailure
    seconds : float
        How long the oracle took.
    """

    number: int
    atoms: Atoms
    answer: Labels | OracleFailure
    seconds: float

    @property
    def structure(self) -> Atoms:
        """The structure with its labels; only where the oracle did not fail."""
        assert isinstance(self.answer, Labels)
        return labelled(self.atoms, self.answer)

    def as_dict(self) -> dict[str, Any]:
        """The entry, as JSON."""
        told: dict[str, Any]
        if isinstance(self.answer, Labels):
            stress = None if self.answer.stress is None else self.answer.stress.tolist()
            told = {"energy": self.answer.energy, "forces": self.answer.forces.tolist(), "stress": stress}
        else:
            told = {"failure": self.answer.reason}
        return {
            "number": self.number,
            "seconds": self.seconds,
            "units": "eV, eV/A, eV/A^3",
            "atoms": atoms_to_dict(self.atoms),
        } | told

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The entry of :meth:`as_dict`."""
        atoms = atoms_from_dict(data["atoms"])
        answer = (
            OracleFailure(data["failure"])
            if "failure" in data
            else checked_labels(atoms, data["energy"], data["forces"], data["stress"])
        )
        return cls(int(data["number"]), atoms, answer, float(data["seconds"]))


class LabelStore:
    """The answers in a folder.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    RunDirectoryError
        When a file there is not an answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[int, Entry] = {}
        self._numbers: dict[str, int] = {}
        for path in sorted(folder.glob("[0-9]*.json")):
            try:
                self._know(Entry.from_dict(read_json(path)))
            except (KeyError, TypeError, ValueError, OracleFailure) as error:
                raise RunDirectoryError(
                    f"{path} is not an answer that kernpot wrote ({error!r}); restore it, or move it away and resume: "
                    "the oracle is then asked again."
                ) from error

    def __getitem__(self, number: int) -> Entry:
        return self._entries[number]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def find(self, atoms: Atoms) -> Entry | None:
        """The answer for exactly these atoms, if there is one."""
        number = self._numbers.get(key_of(atoms))
        return None if number is None else self._entries[number]

    def free(self, wanted: int) -> int:
        """A number that is not taken: the one wanted, unless a run on another machine went another way."""
        return wanted if wanted not in self._entries else max(self._entries) + 1

    def add(self, entry: Entry) -> None:
        """Put an answer on disk.

        Raises
        ------
        RunDirectoryError
            When the disk refuses it.
        """
        write_atomically(self._folder / f"{entry.number:06d}.json", json.dumps(entry.as_dict()))
        self._know(entry)

    def forget_failures(self) -> None:
        """Remove answers that are failures, so that the oracle is asked again."""
        for number in [n for n, entry in self._entries.items() if isinstance(entry.answer, OracleFailure)]:
            (self._folder / f"{number:06d}.json").unlink(missing_ok=True)
            del self._numbers[key_of(self._entries.pop(number).atoms)]

    def _know(self, entry: Entry) -> None:
        self._entries[entry.number] = entry
        self._numbers[key_of(entry.atoms)] = entry.number
