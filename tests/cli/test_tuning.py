"""`kernpot fit --tune`: what it does not go with, a table, and a journal that the same command goes on with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ase.io import write
from typer.testing import CliRunner

from kernpot import load
from kernpot.cli import tuning
from kernpot.cli.app import app
from tests.helpers.systems import crystals


def run(*arguments: object, code: int = 0) -> str:
    """Run kernpot, require the exit code, return stdout and stderr without line breaks."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return re.sub(r"[\s│]+", " ", result.output)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tune") / "train.xyz"
    write(path, crystals(8))
    return path


@pytest.mark.parametrize("option", ["--n-inducing", "--cutoff", "--n-max", "--l-max", "--zeta"])
def test_options_that_it_stands_for_are_refused(train: Path, option: str) -> None:
    told = run("fit", train, "--tune", 1, option, 3, code=2)
    assert f"Invalid value for {option}: --tune chooses descriptor and number of inducing" in told


def test_other_backends_and_times_are_refused(train: Path) -> None:
    assert "got --backend nnp; leave one of the two out" in run("fit", train, "--tune", 1, "--backend", "nnp", code=2)
    assert "Invalid value for '--tune'" in run("fit", train, "--tune", 0, code=2)


def test_the_same_command_goes_on_and_others_know_of_it(train: Path, tmp_path: Path) -> None:
    model, settings = tmp_path / "m.kernpot", tmp_path / "fit.yaml"
    settings.write_text(f"train: {train}\noutput: m.kernpot\ntune: 0.01\n")
    first = run("fit", settings)
    journal = tmp_path / "m.kernpot.tune.jsonl"
    assert f"trials are kept in {journal}" in first and "Tuning: errors on structures left out" in first
    assert "1 * " in first or "2 * " in first
    trials, mark = journal.read_text(), load(model).summary_["data_hash"]
    again = run("fit", train, "-o", model, "--tune", 0.01, "--force")
    assert f"going on with the trials in {journal}" in again and "wrote" in again
    assert journal.read_text() == trials and load(model).summary_["data_hash"] == mark
    assert "Tuning Trials" in run("info", model)
    run("evaluate", model, train, "--report", tmp_path / "report")
    assert "<h3>Tuning</h3>" in (tmp_path / "report" / "report.html").read_text()
    told = run("fit", train, "-o", model, "--tune", 0.01, "--force", "--seed", 1, code=1)
    assert "is the journal of another search: it was made with other random_state" in told


def test_an_interrupt_says_where_it_goes_on(train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "tune", interrupted)
    told = run("fit", train, "-o", tmp_path / "m.kernpot", "--tune", 1, code=130)
    assert f"finished trials are kept in {tmp_path / 'm.kernpot.tune.jsonl'}: the same command goes on" in told
