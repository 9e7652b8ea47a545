"""The progress argument of estimators."""

from __future__ import annotations

import threading

import pytest

from kernpot.progress import lines, reporting


@pytest.mark.parametrize("nothing", [None, False])
def test_silent(nothing: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(nothing) as report:
        assert report is None
    assert capsys.readouterr().out == ""


def test_callable_is_used_as_it_is() -> None:
    seen = []

    def mine(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))

    with reporting(mine) as report:
        assert report is mine
        report("rows", 1, 2)
    assert seen == [("rows", 1, 2)]


def test_bars_show_stage_and_count(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(True) as report:
        assert report is not None
        report("rows", 1, 3)
        report("rows", 3, 3)
        report("second stage", 7, 7)
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "rows" in text
    assert "3/3" in text
    assert "second stage" in text


def test_long_work_writes_a_line_now_and_then_and_short_work_none(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    with lines("before", "after", written.append) as report:
        report("rows", 1, 4)
    assert written == []
    monkeypatch.setattr("kernpot.progress.FIRST_LINE", 0.02)
    seen = threading.Event()

    def write(line: str) -> None:
        written.append(line)
        seen.set()

    with lines("before", "after", write) as report:
        for stage, done, said in (("", 0, "before: 0 s"), ("rows", 1, "rows: 1 of 4"), ("rows", 4, "after: ")):
            if stage:
                report(stage, done, 4)
            seen.clear()
            assert seen.wait(5)
            assert written[-1].startswith(said)
