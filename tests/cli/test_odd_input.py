"""Every command ends with one sentence and exit code 1 or 2, whatever it is given, or works."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
import typer
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from kernpot.cli import info as info_module
from kernpot.cli.app import app
from kernpot.engines.lammps import launch
from kernpot.errors import KernpotError


def run(*arguments: object, code: int) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit) and "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("md", "m.kernpot", "start.xyz"), "--force-std"),
        (("md", "m.kernpot", "start.xyz"), "--temperature"),
        (("md", "m.kernpot", "start.xyz"), "--pressure"),
        (("md", "m.kernpot", "start.xyz"), "--tolerance"),
        (("fit", "train.xyz"), "--cutoff"),
        (("properties", "m.kernpot", "crystal.xyz"), "--level"),
    ],
)
@pytest.mark.wrong_input("Command line", "a number that is infinite or none", "refused")
def test_numbers_are_finite(command: tuple[str, ...], option: str, value: str) -> None:
    assert option in run(*command, f"{option}={value}", code=2)


@pytest.mark.parametrize("command", [("fit", "t"), ("md", "m", "s"), ("properties", "m", "c"), ("compare", "t")])
@pytest.mark.wrong_input("Command line", "a seed that no generator takes", "refused")
def test_seeds_are_those_of_all_generators(command: tuple[str, ...]) -> None:
    assert "--seed" in run(*command, "--seed", 2**32, code=2)


def test_what_nobody_foresaw_is_one_message_and_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(info_module, "read_model", broken)
    assert "error: ZeroDivisionError: by zero" in run("info", "m.kernpot", code=1)
    monkeypatch.setenv("KERNPOT_TRACEBACK", "1")
    assert isinstance(CliRunner().invoke(app, ["info", "m.kernpot"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("error", "told"), [(MemoryError("46 GB"), "not enough memory"), (RecursionError(), "too deeply")]
)
def test_the_limits_of_python_are_told(monkeypatch: pytest.MonkeyPatch, error: BaseException, told: str) -> None:
    def broken(_: Path) -> None:
        raise error

    monkeypatch.setattr(info_module, "read_model", broken)
    assert told in run("info", "m.kernpot", code=1)


def test_sigterm_ends_a_command_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info_module, "read_model", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert "ended by SIGTERM" in run("info", "m.kernpot", code=143)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["", "-", "loop", "pipe"])
@pytest.mark.wrong_input("Command line", "a name under which no file can be written", "refused")
def test_names_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write("crystal.xyz", bulk("Cu"))
    Path("m.kernpot").touch()
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    before = sorted(os.listdir())
    assert "error: " in run("fit", "crystal.xyz", "-o", name, "--force", code=1)
    run("md", "m.kernpot", "crystal.xyz", "-o", name, "--force", code=2 if name == "" else 1)
    run("properties", "m.kernpot", "crystal.xyz", "-o", name, "--force", code=1)
    run("learn", name, code=1)
    run("learn", name, "--init", code=1)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "text", ["gate: [", "gate: {tolerance: [1]}", "- a\n- b", "gate: *unknown", "\xe9: 1", "a: !!python/x 1"]
)
@pytest.mark.wrong_input("Runs", "a mistake in the edited settings of a run that is reported", "read right")
def test_a_report_needs_no_settings(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_bytes(text.encode("latin-1"))
    start = {"event": "start", "version": "1", "n_steps": 5, "n_walkers": 1, "labels": 0, "time": "now", "elapsed": 0.0}
    (tmp_path / "events.jsonl").write_text(json.dumps(start) + "\n")
    assert "wrote" in CliRunner().invoke(app, ["report", str(tmp_path)]).output


@pytest.mark.wrong_input("Command line", "a LAMMPS script in Latin-1", "read right")
def test_a_script_may_be_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes come to LAMMPS as they are; where the script lacks something, that is what is told."""
    script, written = tmp_path / "in.script", []
    monkeypatch.setattr(launch, "require_lammps", lambda: None)
    monkeypatch.setattr(launch, "load", lambda _: None)
    monkeypatch.setattr(launch, "run_child", lambda command, _: (written.append(command), (0, ""))[1])
    script.write_bytes(b"# caf\xe9\npair_style kernpot\npair_coeff * * Si\n")
    assert launch.run_script(script, "m.kernpot") == 0 and len(written) == 1
    script.write_bytes(b"# caf\xe9\n")
    with pytest.raises(KernpotError, match="expected one line 'pair_style kernpot'"):
        launch.run_script(script, "m.kernpot")


def test_all_commands_check_their_numbers() -> None:
    """Also those that come after: the check is on every command of the app."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    alone = {name: command for name, command in commands.items() if not hasattr(command, "commands")}
    within = [command for group in commands.values() for command in getattr(group, "commands", {}).values()]
    assert len(within) >= 4
    assert {type(command).__name__ for command in (*alone.values(), *within)} == {"_Command"}
