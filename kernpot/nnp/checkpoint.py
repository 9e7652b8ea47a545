"""A training on disk after every epoch, so that it goes on where it was killed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kernpot.errors import KernpotError, ModelFileError
from kernpot.files.container import CHECKPOINT, read_model, write_model
from kernpot.nnp.training import Trainer


class Checkpoint:
    """The file of one training; a file of another training is refused, not overwritten.

    Parameters
    ----------
    path : path-like or None
        None keeps nothing.
    identity : mapping
        Everything that decides what the training finds: data, parameters, seeds; JSON-able.
    """

    def __init__(self, path: Path | str | None, identity: Mapping[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        self._hash = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._found: tuple[dict[str, Any], dict[str, torch.Tensor]] | None = None

    def read(self) -> None:
        """Look for what an earlier training left, before any work.

        Raises
        ------
        KernpotError
            When the file is that of other data or other settings.
        ModelFileError
            When it cannot be read.
        """
        if self._path is None or not self._path.exists():
            return
        try:
            header, tensors = read_model(self._path)
        except ModelFileError as error:
            raise ModelFileError(
                f"checkpoint: {self._path} is damaged, truncated or no file of kernpot's; remove it to start the "
                "training anew, or name another file."
            ) from error
        if header["kind"] != CHECKPOINT or header.get("training") != self._hash:
            raise KernpotError(
                f"checkpoint: {self._path} is of another training (other structures, parameters or seed), expected "
                "one of this; remove it to start anew, or name another file."
            )
        self._found = header["progress"], {name: torch.from_numpy(a.copy()) for name, a in tensors.items()}

    def restore(self, trainer: Trainer) -> None:
        """Take up a training where its file left it, if there was one."""
        if self._found is not None:
            trainer.restore(*self._found)

    def write(self, trainer: Trainer) -> None:
        """Replace the file, at once or not at all."""
        if self._path is None:
            return
        plain, tensors = trainer.state()
        header = {"kind": CHECKPOINT, "training": self._hash, "progress": plain}
        write_model(self._path, header, {name: t.numpy() for name, t in tensors.items()})
