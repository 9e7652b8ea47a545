"""The files of one run: written whole or not at all, by one process at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kernpot.errors import KernpotError
from kernpot.files.writing import WriteError, replace_file

Record = dict[str, Any]


class RunDirectoryError(KernpotError):
    """A run's files cannot be used: another process has them, the disk refuses, or somebody changed them."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that appears complete or not at all, and is on the disk when this returns.

    Raises
    ------
    RunDirectoryError
        When the disk is full or the folder read-only; an old file is then as it was.
    """
    with writing(path):
        replace_file(path, content)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, too."""
    if os.name == "nt":
        return  # Windows opens no folders, and keeps names itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file a disk refused, and what to do."""
    try:
        yield
    except WriteError as error:
        raise RunDirectoryError(f"{error}.") from None
    except OSError as error:
        raise RunDirectoryError(
            f"{path} could not be written: {error.strerror or error}. Nothing that was learnt is lost: make room (or "
            "make the folder writable) and resume the run."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    RunDirectoryError
        When the file is not one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"{path} cannot be read: {error}. It was changed or damaged by something other than kernpot; restore it "
            "from a backup, or start a new run in another directory."
        ) from error
    if not isinstance(found, dict):
        raise RunDirectoryError(f"{path}: expected a JSON object, got {type(found).__name__}; was it edited?")
    return found


class RunDirectory:
    """Lock, state, events and trajectories of a run.

    Appended files are cut back to what the last state knew when a run resumes, so that what is done again is not
    written twice.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    RunDirectoryError
        When the folder cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            for folder in (path, path / "labels", path / "models"):
                folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; the system lets go when this one ends, however it ends.

        Raises
        ------
        RunDirectoryError
            When another process is running there.
        """
        lock = FileLock(str(self.path / "lock"))
        with writing(self.path / "lock"):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RunDirectoryError(
                    f"{self.path} is in use by another run; wait for it, stop it, or choose another directory."
                ) from None
        try:
            yield
        finally:
            lock.release()

    @property
    def state_file(self) -> Path:
        """Where the last complete state is."""
        return self.path / "state.json"

    def model_file(self, number: int) -> Path:
        """Where the model after so many changes is."""
        return self.path / "models" / f"{number:06d}.kernpot"

    def append(self, name: str, write: Callable[[Path], None]) -> None:
        """Have something appended to one of the run's files."""
        with writing(self.path / name):
            write(self.path / name)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append to ``events.jsonl``."""
        with writing(self.path / "events.jsonl"), (self.path / "events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def sizes(self) -> dict[str, int]:
        """Sizes of the files that grow, in bytes."""
        return {file.name: file.stat().st_size for file in sorted(self._growing())}

    def cut_back(self, sizes: Mapping[str, int]) -> None:
        """Shorten files that grow to what they were."""
        for file in self._growing():
            with writing(file):
                if file.stat().st_size > sizes.get(file.name, 0):
                    os.truncate(file, sizes.get(file.name, 0))

    def keep_models(self, number: int) -> None:
        """Remove models older than the one before this."""
        for file in (self.path / "models").glob("*.kernpot"):
            if file.stem.isdigit() and int(file.stem) < number - 1:
                file.unlink(missing_ok=True)

    def _growing(self) -> list[Path]:
        return [*self.path.glob("events.jsonl"), *self.path.glob("*.xyz")]
