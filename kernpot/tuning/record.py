"""The journal of a search: a line for what it is about, then one for every trial that is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernpot.errors import KernpotError
from kernpot.files.writing import replace_file
from kernpot.tuning.trial import Request, Trial

_FORMAT = {"kernpot.tune": 1}


class Journal:
    """Trials on disk: each is there whole, and stays there, before the next begins.

    Parameters
    ----------
    path : Path or None
        Gone on with where it exists; None keeps trials in memory alone.
    about : mapping of str to str
        All that trials depend on, by what it is called in messages.

    Raises
    ------
    KernpotError
        The file is about something else, or no journal.
    """

    def __init__(self, path: Path | None, about: Mapping[str, str]) -> None:
        self._path = path
        self._lines = [json.dumps({**_FORMAT, **about})]
        self._trials: dict[Request, Trial] = {}
        if path is not None and path.exists():
            self._read(path, about)

    @property
    def trials(self) -> list[Trial]:
        """All that were made, in their order."""
        return list(self._trials.values())

    def find(self, request: Request) -> Trial | None:
        """A trial that was made before."""
        return self._trials.get(request)

    def add(self, trial: Trial) -> None:
        """Keep a trial.

        Raises
        ------
        OSError
            The disk refuses; the journal is then as it was.
        """
        self._trials[trial.request] = trial
        self._lines.append(json.dumps(trial.to_dict(), allow_nan=False))
        if self._path is not None:
            replace_file(self._path, "".join(f"{line}\n" for line in self._lines))

    def _read(self, path: Path, about: Mapping[str, str]) -> None:
        # What follows the last end of a line was cut by something.
        first, *lines = [*path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]] or [""]
        header = _parsed(first)
        if not _FORMAT.items() <= header.items():
            raise KernpotError(
                f"{path}: expected a journal of trials, got a file that begins with {first[:40]!r}; move it away, or "
                "give the journal another name."
            )
        other = [name for name, value in about.items() if header.get(name) != value]
        if other:
            raise KernpotError(
                f"{path} is the journal of another search: it was made with other {', other '.join(other)}. Its trials "
                "tell nothing of this one; remove it, or give the journal another name.",
            )
        for number, line in enumerate(lines, 2):
            try:
                trial = Trial.from_dict(_parsed(line))
            except (KeyError, TypeError, ValueError):
                raise KernpotError(
                    f"{path}, line {number}: expected a trial as it was written, got {line[:40]!r}; remove that line, "
                    "and its trial is made again."
                ) from None
            self._lines.append(line)
            self._trials[trial.request] = trial


def _parsed(line: str) -> dict[str, Any]:
    """The object of a line; an empty one where it is none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
