"""The events of a run, sorted by kind."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from kernpot.errors import KernpotError

Record = Mapping[str, Any]

FALLBACK_FACTOR = 3.0
"""Times the gate's threshold: the tolerance of a run that was told none."""


@dataclass(frozen=True)
class Timeline:
    """A run so far.

    Attributes
    ----------
    name : str
        Of the run directory.
    steps, gates, labels, failed, learnt : list of dict
        Events of each kind, in the order in which they happened; those of learning with ``"answers"``, the number of
        labels there were.
    end : dict or None
        How it ended; None while it runs, or after it was killed.
    provenance : dict
        ``run.json``.
    settings : str
        ``config.yaml``; empty where there is none.
    threshold : float or None
        Of the gate, eV/A, at last.
    tolerance : float or None
        Force error (eV/A) that must not go unnoticed.
    tolerance_given : bool
        Whether the run was told one; otherwise it is three times the threshold.
    """

    name: str
    steps: list[Record]
    gates: list[Record]
    labels: list[Record]
    failed: list[Record]
    learnt: list[Record]
    end: Record | None
    provenance: Record
    settings: str
    threshold: float | None
    tolerance: float | None
    tolerance_given: bool

    @property
    def walkers(self) -> list[int]:
        """Walkers that made steps."""
        return sorted({r["walker"] for r in self.steps})

    @property
    def simulated_fs(self) -> float:
        """Furthest simulated times of all walkers together."""
        return sum(max(r["time_fs"] for r in self.of_walker(walker)) for walker in self.walkers)

    def of_walker(self, walker: int) -> list[Record]:
        """Steps of one walker."""
        return [r for r in self.steps if r["walker"] == walker]

    def judged(self, *purposes: str) -> list[Record]:
        """Labels of these purposes (all if none are named) that were compared with a prediction made before."""
        return [
            r
            for r in self.labels
            if r.get("max_force_error") is not None and (not purposes or r["purpose"] in purposes)
        ]

    def seconds(self) -> dict[str, float]:
        """Wall time of the oracle and of learning."""
        return {
            "oracle": sum(r.get("seconds") or 0.0 for r in (*self.labels, *self.failed)),
            "learning": sum(r.get("seconds") or 0.0 for r in self.learnt),
        }


def column(records: Sequence[Record], name: str) -> NDArray[np.float64]:
    """One value of each record; NaN where there is none."""
    return np.array([np.nan if r.get(name) is None else r[name] for r in records], dtype=np.float64)


def read_timeline(directory: str | os.PathLike[str]) -> Timeline:
    """Read the files of a run.

    A last line that is not complete (the run was killed, or writes it just now) is left out.

    Parameters
    ----------
    directory : path-like

    Raises
    ------
    KernpotError
        When there is no run, or its events are damaged.
    """
    folder = Path(directory)
    file = folder / "events.jsonl"
    if not file.is_file():
        raise KernpotError(f"{folder} is not the directory of a run: expected events.jsonl in it, found none.")
    events = _events(file)
    provenance, settings = folder / "run.json", folder / "config.yaml"
    steps = _of(events, "step")
    threshold = next((e["threshold"] for e in reversed(steps) if e.get("threshold")), None)
    text = settings.read_text(encoding="utf-8", errors="replace") if settings.is_file() else ""
    given = _max_force_error(text)
    end = events[-1] if events and events[-1]["event"] == "end" else None
    return Timeline(
        name=folder.resolve().name,
        steps=steps,
        gates=_of(events, "gate"),
        labels=_of(events, "label"),
        failed=_of(events, "failed"),
        learnt=_learnt(events),
        end=end,
        provenance=json.loads(provenance.read_text(encoding="utf-8")) if provenance.is_file() else {},
        settings=text,
        threshold=threshold,
        tolerance=given or (None if threshold is None else FALLBACK_FACTOR * threshold),
        tolerance_given=given is not None,
    )


def _max_force_error(text: str) -> float | None:
    """The tolerance in the settings; None also where they have been edited to what is no longer YAML."""
    found: Any
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    for key in ("gate", "tolerance", "max_force_error"):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _of(events: Sequence[Record], kind: str) -> list[Record]:
    return [e for e in events if e["event"] == kind]


def _learnt(events: Sequence[Record]) -> list[Record]:
    found: list[Record] = []
    answers = 0
    for e in events:
        answers += e["event"] == "label"
        if e["event"] == "learn":
            found.append({**e, "answers": answers})
    return found


def _events(file: Path) -> list[Record]:
    lines = file.read_text(encoding="utf-8").splitlines()
    found: list[Record] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise KernpotError(f"{file}, line {number}: expected a JSON object, got {line[:40]!r}.") from None
    return found
