"""Results of finished fits on disk: each appears whole or not at all, and is used again where nothing has changed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
from ase import Atoms

import kernpot
from kernpot.backend.summary import data_hash
from kernpot.comparison.scoring import Record
from kernpot.dynamics.run_directory import RunDirectoryError, read_json, write_atomically, writing
from kernpot.structures.labels import label_structures

# What changes no number of a result.
_IRRELEVANT = {"progress", "n_jobs"}
# Raised when results of an older kernpot would not do any more.
_FORMAT = 1


class ResultStore:
    """JSON files in a folder, one for each fit.

    Parameters
    ----------
    folder : Path or None
        Made if it is not there. None keeps nothing.

    Raises
    ------
    RunDirectoryError
        When the folder cannot be made or written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)

    def get_or_make(self, name: str, key: str, make: Callable[[], Record]) -> Record:
        """The result stored under a name if it was made from the same inputs, else a new one, which is then stored."""
        found = self.find(name, key)
        if found is None:
            found = make()
            if self.folder is not None:
                text = json.dumps({"key": key, "result": found}, allow_nan=False)
                write_atomically(self._path(name), text + "\n")
        return found

    def find(self, name: str, key: str) -> Record | None:
        """The result stored under a name, if it was made from the same inputs."""
        if self.folder is None or not self._path(name).exists():
            return None
        try:
            stored = read_json(self._path(name))
        except RunDirectoryError as error:
            raise RunDirectoryError(
                f"{self._path(name)} holds a finished fit and cannot be read; remove it, and the fit is made again."
            ) from error
        return stored["result"] if stored.get("key") == key else None

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        # Names of groups come from files and may hold anything; the hash keeps those apart that look alike.
        plain = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:60]
        return self.folder / f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}.json"


def settings_key(potential: Any) -> str:
    """Hash of the kind and the parameters of an unfitted potential."""
    parameters = {k: v for k, v in potential.get_params().items() if k not in _IRRELEVANT}
    return str(joblib.hash((type(potential).__module__, type(potential).__qualname__, parameters)))


def structures_key(structures: Sequence[Atoms]) -> str:
    """Hash of geometries, labels and groups, in order."""
    if not structures:
        return "none"
    labelled = label_structures(structures)
    groups = json.dumps([(item.config_type, sorted(item.noise_scale.items())) for item in labelled])
    return hashlib.sha256((data_hash(labelled) + groups).encode()).hexdigest()


def inputs_key(*parts: str) -> str:
    """Hash of all that a result depends on."""
    text = json.dumps([kernpot.__version__, _FORMAT, *parts])
    return hashlib.sha256(text.encode()).hexdigest()
