"""The progress argument of estimators."""

from __future__ import annotations

import pytest

from kernpot.progress import reporting


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
