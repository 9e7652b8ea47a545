"""What a run puts into its directory as it goes on: events, frames, and the state that it can be taken up from."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ase import Atoms
from ase.io import write

from kernpot.dynamics.run_directory import Record, RunDirectory, write_atomically
from kernpot.dynamics.state import RunState


class Journal:
    """Writes.

    Parameters
    ----------
    directory : RunDirectory
    observe : callable or None
        Called with every record after it is written.
    """

    def __init__(self, directory: RunDirectory, observe: Callable[[Record], None] | None) -> None:
        self._directory, self._observe = directory, observe
        self._started = time.perf_counter()

    def tell(self, record: Record) -> None:
        """Write a record, with the seconds since this process took the run up."""
        record = record | {"elapsed": time.perf_counter() - self._started}
        self._directory.log(record)
        if self._observe is not None:
            self._observe(record)

    def write_frame(self, name: str, frame: Atoms) -> None:
        """Append a frame to an extended-XYZ file of the run."""
        self._directory.append(name, partial(_append, frame=frame))

    def save(self, state: RunState) -> None:
        """Have the state on disk; what has been written so far belongs to it."""
        state.sizes = self._directory.sizes()
        write_atomically(self._directory.state_file, json.dumps(state.as_dict()))
        self._directory.keep_models(state.model)


def _append(path: Path, frame: Atoms) -> None:
    write(path, frame, format="extxyz", append=True)
