"""A run as one watches it: a few lines that stay in place on a terminal, one line per event of note elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kernpot.cli.live_state import LiveState, Record
from kernpot.dynamics.reasons import REASONS
from kernpot.report.plain import visible

_BAR = 24
_REFRESH_PER_SECOND = 4


class LiveView:
    """Shows a run that is told event by event.

    Parameters
    ----------
    console : Console
    title : str
        Name of the run.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.state = LiveState()
        self._console = console
        self._title = visible(title)
        self._tenth = 0

    def observe(self, record: Record) -> None:
        """Take note of one event; where nothing can stay in place, say what is worth a line."""
        self.state.take(record)
        if self._console.is_terminal:
            return
        line = self._line(record)
        if line:
            self._console.print(visible(line), markup=False, soft_wrap=True)

    @contextmanager
    def shown(self) -> Iterator[LiveView]:
        """Keep the view on the screen; the last state stays there."""
        if not self._console.is_terminal:
            yield self
            return
        # The view is drawn from the state a few times a second, however fast the events come.
        with Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=_REFRESH_PER_SECOND,
            vertical_overflow="crop",
        ):
            yield self

    def render(self) -> RenderableType:
        """The view."""
        state, hottest = self.state, self.state.hottest
        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim", no_wrap=True, min_width=11)
        table.add_column(no_wrap=True, overflow="ellipsis")
        if state.total:
            table.add_row(
                "step", f"{state.done} of {state.total} ({100 * state.done / state.total:.0f} %){_left(state)}"
            )
            table.add_row("", ProgressBar(total=state.total, completed=state.done, width=_BAR))
        if hottest is not None:
            table.add_row("temperature", _temperature(hottest))
            if hottest.get("pressure") is not None:
                table.add_row("pressure", f"{hottest['pressure']:.2f} GPa, volume {hottest['volume']:.1f} Å³")
            if hottest.get("max_force_std") is not None:
                table.add_row("force std", _std_text(hottest))
                table.add_row("", _std_bar(hottest))
        if state.labels or state.failed:
            table.add_row("labels", labels_text(state))
        if state.judged is not None:
            table.add_row("last label", _judged_text(state.judged))
        if len(state.walkers) > 1:
            table.add_row("walkers", _walkers_text(state))
        heading = Text.assemble((self._title, "bold"), "  ", (state.doing, "cyan"), no_wrap=True, overflow="ellipsis")
        return Group(heading, table)

    def _line(self, record: Record) -> str | None:
        kind = record["event"]
        at = f"step {record['step']}: " if record.get("step") is not None else ""
        if kind in ("start", "resume"):
            return f"{self._title}: {self.state.doing}, {record.get('n_steps')} steps"
        if kind == "step":
            return self._milestone(record)
        if kind == "gate":
            return f"{at}gate: {gate_text(record)}"
        if kind == "label":
            judged = f", {_judged_text(record)}" if record.get("max_force_error") is not None else ""
            return f"{at}label {record['label']} ({record['purpose']}, {record['seconds']:.1f} s){judged}"
        if kind == "failed":
            what = "" if record.get("label") is None else f"label {record['label']} "
            return f"{at}{what}({record['purpose']}) failed: {record['reason']}"
        if kind == "learn":
            return f"learnt {record['labels']} labels ({record['kind']}, {record['seconds']:.1f} s)"
        if kind == "trial":
            return f"trial: {record['message']}"
        return f"end: {self.state.doing}" if kind == "end" else None

    def _milestone(self, record: Record) -> str | None:
        """A line for each tenth of the way."""
        total = self.state.total or 1
        tenth = 10 * self.state.done // total
        if tenth <= self._tenth:
            return None
        self._tenth = tenth
        std = record.get("max_force_std")
        force = "" if std is None else f", force std {_std_text(record)}"
        return f"step {self.state.done} of {total}: {_temperature(record)}{force}{_left(self.state)}"


def labels_text(state: LiveState) -> str:
    """How many labels of which kind there are."""
    parts = [f"{n} {purpose}" for purpose, n in state.labels.items()]
    failed = f", {state.failed} failed" if state.failed else ""
    return f"{state.labels.total()} ({', '.join(parts)}){failed}" if parts else f"0{failed}"


def gate_text(record: Record) -> str:
    """Why the gate fired, in words."""
    criterion = REASONS[record["reason"]]
    value, threshold = criterion.shown(record["value"]), f"{record['threshold']:.3g}"
    return f"{criterion.name} {value} above {threshold} (atom {record['atom']}, {record['element']})"


def _left(state: LiveState) -> str:
    seconds = state.seconds_left()
    return "" if seconds is None else f", {timedelta(seconds=round(seconds))} left"


def _temperature(record: Record) -> str:
    target = record.get("target_temperature")
    return f"{record['temperature']:.0f} K" + ("" if target is None else f" (target {target:.0f} K)")


def _std_text(record: Record) -> str:
    threshold = record.get("threshold")
    return f"{record['max_force_std']:.3f}" + ("" if threshold is None else f" of {threshold:.3f}") + " eV/Å"


def _std_bar(record: Record) -> RenderableType:
    """How near the threshold the largest force std is: the whole bar is the threshold."""
    threshold = record.get("threshold")
    if not threshold:
        return ""
    share = record["max_force_std"] / threshold
    style = "red" if share > 1 else "yellow" if share > 0.7 else "green"
    return ProgressBar(total=1.0, completed=min(share, 1.0), width=_BAR, complete_style=style, finished_style=style)


def _judged_text(record: Record) -> str:
    std = record.get("max_force_std")
    expected = "" if std is None else f", std {std:.3f}"
    return f"largest force error {record['max_force_error']:.3f}{expected} eV/Å"


def _walkers_text(state: LiveState) -> str:
    return "  ".join(
        f"{index}: {record['step']} {record['temperature']:.0f} K" for index, record in sorted(state.walkers.items())
    )
