import functools
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from kernpot.dynamics.oracles import CalculatorOracle, Oracle, OracleError, OracleFailure, calculator_factory
from tests.dynamics.oracles.misbehaving import (
    Misbehaving,
    WithoutFreeEnergy,
    cannot_be_built,
    crashes_when_built,
)

ROOT = Path(__file__).resolve().parents[3]


def frame(do="", _count=itertools.count(), **info):  # noqa: B008
    # no two alike: ASE's calculators do not compute the same geometry again
    atoms = Atoms("ArAr", [[0.5, 0, 0], [4.0, 0.01 * next(_count), 0]])
    atoms.info.update(do=do, **info)
    return atoms


def is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition, seconds=20.0):
    give_up = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def oracle():
    with CalculatorOracle(Misbehaving, retries=0) as made:
        yield made


@pytest.mark.parametrize("isolate", [True, False])
def test_tight_binding_labels_are_those_of_the_calculator_itself(isolate):
    tblite = pytest.importorskip("tblite.ase")
    factory = functools.partial(tblite.TBLite, method="GFN2-xTB", verbosity=0)
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint(FixAtoms([0]))
    with CalculatorOracle(factory, isolate=isolate) as oracle:
        ((index, labels),) = oracle.answers([atoms])
    atoms.set_constraint()
    atoms.calc = factory()
    assert index == 0 and labels.stress is None
    assert labels.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(labels.forces, atoms.get_forces(), atol=1e-8)


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        ("raise", "RuntimeError: no convergence"),
        ("exit", "exit code 3, last words: out of luck"),
        ("segfault", "killed by SIGSEGV$"),
        ("nan", "forces has 1 NaN"),
        ("shape", r"expected \(2, 3\)"),
    ],
)
def test_what_goes_wrong_is_said_and_harms_no_other_frame(oracle, do, reason):
    answers = dict(oracle.answers([frame(), frame(do), frame()]))
    assert isinstance(answers[1], OracleFailure)
    assert re.search(reason, answers[1].reason), answers[1].reason
    assert answers[0].energy == answers[2].energy == 4.5


def test_a_calculation_that_hangs_is_killed_with_what_it_started(tmp_path):
    marker = tmp_path / "pids"
    with CalculatorOracle(Misbehaving, retries=0, timeout=1.5) as oracle:
        answers = dict(oracle.answers([frame("hang with a child", marker=str(marker)), frame()]))
    assert "no answer within 1.5 s" in answers[0].reason
    assert answers[1].energy == 4.5
    assert not any(is_alive(int(pid)) for pid in marker.read_text().split())


def test_a_frame_is_tried_again_as_often_as_asked(tmp_path):
    again = frame("raise once", marker=str(tmp_path / "marker"))
    with CalculatorOracle(Misbehaving, retries=1) as oracle:
        answers = dict(oracle.answers([again, frame("raise")]))
    assert answers[0].energy == 4.5
    assert "after 2 attempts" in answers[1].reason


def test_workers_work_at_the_same_time_and_stay(tmp_path):
    frames = [frame("wait for two", marker=str(tmp_path)) for _ in range(2)]
    with CalculatorOracle(Misbehaving, n_workers=2, timeout=60.0, retries=0) as oracle:
        assert all(answer.energy == 4.5 for _, answer in oracle.answers(frames))
        pids = {int(path.name) for path in tmp_path.iterdir()}
        list(oracle.answers([frame() for _ in range(10)]))
        assert len(pids) == 2 and all(map(is_alive, pids))
        assert {process._process.pid for process in oracle._workers} == pids
    assert not any(map(is_alive, pids))


def test_closing_early_leaves_no_process_and_the_oracle_works_again(tmp_path):
    marker = tmp_path / "pids"
    with CalculatorOracle(Misbehaving, n_workers=2) as oracle:
        running = oracle.answers([frame(), *[frame("hang with a child", marker=str(marker))] * 5])
        assert next(running)[0] == 0
        assert wait_until(lambda: marker.exists() and len(marker.read_text().split()) == 2)
        pids = [int(pid) for pid in marker.read_text().split()]
        running.close()
        assert not any(map(is_alive, pids))
        assert dict(oracle.answers([frame()]))[0].energy == 4.5


@pytest.mark.parametrize("how", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_ending_the_asking_program_ends_its_workers(tmp_path, how):
    """Of a script without `if __name__`, whose calculator is defined in it, as in a notebook."""
    marker = tmp_path / "pids"
    script = tmp_path / "script.py"
    script.write_text(
        "from kernpot.dynamics.oracles import CalculatorOracle\n"
        "from tests.dynamics.oracles.misbehaving import Misbehaving\n"
        "from ase import Atoms\n"
        "class Mine(Misbehaving): pass\n"
        f"atoms = Atoms('Ar', [[0, 0, 1]], info={{'do': 'hang with a child', 'marker': {str(marker)!r}}})\n"
        "for index, answer in CalculatorOracle(lambda: Mine()).answers([Atoms('Ar'), atoms]):\n"
        "    print(answer, flush=True)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert "Labels(energy=0.0" in program.stdout.readline()
        assert wait_until(lambda: marker.exists() and len(marker.read_text().split()) == 2)
        pids = [int(pid) for pid in marker.read_text().split()]
        program.send_signal(how)
        _, said = program.communicate(timeout=30)
    finally:
        program.kill()
    assert wait_until(lambda: not any(map(is_alive, pids)))
    if how == signal.SIGINT:
        assert said.rstrip().endswith("KeyboardInterrupt")


def test_what_a_code_prints_does_not_disturb(oracle, capfd):
    assert dict(oracle.answers([frame("print")]))[0].energy == 4.5
    assert capfd.readouterr() == ("", "")


def test_every_frame_has_a_folder_of_its_own(oracle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = dict(oracle.answers([frame("write"), frame("write")]))
    assert [answers[i].energy for i in range(2)] == [2.0, 2.0]  # scratch.txt and output.txt
    assert list(tmp_path.iterdir()) == []


def test_files_of_frames_that_failed_are_kept_when_a_folder_is_given(tmp_path):
    with CalculatorOracle(Misbehaving, retries=0, scratch=tmp_path / "new") as oracle:
        answers = dict(oracle.answers([frame("raise"), frame("write")]))
    (kept,) = (tmp_path / "new").iterdir()
    assert str(kept) in answers[0].reason
    assert "no convergence" in (kept / "output.txt").read_text()


def test_energies_are_those_that_forces_are_the_derivative_of(oracle):
    assert dict(oracle.answers([frame("smeared")]))[0].energy == 4.0
    other = CalculatorOracle(WithoutFreeEnergy, isolate=False)
    assert dict(other.answers([frame()]))[0].energy == 1.5


@pytest.mark.parametrize("isolate", [True, False])
def test_answers_do_not_depend_on_what_was_asked_before(isolate):
    pytest.importorskip("tblite")
    frames = [molecule("H2O") for _ in range(10)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    with CalculatorOracle(calculator_factory("tblite"), isolate=isolate) as oracle:
        forwards, backwards = dict(oracle.answers(frames)), dict(oracle.answers(frames[::-1]))
    assert [forwards[i].energy for i in range(10)] == [backwards[9 - i].energy for i in range(10)]


@pytest.mark.parametrize("isolate", [True, False])
@pytest.mark.parametrize("reuse", [True, False])
def test_a_calculator_is_kept_when_asked_for(isolate, reuse):
    with CalculatorOracle(Misbehaving, isolate=isolate, reuse=reuse) as oracle:
        answers = dict(oracle.answers([frame("count") for _ in range(3)]))
    assert [answers[i].energy for i in range(3)] == ([1.0, 2.0, 3.0] if reuse else [1.0, 1.0, 1.0])


def test_stress_comes_with_periodic_frames_only(oracle):
    crystal = bulk("Ar", "fcc", 5.3)
    answers = dict(oracle.answers([frame(), crystal]))
    assert answers[0].stress is None
    np.testing.assert_array_equal(answers[1].stress, np.arange(6.0))


@pytest.mark.parametrize("isolate", [True, False])
def test_frames_that_cannot_be_are_answered_without_asking(isolate):
    on_top = Atoms("Ar2", [[0, 0, 0], [0, 0, 0.01]])
    with CalculatorOracle(Misbehaving, isolate=isolate) as oracle:
        answers = dict(oracle.answers([on_top, frame()]))
        assert list(oracle.answers([])) == []
    assert "0.01 A apart" in answers[0].reason and answers[1].energy == 4.5


@pytest.mark.parametrize("do", ["raise", "nan"])
def test_in_this_process_failures_are_answers_too(do):
    oracle = CalculatorOracle(Misbehaving, isolate=False, retries=1)
    answers = dict(oracle.answers([frame(do), frame()]))
    assert isinstance(answers[0], OracleFailure) and answers[1].energy == 4.5


@pytest.mark.parametrize("isolate", [True, False])
def test_a_calculator_that_cannot_be_built_stops_the_work(isolate):
    with (
        CalculatorOracle(cannot_be_built, isolate=isolate) as oracle,
        pytest.raises(OracleError, match="FileNotFoundError: no such parameter file") as caught,
    ):
        list(oracle.answers([frame()]))
    assert not isinstance(caught.value, OracleFailure)


def test_a_calculator_that_crashes_when_it_is_built_stops_the_work():
    with (
        CalculatorOracle(crashes_when_built) as oracle,
        pytest.raises(OracleError, match="exit code 7"),
    ):
        list(oracle.answers([frame()]))


def test_wrong_arguments_are_refused():
    with pytest.raises(OracleError, match="expected a callable"):
        CalculatorOracle(Misbehaving())
    with pytest.raises(ValueError, match="n_workers=0"):
        CalculatorOracle(Misbehaving, n_workers=0)
    with pytest.raises(ValueError, match="timeout=-1"):
        CalculatorOracle(Misbehaving, timeout=-1)
    with pytest.raises(ValueError, match="isolate=False"):
        CalculatorOracle(Misbehaving, timeout=3, isolate=False)
    open_file = sys.stdout
    with pytest.raises(OracleError, match="cannot be sent"):
        CalculatorOracle(lambda: open_file.fileno())


def test_workers_that_would_write_over_each_other_are_refused(tmp_path):
    factory = functools.partial(Misbehaving, directory=tmp_path)
    with CalculatorOracle(factory, n_workers=2) as oracle, pytest.raises(OracleError, match="every frame gets its own"):
        list(oracle.answers([frame(), frame()]))
    with CalculatorOracle(factory) as oracle:
        assert dict(oracle.answers([frame()]))[0].energy == 4.5


def test_a_full_or_read_only_scratch_folder_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        CalculatorOracle(Misbehaving, scratch=tmp_path / "file" / "below") as oracle,
        pytest.raises(OracleError, match="cannot be made"),
    ):
        list(oracle.answers([frame()]))


def test_description_is_json_and_names_settings_and_versions():
    oracle = CalculatorOracle(functools.partial(Misbehaving, label="a", kpts=(2, 2, 2)))
    said = oracle.describe()
    assert isinstance(oracle, Oracle) and json.loads(json.dumps(said)) == said
    assert said["calculator"].endswith("Misbehaving") and said["settings"] == {"label": "a", "kpts": [2, 2, 2]}
    assert "ase" in said["versions"]
