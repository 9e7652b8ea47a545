"""`kernpot md`: ensembles, frames with their stds, the gate's options, stopping and going on."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixedLine
from ase.io import read, write
from typer.testing import CliRunner

from kernpot.calculator import KernpotCalculator
from kernpot.cli import md as md_module
from kernpot.cli import md_beginning, simulation
from kernpot.cli.app import app
from kernpot.dynamics.schedule import Schedule
from tests.helpers.fakes import LennardJones


class Argon(LennardJones):
    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        return KernpotCalculator(self, skin)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a crystal of argon, a cluster, and a stand-in for the model file."""
    write(tmp_path / "crystal.xyz", bulk("Ar", a=5.3, cubic=True))
    write(tmp_path / "cluster.xyz", Atoms("Ar3", [[0.0, 0.0, 0.0], [3.9, 0.0, 0.0], [1.9, 3.2, 0.1]]))
    (tmp_path / "ar.kernpot").touch()
    for module in (md_module, md_beginning):
        monkeypatch.setattr(module, "load", lambda _: Argon())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def md(*arguments: object, code: int = 0) -> str:
    given = ["md", "ar.kernpot", *map(str, arguments)]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, given)
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


def frames(name: str = "md.xyz") -> list[Any]:
    return read(name, ":")


def test_every_frame_carries_its_stds(place: Path) -> None:
    md("crystal.xyz", "--steps", 4, "--every", 2)
    potential = LennardJones()
    assert [(a.info["step"], a.info["time_fs"]) for a in frames()] == [(0, 0), (2, 2), (4, 4)]
    for atoms in frames():
        prediction = potential.predict_full([atoms])[0]
        np.testing.assert_allclose(atoms.arrays["forces_std"], prediction.forces.std, atol=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), prediction.forces.mean, atol=1e-6)
        assert atoms.info["energy_std"] == pytest.approx(float(prediction.energy.std))
        assert set(atoms.calc.results) <= {"energy", "free_energy", "forces", "stress"}


def test_nve_conserves_energy_and_langevin_does_not(place: Path) -> None:
    def drift(*options: object) -> float:
        md("crystal.xyz", "--steps", 300, "--every", 20, "--timestep", 2, "--temperature", 40, "--force", *options)
        total = [atoms.get_total_energy() for atoms in frames()]
        return float(np.ptp(total))

    assert drift("--ensemble", "nve") < 5e-4 < 1e-2 < drift("--ensemble", "langevin", "--friction", 20)


@pytest.mark.slow
def test_npt_follows_the_pressure(place: Path) -> None:
    def volume(pressure: float) -> float:
        options = ("--ensemble", "npt", "--pressure", pressure, "--timestep", 5, "--temperature", 10, "--force")
        md("crystal.xyz", "--steps", 600, "--every", 20, "--friction", 10, *options)
        return float(np.mean([atoms.get_volume() for atoms in frames()[15:]]))

    assert volume(1.0) < 0.95 * volume(0.0)


def test_npt_of_a_cluster_is_refused_and_nothing_written(place: Path) -> None:
    assert "periodic in three directions" in md("cluster.xyz", "--ensemble", "npt", code=1)
    assert not (place / "md.xyz").exists()


@pytest.mark.parametrize("options", [("--temperature", -400), ("--temperature", 300, "--final-temperature", -1)])
def test_a_negative_temperature_is_refused_in_a_sentence(place: Path, options: tuple[object, ...]) -> None:
    assert str(options[-2]) in md("crystal.xyz", *options, code=2)
    assert not (place / "md.xyz").exists()


def test_a_ramp_heats(place: Path) -> None:
    ramp = ("--temperature", 10, "--final-temperature", 80, "--friction", 50, "--timestep", 5)
    md("crystal.xyz", "--steps", 1200, *ramp, "--force-std", 9)
    temperatures = [2 * a.get_kinetic_energy() / (3 * len(a) * units.kB) for a in frames()]
    assert np.mean(temperatures[:30]) < 30 < 50 < np.mean(temperatures[-20:])


def test_recording_goes_on_and_keeps_what_was_seen(place: Path) -> None:
    output = md("crystal.xyz", "--steps", 6, "--force-std", 1e-5, "--on-event", "record")
    assert "the gate fired 1 time(s)" in output and "6 steps done" in output
    assert len(read("md_gate.xyz", ":")) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [(("--force-std", 1e-5), "force component"), (("--force-std", 9, "--energy-std", 1e-5), "the energy has a std")],
)
def test_thresholds(place: Path, options: tuple[object, ...], reason: str) -> None:
    assert f"step 0: {reason}" in re.sub(" a force", " force", md("crystal.xyz", *options, code=3))


def test_patience_and_how_often_the_gate_looks(place: Path) -> None:
    output = md("crystal.xyz", "--steps", 50, "--force-std", 1e-5, "--patience", 3, "--gate-every", 7, code=3)
    assert "gate stopped: step 14:" in output


def test_the_threshold_follows_from_a_tolerance(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(md_module, "threshold_for", lambda _, error, missed: error * missed)
    output = md("crystal.xyz", "--tolerance", 0.001, code=3)
    assert "force std 1e-05 eV/Å" in output and "above the gate's 1e-05" in output


def test_resumed_it_goes_on_where_it_was(place: Path) -> None:
    """Without a thermostat there is nothing random: one run in two parts is the same run, to the file's digits."""
    options = ("--ensemble", "nve", "--every", 5, "--temperature", 30)
    md("crystal.xyz", *options, "--steps", 40, "-o", "whole.xyz")
    md("crystal.xyz", *options, "--steps", 20)
    md("--resume", *options, "--steps", 40)
    assert [a.info["step"] for a in frames()] == [a.info["step"] for a in frames("whole.xyz")]
    np.testing.assert_allclose(frames()[-1].positions, frames("whole.xyz")[-1].positions, atol=1e-5)
    np.testing.assert_allclose(frames()[-1].get_momenta(), frames("whole.xyz")[-1].get_momenta(), atol=1e-4)


def test_ctrl_c_finishes_the_step_and_saves_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = simulation.Simulation._frame

    def frame(self: simulation.Simulation, step: int, memory: dict[str, float]) -> None:
        original(self, step, memory)
        if step == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(simulation.Simulation, "_frame", frame)
    output = md("crystal.xyz", "--steps", 100, "--every", 2, code=130)
    assert "stopped after step 4 of 100" in output and "--resume" in output
    assert [a.info["step"] for a in frames()] == [0, 2, 4]
    md("--resume", "--steps", 7, "--every", 2)
    assert [a.info["step"] for a in frames()] == [0, 2, 4, 6, 7]


def test_another_file_is_no_trajectory_to_go_on_from(place: Path) -> None:
    assert "has no crystal.run.json beside it" in md("--resume", "-o", "crystal.xyz", code=1)
    md("cluster.xyz", "--steps", 2, "-o", "other.xyz")
    (place / "other.run.json").rename("crystal.run.json")
    assert "is no trajectory of kernpot md" in md("--resume", "-o", "crystal.xyz", code=1)


def test_a_resumed_run_keeps_its_physics(place: Path) -> None:
    """In two parts without an option given again, and longer than planned: the same run as in one part."""
    options = ("--ensemble", "nve", "--every", 5, "--temperature", 30, "--timestep", 3, "--force-std", 8)
    md("crystal.xyz", *options, "--steps", 40, "-o", "whole.xyz")
    md("crystal.xyz", *options, "--steps", 20)
    md("--resume", "--steps", 40)
    assert [a.info["time_fs"] for a in frames()] == [15.0 * k for k in range(9)]
    np.testing.assert_allclose(frames()[-1].positions, frames("whole.xyz")[-1].positions, atol=1e-5)


def test_a_ramp_ends_where_it_was_planned_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Schedule] = []
    original = simulation.Simulation.__init__

    def noted(self: simulation.Simulation, atoms: Atoms, schedule: Schedule, *others: Any, **more: Any) -> None:
        seen.append(schedule)
        original(self, atoms, schedule, *others, **more)

    monkeypatch.setattr(simulation.Simulation, "__init__", noted)
    md("crystal.xyz", "--steps", 4, "--temperature", 10, "--final-temperature", 50, "--timestep", 3)
    md("--resume", "--steps", 8)
    md("--resume", "--steps", 9)
    assert [seen[2].temperature_at(step) for step in (0, 2, 4, 6, 9)] == [10, 30, 50, 50, 50]
    assert [a.info["step"] for a in frames()] == [0, 4, 8, 9] and frames()[-1].info["time_fs"] == 27


def test_the_barostat_goes_on_with_the_momentum_of_the_cell(place: Path) -> None:
    options = ("--ensemble", "npt", "--pressure", 1, "--temperature", 10, "--timestep", 4)
    md("crystal.xyz", *options, "--steps", 30)
    before = frames()[-1].info["p_eps"]
    md("--resume", "--steps", 31)
    after = frames()[-1].info["p_eps"]
    assert abs(before) > 0 and after == pytest.approx(before, rel=0.3) and after != before


def test_constraints_that_a_trajectory_does_not_hold_are_taken_up(place: Path) -> None:
    atoms = read("crystal.xyz")
    atoms.set_constraint(FixedLine(0, [1, 1, 0]))
    write("held.json", atoms)
    md("held.json", "--steps", 20, "--timestep", 4)
    md("--resume", "--steps", 60)
    moved = frames()[-1].positions[0] - frames()[0].positions[0]
    assert abs(moved[0]) > 1e-3 and moved[0] == pytest.approx(moved[1], abs=1e-6) and abs(moved[2]) < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--timestep", 1), "--timestep: the run has 3.0, got 1.0"),
        (("--temperature", 10, "--pressure", 2), "--pressure: the run has 0.0, got 2.0"),
        (("--ensemble", "langevin"), "--ensemble: the run has nve, got langevin"),
        (("--tolerance", 0.2), "--tolerance: the run has none, got 0.2"),
        (("--seed", 3, "--every", 10), "--seed: the run has 0, got 3"),
    ],
)
@pytest.mark.wrong_input("Runs", "an option that contradicts the run that md --resume goes on with", "refused")
def test_options_that_contradict_the_run_are_refused(place: Path, options: tuple[object, ...], message: str) -> None:
    md("crystal.xyz", "--ensemble", "nve", "--steps", 2, "--timestep", 3, "--temperature", 10)
    before = (place / "md.xyz").read_bytes()
    told = md("--resume", "--steps", 4, *options, code=1)
    assert message in told and ("--temperature" in told) == (10 not in options and "--temperature" in options)
    assert (place / "md.xyz").read_bytes() == before


@pytest.mark.wrong_input("Runs", "md --resume with another model", "refused")
def test_another_model_is_refused(place: Path) -> None:
    md("crystal.xyz", "--steps", 2)
    (place / "ar.kernpot").write_bytes(b"another")
    assert "ar.kernpot is another model" in md("--resume", "--steps", 4, code=1)


@pytest.mark.parametrize("lost", [1, 3, 400])
@pytest.mark.wrong_input("Runs", "md --resume on a trajectory whose last frame was cut short", "read right")
def test_an_unfinished_frame_is_cut_off_and_made_again(place: Path, lost: int) -> None:
    md("crystal.xyz", "--ensemble", "nve", "--steps", 6, "--every", 2, "--temperature", 10)
    whole = (place / "md.xyz").read_bytes()
    (place / "whole.xyz").write_bytes(whole)
    (place / "md.xyz").write_bytes(whole[:-lost])
    assert "md.xyz: cut back to its last whole frame" in md("--resume")
    assert [a.info["step"] for a in frames()] == [0, 2, 4, 6]
    np.testing.assert_allclose(frames()[-1].positions, read("whole.xyz", -1).positions, atol=1e-6)


@pytest.mark.wrong_input("Runs", "md --resume on a file that was damaged in its middle", "refused")
def test_what_is_no_unfinished_frame_is_not_cut_off(place: Path) -> None:
    md("crystal.xyz", "--steps", 6, "--every", 2)
    text = (place / "md.xyz").read_text()
    damaged = text.replace("\n4\n", "\nfour\n", 1)
    (place / "md.xyz").write_text(damaged)
    assert "got 'four'" in md("--resume", "--steps", 8, code=1)
    assert (place / "md.xyz").read_text() == damaged


def test_a_run_stopped_at_its_first_step_does_not_write_it_again(place: Path) -> None:
    md("crystal.xyz", "--force-std", 1e-5, code=3)
    for _ in range(2):
        assert "gate stopped: step 0" in md("--resume", code=3)
    assert [a.info["step"] for a in frames()] == [0] == [a.info["step"] for a in frames("md_gate.xyz")]


def test_frames_of_the_gate_are_kept_by_a_resumed_run(place: Path) -> None:
    md("crystal.xyz", "--force-std", 1e-5, "--on-event", "record", "--steps", 2, "--every", 2)
    first = frames("md_gate.xyz")
    with (place / "md_gate.xyz").open("a") as file:
        file.write("4\nProper")  # a process that was killed over the next one
    md("--resume", "--steps", 4)
    steps = [a.info["step"] for a in frames("md_gate.xyz")]
    assert steps[: len(first)] == [a.info["step"] for a in first] and steps[-1] == 2 and len(steps) == len(first) + 1


def test_a_finished_run_says_so_and_writes_nothing(place: Path) -> None:
    md("crystal.xyz", "--steps", 2)
    before = (place / "md.xyz").read_bytes()
    assert "at step 2 of 2 already" in md("--resume")
    assert (place / "md.xyz").read_bytes() == before
    assert "--force" in md("--resume", "--force", code=2)
