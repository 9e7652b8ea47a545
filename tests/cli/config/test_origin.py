"""A run that came from elsewhere starts no program of its own accord."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kernpot.cli.app import app
from kernpot.cli.config.origin import note_origin, require_own
from kernpot.cli.config.reading import read_config
from kernpot.errors import KernpotError

SETTINGS = """\
structures: start.json
oracle: {kind: KIND, settings: {command: "touch was_started; pw.x"}}
dynamics: [{steps: 5}]
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with settings that name a command."""
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "config.yaml").write_text(SETTINGS.replace("KIND", "espresso"))
    note_origin(directory)
    return directory


def require(directory: Path) -> None:
    require_own(read_config(directory / "config.yaml"), directory / "config.yaml")


def test_ones_own_run_goes_on_where_it_was_moved_to(run: Path, tmp_path: Path) -> None:
    require(run)
    run.rename(tmp_path / "moved")
    require(tmp_path / "moved")


@pytest.mark.wrong_input("Runs", "a run directory that was copied here and names a program to start", "refused")
def test_a_copied_run_is_asked_about(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    with pytest.raises(KernpotError, match=r"was not begun here.*espresso.*touch was_started; pw.x.*add --trust"):
        require(copy)
    result = CliRunner().invoke(app, ["learn", "--resume", str(copy)])
    assert result.exit_code == 1 and "--trust" in result.output and "Traceback" not in result.output
    note_origin(copy)  # as --trust does
    require(copy)


@pytest.mark.wrong_input("Runs", "a run directory of another user that names a program to start", "refused")
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners of files here")
def test_a_run_of_another_user_is_asked_about(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: run.stat().st_uid + 1)
    with pytest.raises(KernpotError, match=r"belongs to another user.*add --trust"):
        require(run)


def test_what_starts_nothing_is_not_asked_about(run: Path) -> None:
    (run / ".begun_here").unlink()
    text = SETTINGS.replace("KIND", "emt").replace('{command: "touch was_started; pw.x"}', "{}")
    (run / "config.yaml").write_text(text)
    require(run)
