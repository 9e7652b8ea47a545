"""Stored measurements: where they are, how they are written and read."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared import smoke

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
_FIGURES = ROOT / "docs" / "figures"


def result_path(name: str, suffix: str = ".json") -> Path:
    """File of the measurement ``SUBJECT/NAME``: in ``benchmarks/SUBJECT/results``, or in the folder of a smoke run."""
    subject, _, own = name.partition("/")
    folder = smoke.folder()
    return (BENCHMARKS / subject / "results" if folder is None else folder / subject) / f"{own}{suffix}"


def figure_path(name: str) -> Path:
    """File of a figure that a page of the documentation shows."""
    return (smoke.folder() or _FIGURES) / f"{name}.png"


def write_result(name: str, result: dict[str, Any]) -> None:
    """Store a measurement ``SUBJECT/NAME`` with what it was measured on."""
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    machine |= {p: version(p) for p in ("torch", "dscribe", "numpy", "ase")}
    text = json.dumps(result | {"machine": machine}, indent=1, default=lambda x: np.asarray(x).tolist())
    path = result_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def written(name: str) -> dict[str, Any] | None:
    """The measurement ``SUBJECT/NAME`` as this run would find and replace it, if there is one."""
    path = result_path(name)
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found


def read_result(name: str) -> dict[str, Any]:
    """The measurement ``SUBJECT/NAME``; a smoke run that has none of its own takes the stored one.

    Raises
    ------
    SystemExit
        There is none.
    """
    subject, _, own = name.partition("/")
    stored = BENCHMARKS / subject / "results" / f"{own}.json"
    for path in (result_path(name), stored):
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
    raise SystemExit(
        f"{stored.relative_to(ROOT)} does not exist; run the benchmark that writes it first (see benchmarks/README.md)."
    )
