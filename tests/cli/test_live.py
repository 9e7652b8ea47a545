"""The live view: what it shows, that it stays in its width, and what it says where nothing stays in place."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from kernpot.cli import live_state
from kernpot.cli.live import LiveView
from tests.helpers.recorded_run import events

STEP = {
    "event": "step",
    "walker": 0,
    "step": 0,
    "n_steps": 1000,
    "time_fs": 0.0,
    "temperature": 312.4,
    "target_temperature": 300.0,
    "pressure": None,
    "volume": None,
    "energy": -1.0,
    "max_force_std": 0.12,
    "threshold": 0.15,
}


def drawn(view: LiveView, width: int) -> str:
    out = StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(view.render())
    return out.getvalue()


def watched(records: Any, terminal: bool = True, width: int = 80) -> tuple[LiveView, str]:
    out = StringIO()
    view = LiveView(Console(file=out, width=width, force_terminal=terminal), "ethanol-run")
    for record in records:
        view.observe(record)
    return view, out.getvalue()


def test_shows_where_the_run_is() -> None:
    text = drawn(watched(events())[0], 80)
    n_audited = sum(r.get("purpose") == "audit" for r in events())
    for words in (
        "ethanol-run  all steps are made.",
        "6000 of 6000 (100 %)",
        "(target 300 K)",
        "of 0.150 eV/Å",
        "10 bootstrap",
        f"{n_audited} audit",
        "1 failed",
        "largest force error",
        "0: 3000",
        "1: 3000",
    ):
        assert words in text, words


@pytest.mark.parametrize("width", [20, 40, 80])
def test_never_wraps(width: int) -> None:
    view, _ = watched(events(n_walkers=8))
    lines = drawn(view, width).splitlines()
    assert len(lines) <= 10 and max(map(len, lines)) <= width


def test_an_empty_run_can_be_drawn() -> None:
    assert "starting" in drawn(watched([])[0], 80)


@pytest.mark.parametrize(("std", "style"), [(0.03, "green"), (0.12, "yellow"), (0.2, "red")])
def test_the_bar_warns_near_the_threshold(std: float, style: str) -> None:
    out = StringIO()
    view, _ = watched([{**STEP, "max_force_std": std}])
    Console(file=out, width=80, force_terminal=True, color_system="standard").print(view.render())
    code = {"green": "\x1b[32m━", "yellow": "\x1b[33m━", "red": "\x1b[31m━"}
    assert {name for name, text in code.items() if text in out.getvalue()} == {style}


def test_time_left_counts_what_this_process_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run began at step 400, and takes 0.1 s a step."""
    clock = [100.0]
    monkeypatch.setattr(live_state.time, "monotonic", lambda: clock[0])
    state = live_state.LiveState()
    state.take({"event": "resume", "n_steps": 1000, "n_walkers": 2})
    state.take({**STEP, "step": 400})
    assert state.seconds_left() is None
    for walker, step in ((1, 400), (0, 450), (1, 450)):
        clock[0] += 5.0
        state.take({**STEP, "walker": walker, "step": step})
    assert state.seconds_left() == pytest.approx((2000 - 900) * 15 / 100)
    state.take({"event": "end", "reason": "interrupted", "message": ""})
    assert state.seconds_left() is None and state.doing == "interrupted"


def test_elsewhere_it_is_a_line_for_each_event_of_note_and_none_for_steps() -> None:
    records = list(events())
    _, text = watched(records, terminal=False, width=200)
    lines = text.splitlines()
    of_note = [r for r in records if r["event"] != "step"]
    assert len(lines) == len(of_note) + 10  # and one for each tenth of the way
    assert "\x1b" not in text
    assert any("gate: force std 0.1" in line and "(atom 2, C)" in line for line in lines)
    assert any(line.endswith("failed: SCF did not converge <in 80 iterations>") for line in lines)
    assert lines[-1] == "end: all steps are made."


@pytest.mark.parametrize(
    ("reason", "value", "said"),
    [
        ("force_std", 0.1234, "gate: force std 0.123 eV/Å above 0.05 (atom 2, C)"),
        ("energy_std", 4.2e-4, "gate: energy std 0.00042 eV/atom above 0.05 (atom 2, C)"),
        ("stress_std", 1.5e-4, "gate: stress std 0.00015 eV/Å³ above 0.05 (atom 2, C)"),
        ("novelty", 3.0, "gate: leverage 3 above 0.05 (atom 2, C)"),
    ],
)
def test_tells_each_reason_of_the_gate_in_its_unit(reason: str, value: float, said: str) -> None:
    record = {"event": "gate", "walker": 0, "step": 7, "time_fs": 3.5, "atom": 2, "element": "C"}
    _, text = watched([record | {"reason": reason, "value": value, "threshold": 0.05}], terminal=False, width=200)
    assert text.strip() == f"step 7: {said}"


def test_on_a_terminal_it_stays_in_place() -> None:
    out = StringIO()
    view = LiveView(Console(file=out, width=80, force_terminal=True), "run")
    with view.shown():
        for record in events():
            view.observe(record)
    assert out.getvalue().count("all steps are made") == 1  # drawn a few times a second, not once for every event
