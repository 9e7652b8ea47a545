"""`kernpot learn` and `kernpot report`: from a file of settings to a run directory that needs nothing else."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from typer.testing import CliRunner

from kernpot.cli import learn as learn_module
from kernpot.cli.app import app
from kernpot.cli.config import build
from kernpot.cli.config.reading import read_config
from kernpot.dynamics.bias import BiasedCalculator
from kernpot.dynamics.oracles import CalculatorOracle
from kernpot.dynamics.reasons import DEFAULT_FORCE_STD
from kernpot.files.container import load

SETTINGS = """\
structures: start.xyz
oracle: {kind: emt, workers: 1}
potential: {cutoff: 3.5, n_max: 3, l_max: 2, n_inducing: 12, noise: {forces: 0.02}}
dynamics:
  - {ensemble: langevin, temperature: [300, 600], steps: 20, timestep: 3}
gate: {force_std: 0.2, every: 5}
bootstrap: {number: 4}
audit: 15
record: 5
"""


def kernpot(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and a rattled crystal of copper, computed in this process."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    write(tmp_path / "start.xyz", atoms)
    (tmp_path / "cu.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)

    original = build.make_oracle

    def in_this_process(config: Any, directory: Path) -> Any:
        made = original(config, directory)
        return CalculatorOracle(EMT, isolate=False) if isinstance(made, CalculatorOracle) else made

    monkeypatch.setattr(build, "make_oracle", in_this_process)
    return tmp_path


def events(directory: Path, kind: str) -> list[dict[str, Any]]:
    lines = (directory / "events.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == kind]


def test_init_writes_what_can_be_read_and_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "kernpot learn learn.yaml" in kernpot("learn", "--init")
    config = read_config(tmp_path / "learn.yaml")
    assert [a.get_chemical_formula() for a in read(tmp_path / config.structures[0], ":")] == ["C2H6O"]
    assert config.gate.force_std == DEFAULT_FORCE_STD
    assert "exists, and is not replaced" in kernpot("learn", "learn.yaml", "--init", code=1)
    assert "ethanol.xyz exists" in kernpot("learn", "other.yaml", "--init", code=1)
    assert not (tmp_path / "other.yaml").exists()
    assert "the folder no does not exist" in kernpot("learn", "no/learn.yaml", "--init", code=1)


@pytest.mark.slow
def test_a_run_from_beginning_to_end(place: Path) -> None:
    output = kernpot("learn", "cu.yaml")
    directory = place / "cu"
    assert "finished: all 20 steps are made" in output and "labels learnt" in output
    for name in ("model.kernpot", "timeline.html", "config.yaml", "structures.json", "trajectory_0.xyz"):
        assert (directory / name).is_file()
    assert len(re.findall(r"label \d+ \(", output)) == len(events(directory, "label"))
    assert "- structures.json" in (directory / "timeline.html").read_text(encoding="utf-8")
    potential = load(directory / "model.kernpot")
    assert potential.cutoff == 3.5 and potential.noise_["forces"] == 0.02
    assert "holds a run already; go on with it: kernpot learn --resume cu" in kernpot("learn", "cu.yaml", code=1)
    assert "wrote" in kernpot("report", directory, "-o", place / "page.html")
    assert (place / "page.html").stat().st_size > 50_000


@pytest.mark.slow
def test_the_directory_is_all_a_resumed_run_needs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder, without the settings and the structure, moved, and with more steps than before."""
    kernpot("learn", "cu.yaml", "--directory", "run")
    before = len(events(place / "run", "label"))
    np.testing.assert_array_equal(
        read(place / "run" / "structures.json").positions, read(place / "start.xyz").positions
    )
    (place / "start.xyz").unlink()
    (place / "cu.yaml").unlink()
    (place / "elsewhere").mkdir()
    (place / "run").rename(place / "elsewhere" / "moved")
    monkeypatch.chdir("/")
    moved = place / "elsewhere" / "moved"
    text = (moved / "config.yaml").read_text()
    assert text.startswith("# The settings of this run as they are used") and "steps: 20" in text
    (moved / "config.yaml").write_text(text.replace("steps: 20", "steps: 30"))
    assert "all 30 steps are made" in kernpot("learn", "--resume", moved)
    assert len(events(moved, "resume")) == 1
    assert [r["label"] for r in events(moved, "label")] == sorted({r["label"] for r in events(moved, "label")})
    assert len(events(moved, "label")) >= before


def test_ctrl_c_saves_and_the_resumed_run_ends_where_the_whole_one_does(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernpot("learn", "cu.yaml", "-d", "whole")
    original = learn_module.LiveView.observe

    def observe(self: Any, record: Any) -> None:
        original(self, record)
        if record["event"] == "step" and record["step"] == 10:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(learn_module.LiveView, "observe", observe)
    output = kernpot("learn", "cu.yaml", "-d", "parts", code=130)
    assert "interrupted" in output and "go on: kernpot learn --resume parts" in output
    monkeypatch.setattr(learn_module.LiveView, "observe", original)
    kernpot("learn", "--resume", "parts")
    atoms = bulk("Cu", a=3.7)
    first, second = (load(place / name / "model.kernpot").predict_full([atoms])[0] for name in ("whole", "parts"))
    assert first.energy.mean == second.energy.mean and first.energy.std == second.energy.std


def test_a_second_ctrl_c_aborts_and_says_how_to_go_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def aborted(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kernpot.dynamics.learner.OnTheFlyLearner.run", aborted)
    assert "kernpot learn --resume cu" in kernpot("learn", "cu.yaml", code=130)


def test_labels_that_somebody_else_computes(place: Path) -> None:
    (place / "cu.yaml").write_text(
        SETTINGS.replace("kind: emt, workers: 1", "kind: files, settings: {folder: ./queue}")
    )
    output = kernpot("learn", "cu.yaml", code=4)
    assert "go on: kernpot learn --resume cu" in output
    waiting = sorted((place / "queue").glob("*/frame.xyz"))
    assert len(waiting) == 4
    for file in waiting:
        atoms = read(file)
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
        write(file.with_name("results.xyz"), atoms, format="extxyz")
        (file.parent / "done").touch()
    kernpot("learn", "--resume", "cu", code=4)
    assert len(events(place / "cu", "label")) >= 4 and (place / "cu" / "model.kernpot").is_file()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: emt", "kind: emtt", "unknown calculator 'emtt'; did you mean 'emt'"),
        ("kind: emt, workers: 1", "kind: files, settings: {wiat: 1}", "oracle.settings: .*wiat"),
        ("ensemble: langevin", "ensemble: npt", "periodic in three directions"),
        ("structures: start.xyz", "structures: absent.xyz", "absent.xyz: no such file"),
        ("workers: 1", "workers: 0", r"cu.yaml, line 2: oracle.workers: expected a whole number of calculations"),
        ("cutoff: 3.5", "cutof: 3.5", r"potential.cutof: there is no such key. Did you mean cutoff\?"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(place: Path, old: str, new: str, message: str) -> None:
    atoms = read("start.xyz")
    atoms.pbc = [True, True, False]
    write("start.xyz", atoms)
    (place / "cu.yaml").write_text(SETTINGS.replace(old, new))
    assert re.search(message, kernpot("learn", "cu.yaml", code=1))
    assert not (place / "cu").exists()


def test_paths_in_settings_become_absolute(place: Path) -> None:
    settings = {"pseudo_dir": "./pseudo", "command": "pw.x", "input": {"prefix": "../x"}, "depth": 3}
    assert build.with_absolute_paths(settings, place / "a") == {
        "pseudo_dir": str(place / "a" / "pseudo"),
        "command": "pw.x",
        "input": {"prefix": str(place / "x")},
        "depth": 3,
    }


@pytest.mark.slow
def test_the_tolerance_sets_the_threshold(place: Path) -> None:
    """Twelve first labels, and the threshold that their errors give to the potential that learnt them."""
    gate, number = "{tolerance: {max_force_error: 0.5, missed: 0.1}, every: 5}", "number: 12"
    text = SETTINGS.replace("{force_std: 0.2, every: 5}", gate).replace("number: 4", number)
    text = text.replace("steps: 20", "steps: 5")
    (place / "cu.yaml").write_text(text)
    kernpot("learn", "cu.yaml")
    last = events(place / "cu", "step")[-1]["threshold"]
    assert 0.01 < last < 0.5


def test_without_a_threshold_the_gate_has_the_default_one(place: Path) -> None:
    (place / "cu.yaml").write_text(SETTINGS.replace("{force_std: 0.2, every: 5}", "{every: 5}").replace("20", "5"))
    kernpot("learn", "cu.yaml")
    assert {record["threshold"] for record in events(place / "cu", "step")} == {DEFAULT_FORCE_STD}
    assert f"eV/Å. {DEFAULT_FORCE_STD}" in " ".join(kernpot("md", "--help").replace("│", " ").split())


def test_the_bias_drives_the_dynamics(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Noted(BiasedCalculator):
        def __init__(self, potential: Any, tau: float) -> None:
            super().__init__(potential, tau)
            made.append(tau)

    monkeypatch.setattr(build, "BiasedCalculator", Noted)
    (place / "cu.yaml").write_text(SETTINGS.replace("steps: 20", "steps: 5") + "bias: 0.7\n")
    kernpot("learn", "cu.yaml")
    assert made and set(made) == {0.7}
