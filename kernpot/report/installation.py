"""The installation as named tables, for people: what a report of a bug needs to say."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numba
import torch

import kernpot
from kernpot.report.provenance import Section

# Extras for work on kernpot itself tell nothing about a user's run.
_DEVELOPMENT = {"bench", "data", "docs", "lint", "paper", "release", "test"}


def describe_installation() -> list[Section]:
    """Sections of name and value: kernpot, the machine, the libraries it stands on and those of its extras."""
    libraries, extras = [], []
    for name, extra in _requirements():
        if extra is None:
            libraries.append((name, _version(name)))
        elif extra not in _DEVELOPMENT:
            extras.append((f"{name} ({extra})", _version(name)))
    sections = [
        ("kernpot", [("Version", kernpot.__version__), ("Folder", str(Path(kernpot.__file__).parent))]),
        ("Machine", _machine()),
        ("Libraries", libraries),
        ("Extras", extras),
    ]
    return [(title, rows) for title, rows in sections if rows]


def _machine() -> list[tuple[str, str]]:
    asked = os.environ.get("OMP_NUM_THREADS", "not set")
    of_numba = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    threads = f"torch {torch.get_num_threads()}, numba {of_numba}, OMP_NUM_THREADS {asked}"
    return [
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("Platform", platform.platform()),
        ("Processors", str(os.cpu_count())),
        ("Threads", threads),
    ]


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Packages the installed kernpot asks for, each with its extra; none where it never was installed."""
    try:
        lines = metadata.requires("kernpot") or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"]([\w.-]+)['\"]", line)
        if name and name[0] != "kernpot":
            yield name[0], extra and extra[1]


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "not installed"
