"""Smoke runs: a benchmark at a size of seconds, to see that it still runs; its numbers mean nothing.

``--smoke FOLDER`` is an option of every benchmark. Data sets are then ten stand-ins computed here or carried by the
repository, descriptors and potentials are small, the constants that a module lists in its ``SMOKE`` have other values,
and everything that would be stored goes to FOLDER.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from benchmarks.shared.command_line import stop

_OPTION = "--smoke"
_folder: Path | None = None


class Smoke(NamedTuple):
    """What a smoke run of a module changes.

    Attributes
    ----------
    constants : mapping
        Values for names of the module.
    arguments : tuple of str
        Of the command line, where none are given; ``{folder}`` is the folder of the run.
    """

    constants: Mapping[str, Any] = {}
    arguments: tuple[str, ...] = ()


def taken(arguments: Sequence[str]) -> list[str]:
    """The arguments without ``--smoke FOLDER``, which begins a smoke run.

    Raises
    ------
    SystemExit
        The folder is missing.
    """
    global _folder
    if _OPTION not in arguments:
        return list(arguments)
    place = list(arguments).index(_OPTION)
    if place + 1 == len(arguments):
        stop(f"{_OPTION} needs the folder that takes the results of the smoke run")
    _folder = Path(arguments[place + 1]).resolve()
    _folder.mkdir(parents=True, exist_ok=True)
    return [*arguments[:place], *arguments[place + 2 :]]


def folder() -> Path | None:
    """Where results of a smoke run go; None where this is none."""
    return _folder


def option() -> list[str]:
    """What a process started by a smoke run must be told."""
    return [] if _folder is None else [_OPTION, str(_folder)]


def applied(module: ModuleType, arguments: list[str]) -> list[str]:
    """Make a benchmark and what it has imported small; the arguments to run it with."""
    if _folder is None:
        return arguments
    for name, loaded in list(sys.modules.items()):
        if name.startswith("benchmarks."):
            for constant, value in _of(loaded).constants.items():
                if not hasattr(loaded, constant):
                    raise AttributeError(f"SMOKE of {name} changes {constant}, which is not there")
                setattr(loaded, constant, value)
    return arguments or [argument.format(folder=_folder) for argument in _of(module).arguments]


def _of(module: ModuleType) -> Smoke:
    found: Smoke = getattr(module, "SMOKE", Smoke())
    return found
