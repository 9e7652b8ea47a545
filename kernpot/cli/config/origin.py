"""Whether a run was begun here by this user: its settings say which program computes labels, and a shell may start it.

A run keeps the number by which the file system knows its directory. A copy, whether unpacked from an archive or fetched
from elsewhere, has another number, whatever the files in it say; a directory that is moved within its file system keeps
it. That files belong to another user is seen as well.
"""

from __future__ import annotations

import os
from pathlib import Path

from kernpot.cli.config.schema import LearnConfig
from kernpot.dynamics.run_directory import write_atomically
from kernpot.errors import KernpotError

_NOTE = ".begun_here"
# They compute in this process, or write files: nothing that settings name is started.
_START_NOTHING = {"files", "emt", "lj", "tblite"}


def note_origin(directory: Path) -> None:
    """Note that the run in this directory is this user's own."""
    write_atomically(directory / _NOTE, f"{directory.stat().st_ino}\n")


def require_own(config: LearnConfig, path: Path) -> None:
    """Refuse a run that another user began, or that came from elsewhere, where it may start a program.

    Parameters
    ----------
    config : LearnConfig
    path : Path
        The file it was read from, in the run directory.

    Raises
    ------
    KernpotError
        Saying what would be started, and what to do.
    """
    foreign = _foreign(path)
    if foreign is None or config.oracle.kind in _START_NOTHING:
        return
    settings = ", ".join(f"{name} {value!r}" for name, value in config.oracle.settings.items()) or "none"
    raise KernpotError(
        f"{path.parent} {foreign}, and its {path.name} says which program is started for labels: the oracle "
        f"{config.oracle.kind} with the settings {settings}. Read that file; if you would run it, add --trust"
    )


def _foreign(path: Path) -> str | None:
    """What makes a run somebody else's; None where nothing does."""
    directory, note = path.parent, path.parent / _NOTE
    me = os.getuid() if hasattr(os, "getuid") else None
    for place in (directory, path):
        if me is not None and place.stat().st_uid != me:
            return f"belongs to another user (number {place.stat().st_uid}; you are {me})"
    told = note.read_text(encoding="utf-8", errors="replace").strip() if note.is_file() else ""
    return None if told == str(directory.stat().st_ino) else "was not begun here: it was copied or came from elsewhere"
