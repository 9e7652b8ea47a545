import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule

from kernpot.dynamics.oracles import CalculatorOracle, OracleError, OracleFailure, calculator_factory

PSEUDO = "Si.pbe-rrkj.UPF"
FOLDERS = [os.environ.get("ESPRESSO_PSEUDO", ""), "/usr/share/espresso/pseudo"]


@pytest.fixture(scope="module")
def pseudo_dir():
    if shutil.which("pw.x") is None:
        pytest.skip("pw.x of Quantum ESPRESSO is not installed")
    for folder in FOLDERS:
        if (Path(folder) / PSEUDO).is_file():
            return folder
    pytest.skip(f"{PSEUDO} of Quantum ESPRESSO's data is not installed")


def espresso(pseudo_dir, *, kpts=(2, 2, 2), command="pw.x", **input_data):
    return calculator_factory(
        "espresso",
        pseudopotentials={"Si": PSEUDO},
        pseudo_dir=pseudo_dir,
        kpts=kpts,
        command=command,
        input_data={"system": {"ecutwfc": 14.0}, **input_data},
    )


def silicon(seed=1):
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=seed)
    return atoms


def test_labels_are_energy_forces_and_stress(pseudo_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with CalculatorOracle(espresso(pseudo_dir), n_workers=2, retries=0) as oracle:
        answers = dict(oracle.answers([silicon(1), silicon(2)]))
        said = oracle.describe()
    labels = answers[0]
    np.testing.assert_allclose(labels.forces[0], -labels.forces[1], atol=1e-6)
    assert np.abs(labels.forces).max() > 0.5 and labels.stress.shape == (6,)
    assert labels.energy != answers[1].energy
    assert list(tmp_path.iterdir()) == []
    assert json.loads(json.dumps(said)) == said
    assert said["versions"]["pw.x"][0].isdigit() and len(said["pseudopotentials_sha256"][PSEUDO]) == 64
    assert said["settings"]["input_data"]["system"] == {"ecutwfc": 14.0}


@pytest.mark.slow
def test_forces_are_the_derivative_of_the_energy(pseudo_dir):
    frames = [silicon() for _ in range(3)]
    frames[1].positions[0, 0] += 0.01
    frames[2].positions[0, 0] -= 0.01
    with CalculatorOracle(espresso(pseudo_dir, conv_thr=1e-10), retries=0) as oracle:
        answers = dict(oracle.answers(frames))
    slope = -(answers[1].energy - answers[2].energy) / 0.02
    assert answers[0].forces[0, 0] == pytest.approx(slope, abs=2e-2)


@pytest.mark.parametrize("more", [{}, {"scf_must_converge": False}])
def test_an_scf_that_does_not_converge_is_a_failure(pseudo_dir, more, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with CalculatorOracle(espresso(pseudo_dir, electron_maxstep=2, **more), retries=0, isolate=False) as oracle:
        answer = dict(oracle.answers([silicon()]))[0]
    assert isinstance(answer, OracleFailure) and "convergence NOT achieved after   2 iterations" in answer.reason


def test_what_pw_x_says_is_the_reason(pseudo_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with CalculatorOracle(espresso(pseudo_dir, occupations="none such"), retries=0, isolate=False) as oracle:
        answers = dict(oracle.answers([silicon(), molecule("H2O")]))
    assert "occupations none such not implemented" in answers[0].reason
    assert "no pseudopotential is given for H, O" in answers[1].reason


def test_what_is_missing_is_said_before_work_starts(tmp_path):
    (tmp_path / "pw.x").write_text("#!/bin/sh\n")
    (tmp_path / "pw.x").chmod(0o755)
    program = str(tmp_path / "pw.x")
    with pytest.raises(OracleError, match=r"'no-such-pw\.x' .*apt-get install quantum-espresso"):
        espresso(tmp_path, command="no-such-pw.x")
    with pytest.raises(OracleError, match="'no-such-launcher'"):
        espresso(tmp_path, command=f"no-such-launcher -np 2 {program}")
    with pytest.raises(OracleError, match=rf"'{PSEUDO}' is not in .* which holds none"):
        espresso(tmp_path, command=program)
    (tmp_path / PSEUDO).touch()
    with pytest.raises(OracleError, match="no ecutwfc"):
        espresso(tmp_path, command=program, system={})
    with pytest.raises(OracleError, match="either kpts"):
        espresso(tmp_path, command=program, kpts=None)
    assert espresso(tmp_path, command=program, kpts="gamma")() is not None
