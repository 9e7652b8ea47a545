"""How long work reports itself: a callable ``(stage, done, total)``, a bar in the terminal, or a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Report = Callable[[str, int, int], None]

FIRST_LINE = 5.0
"""Seconds after which work that takes longer says so; then after twice as many, and so on."""

# Seconds between lines, at most.
_LONGEST = 60.0


@contextmanager
def reporting(progress: bool | Report | None) -> Iterator[Report | None]:
    """Turn an estimator's ``progress`` argument into a callable; True shows bars with the time left."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    shown = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *shown) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


@contextmanager
def lines(
    before: str = "",
    after: str = "",
    write: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> Iterator[Report]:
    """Lines after 5, 10, 20, 40 s and then every minute, for files and for work that is mostly short.

    Parameters
    ----------
    before, after : str
        Name of the work before the first report, and of that after a stage is done.
    write : callable
        Given a line; by default it goes to stderr.

    Yields
    ------
    callable
        ``report(stage, done, total)``.
    """
    told = _Told(before, after, write)
    watcher = threading.Thread(target=told.watch, daemon=True)
    watcher.start()
    try:
        yield told.report
    finally:
        told.finished.set()
        watcher.join()


class _Told:
    """What has been reported, and when the next line is due."""

    def __init__(self, before: str, after: str, write: Callable[[str], None]) -> None:
        self.finished = threading.Event()
        self._after, self._write = after, write
        self._stage, self._done, self._total = before, 0, 0
        self._began = self._stage_began = time.monotonic()

    def report(self, stage: str, done: int, total: int) -> None:
        """Take note of how far a stage is."""
        if stage != self._stage:
            self._stage_began = time.monotonic()
        self._stage, self._done, self._total = stage, done, total
        if done >= total and self._after:
            self._stage, self._done, self._total = self._after, 0, 0
            self._stage_began = time.monotonic()

    def watch(self) -> None:
        """Write lines until all is done; a thread does."""
        wait = FIRST_LINE
        while not self.finished.wait(wait):
            self._write(self._line())
            wait = min(time.monotonic() - self._began, _LONGEST)

    def _line(self) -> str:
        now = time.monotonic()
        what, spent = self._stage or "working", f"{now - self._began:.0f} s"
        if not self._total:
            return f"{what}: {spent}"
        left = ""
        if 0 < self._done < self._total:
            seconds = (now - self._stage_began) / self._done * (self._total - self._done)
            left = f", about {seconds:.0f} s left"
        return f"{what}: {self._done} of {self._total} after {spent}{left}"
