"""From frames that a gate stopped at to a better model, by commands alone."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from kernpot import SparseGPPotential, load, read_structures
from kernpot.cli import label as label_module
from kernpot.cli.app import app
from kernpot.dynamics.frames import annotated
from kernpot.dynamics.oracles import CalculatorOracle, Oracle
from kernpot.uncertainty.evaluation import evaluate
from tests.helpers.systems import crystals, soap


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of mildly displaced copper, frames that it has predicted, wilder ones to test with."""
    path = tmp_path_factory.mktemp("loop")
    gp = SparseGPPotential(soap(), n_inducing=30, random_state=0).fit(crystals(12))
    gp.set_params(n_inducing=100)  # room for what is new
    gp.save(path / "m.kernpot")
    wild = crystals(12, seed=5, strain=0.12)
    write(path / "test.xyz", wild[:6])
    write(path / "m_gate.xyz", [annotated(a, p) for a, p in zip(wild[6:], gp.predict_full(wild[6:]), strict=True)])
    return path


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """EMT without a worker process, but where that is what is tested."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(label_module, "make_oracle", lambda *_: CalculatorOracle(EMT, isolate=False))


def test_the_loop_closes(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "labelled.xyz"
    assert "6 structures with energies and forces, 6 with stress" in run(
        "label", place / "m_gate.xyz", "--calculator", "emt", "-o", out
    )
    assert [path.name for path in tmp_path.iterdir()] == ["labelled.xyz"]
    for atoms, predicted in zip(read_structures(out), read(place / "m_gate.xyz", ":"), strict=True):
        again = atoms.copy()
        again.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=1e-6)
        assert not {"forces_std", "energies_std"} & set(atoms.arrays) and "energy_std" not in atoms.info
        assert atoms.get_potential_energy() != predicted.get_potential_energy()
    told = run("add", place / "m.kernpot", out, "-o", tmp_path / "m2.kernpot")
    assert "before: forces wrong by" in told and "6 structures more, 18 in all" in told
    models = (place / "m.kernpot", tmp_path / "m2.kernpot")
    before, after = (evaluate(load(file), read_structures(out)).rows("forces")[0].mae for file in models)
    assert after < 0.7 * before
    message = run("add", tmp_path / "m2.kernpot", out, "--force", code=1)
    assert "6 of 6 structures were learnt already" in message and "the model knows all of these" in message


def test_a_model_is_replaced_only_when_asked(place: Path) -> None:
    for command in ("add", "calibrate"):
        message = run(command, place / "m.kernpot", place / "test.xyz", code=1)
        assert "give its name with --output, or replace" in message and "with --force" in message


def test_calibrate_scales_error_bars_and_leaves_means(place: Path, tmp_path: Path) -> None:
    told = run("calibrate", place / "m.kernpot", place / "test.xyz", "-o", tmp_path / "c.kernpot")
    assert re.search(r"forces: misfit times [\d.]+ \([\d.]+ to [\d.]+\) by 6 structures: 90 % intervals held", told)
    atoms = read_structures(place / "test.xyz")[0]
    before, after = (load(file).predict_full([atoms])[0] for file in (place / "m.kernpot", tmp_path / "c.kernpot"))
    np.testing.assert_array_equal(before.forces.mean, after.forces.mean)
    assert not np.array_equal(before.forces.std, after.forces.std)


def test_predictions_are_marked_and_in_a_table(place: Path, tmp_path: Path) -> None:
    run("predict", place / "m.kernpot", place / "test.xyz", "-o", tmp_path / "p.xyz", "--table", tmp_path / "p.csv")
    structures = read_structures(place / "test.xyz")
    found = load(place / "m.kernpot").predict_full(structures)
    for atoms, expected in zip(read(tmp_path / "p.xyz", ":"), found, strict=True):
        assert atoms.get_potential_energy() == pytest.approx(float(expected.energy.mean))
        np.testing.assert_allclose(atoms.arrays["forces_std"], expected.forces.std, atol=1e-7)
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert [row["source"] for row in rows] == [f"test.xyz#{k}" for k in range(6)]
    assert float(rows[2]["energy_std"]) == pytest.approx(float(found[2].energy.std))
    assert "ends in .csv or .json" in run(
        "predict", place / "m.kernpot", place / "test.xyz", "-o", tmp_path / "q.xyz", "--table", "p.txt", code=2
    )


class Failing:
    """Labels all but the frames numbered, and counts what it is asked."""

    def __init__(self, *failing: int) -> None:
        self.failing, self.asked = failing, 0
        self._emt = CalculatorOracle(EMT, isolate=False)

    def answers(self, frames):
        from kernpot.errors import OracleFailure

        self.asked += len(frames)
        for k, answer in self._emt.answers(frames):
            yield k, OracleFailure("no convergence") if k in self.failing else answer

    def describe(self):
        return {"oracle": "one"}


def test_what_failed_is_told_and_alone_tried_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, oracles = tmp_path / "l.xyz", [Failing(1, 4), Failing()]
    assert isinstance(oracles[0], Oracle)
    monkeypatch.setattr(label_module, "make_oracle", lambda *_: oracles[0])
    message = run("label", place / "m_gate.xyz", "--oracle", "emt", "-o", out, code=1)
    assert "2 of 6 structures could not be labelled; of 2 the reason is: no convergence" in message
    assert len(read(out, ":")) == 4
    monkeypatch.setattr(label_module, "make_oracle", lambda *_: oracles[1])
    run("label", place / "m_gate.xyz", "--oracle", "emt", "-o", out, "--force")
    assert oracles[1].asked == 2 and len(read(out, ":")) == 6


@pytest.mark.wrong_input("Runs", "labels of two quantum codes or of other frames in one file", "refused")
def test_labels_of_another_oracle_or_other_frames_are_not_mixed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "l.xyz"
    monkeypatch.setattr(label_module, "make_oracle", lambda *_: Failing(0))
    run("label", place / "m_gate.xyz", "--oracle", "emt", "-o", out, code=1)
    assert "labels of other frames" in run("label", place / "test.xyz", "--oracle", "emt", "-o", out, "--force", code=1)
    monkeypatch.setattr(label_module, "make_oracle", lambda *_: CalculatorOracle(EMT, isolate=False))
    message = run("label", place / "m_gate.xyz", "--oracle", "emt", "-o", out, "--force", code=1)
    assert "labels of another oracle" in message and "must not be mixed" in message


@pytest.mark.wrong_input("Command line", "a quantum code that does not exist", "refused")
def test_an_unknown_oracle_is_refused_before_anything_is_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'emt'" in run("label", "absent.xyz", "--oracle", "emtt", code=1)
    assert list(tmp_path.iterdir()) == []


SLOW_EMT = """
import time
from ase.calculators.emt import EMT
class Slow(EMT):
    def calculate(self, *a, **k):
        time.sleep(0.4); super().calculate(*a, **k)
from ase.calculators.calculator import register_calculator_class
register_calculator_class("slow_emt", Slow)
from kernpot.cli.app import main
main()
"""


@pytest.mark.slow
def test_killed_it_loses_at_most_the_label_being_computed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_EMT)
    command = [sys.executable, "slow.py", "label", str(place / "m_gate.xyz"), "--oracle", "slow_emt", "-o", "l.xyz"]
    started = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    labels = tmp_path / "l.xyz.labels" / "labels"
    deadline = time.monotonic() + 60
    while len(list(labels.glob("0*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in labels.glob("0*.json")}
    assert 3 <= len(kept) < 6 and not (tmp_path / "l.xyz").exists()
    (labels.parent / "seen").mkdir()
    for name in kept:
        os.link(labels / name, labels.parent / "seen" / name)
    subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert len(read(tmp_path / "l.xyz", ":")) == 6 and not labels.exists()


def test_a_crystal_larger_than_the_model_has_seen_can_be_predicted(place: Path, tmp_path: Path) -> None:
    write(tmp_path / "big.xyz", bulk("Cu", cubic=True) * (2, 2, 2))
    assert "1 structures; largest std of a force" in run("predict", place / "m.kernpot", tmp_path / "big.xyz")
    assert (tmp_path / "big_predicted.xyz").exists()
