"""What a run tells about itself, gathered into what a person wants to see."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Record = Mapping[str, Any]

DOING = {
    "start": "starting",
    "resume": "resuming",
    "step": "simulating",
    "gate": "asking for labels",
    "label": "labels arrive",
    "failed": "labels arrive",
    "learn": "simulating",
    "trial": "tried",
}
"""What a run does after each kind of event."""


@dataclass
class LiveState:
    """Where a run is.

    Attributes
    ----------
    doing : str
        In words.
    steps : dict of int to int
        Steps made by each walker.
    n_steps : int or None
        Of each walker, in all.
    walkers : dict of int to dict
        The last ``"step"`` event of each walker.
    threshold : float or None
        Of the gate, eV/A.
    labels : Counter
        Labels by purpose.
    failed : int
        Frames the oracle could not label.
    gates : int
        How often the gate fired.
    judged : dict or None
        The last label that could be compared with a prediction.
    learnt : dict or None
        The last ``"learn"`` event.
    """

    doing: str = "starting"
    steps: dict[int, int] = field(default_factory=dict)
    n_steps: int | None = None
    n_walkers: int = 1
    walkers: dict[int, Record] = field(default_factory=dict)
    threshold: float | None = None
    labels: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    gates: int = 0
    judged: Record | None = None
    learnt: Record | None = None
    _first: dict[int, int] = field(default_factory=dict)
    _began: float | None = None

    def take(self, record: Record) -> None:
        """Take note of one event."""
        kind = record["event"]
        self.doing = DOING.get(kind, self.doing)
        if kind in ("start", "resume"):
            self.n_steps, self.n_walkers = record.get("n_steps"), record.get("n_walkers", 1)
            self.threshold = record.get("threshold")
        elif kind == "step":
            self.walkers[record["walker"]] = record
            self.steps[record["walker"]] = record["step"]
            self.n_steps, self.threshold = record["n_steps"], record.get("threshold", self.threshold)
            self._first.setdefault(record["walker"], record["step"])
            self._began = self._began or time.monotonic()
        elif kind == "gate":
            self.gates += 1
        elif kind == "label":
            self.labels[record["purpose"]] += 1
            if record.get("max_force_error") is not None:
                self.judged = record
        elif kind == "failed":
            self.failed += 1
        elif kind == "learn":
            self.learnt = record
        elif kind == "end":
            self.doing, self._began = record.get("message") or record["reason"], None

    @property
    def done(self) -> int:
        """Steps of all walkers together."""
        return sum(self.steps.values())

    @property
    def total(self) -> int | None:
        """Steps that all walkers are to make together."""
        return None if self.n_steps is None else self.n_steps * max(self.n_walkers, len(self.steps))

    @property
    def hottest(self) -> Record | None:
        """The last step of the walker with the largest force std."""
        return max(self.walkers.values(), key=lambda r: r.get("max_force_std") or 0.0, default=None)

    def seconds_left(self) -> float | None:
        """From the steps made since this process began, the oracle's time included; None before there is a rate."""
        if self._began is None or self.total is None:
            return None
        # A walker that was resumed has made its first steps in another process.
        made, elapsed = self.done - sum(self._first.values()), time.monotonic() - self._began
        return None if made <= 0 or elapsed < 1.0 else (self.total - self.done) * elapsed / made
