"""Gate, learner, propagation, evaluation and the command line take an ensemble as they take a Gaussian process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write
from ase.md.verlet import VelocityVerlet
from dscribe.descriptors import SOAP
from typer.testing import CliRunner

from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.cli.app import app
from kernpot.dynamics import Bootstrap, OnTheFlyLearner, Schedule, Stage, UncertaintyGate
from kernpot.dynamics.gate import GateStopped
from kernpot.files.container import load
from kernpot.uncertainty import evaluate, propagate
from tests.dynamics.runs import SOAP_OPTIONS, CountingOracle, cluster
from tests.helpers.systems import crystals, soap

SMALL = {"hidden": (8,), "n_members": 3, "max_epochs": 60, "random_state": 0}
BOTH = ["gp", "nnp"]


@pytest.fixture(scope="module")
def fitted() -> dict[str, SparseGPPotential | NNPEnsemble]:
    frames = crystals(20)
    return {
        "gp": SparseGPPotential(soap(), n_inducing=20, random_state=0).fit(frames),
        "nnp": NNPEnsemble(soap(), **SMALL).fit(frames),
    }


@pytest.mark.parametrize("backend", BOTH)
def test_gate_stops_dynamics(fitted: dict, backend: str) -> None:
    atoms = crystals(1, seed=50)[0]
    potential = fitted[backend]
    atoms.calc = potential.calculator()
    now = float(potential.predict_full([atoms])[0].forces.std.max())
    dynamics = VelocityVerlet(atoms, 2 * units.fs)
    gate = UncertaintyGate(potential, force_std=0.9 * now)
    gate.attach_to(dynamics)
    with pytest.raises(GateStopped):
        dynamics.run(3)
    assert gate.events[0].reason == "force_std" and gate.events[0].value > 0.9 * now


@pytest.mark.parametrize("backend", BOTH)
def test_propagation_of_an_energy_difference(fitted: dict, backend: str) -> None:
    first, second = crystals(2, seed=60)
    potential = fitted[backend]

    def difference(one: object) -> float:
        return one.mean(second).energy - one.mean(first).energy  # type: ignore[attr-defined]

    found = propagate(difference, potential, n_draws=200, random_state=0)
    expected = potential.mean(second).energy - potential.mean(first).energy
    assert float(found.of_mean) == pytest.approx(expected, abs=1e-9)
    assert 0 < float(found.std) < 10


@pytest.mark.parametrize("backend", BOTH)
def test_evaluation(fitted: dict, backend: str) -> None:
    result = evaluate(fitted[backend], crystals(6, seed=70))
    forces = next(m for m in result.metrics if m.kind == "forces" and m.config_type == "all")
    assert 0.5 < forces.coverage[0.9] <= 1.0


@pytest.mark.slow
def test_learner_learns_labels_resumes_and_ends_with_an_ensemble(tmp_path: Path) -> None:
    nnp = NNPEnsemble(SOAP(**SOAP_OPTIONS), hidden=(6,), n_members=3, max_epochs=40, isolated_atoms={"Ar": 0.0})
    oracle = CountingOracle(tmp_path / "asked.log")

    def learner(steps: int) -> OnTheFlyLearner:
        return OnTheFlyLearner(
            nnp,
            oracle,
            Schedule([Stage("langevin", steps, (15.0, 30.0), timestep=5.0, friction=5.0)]),
            UncertaintyGate(nnp, force_std=0.002, every=4),
            cluster(),
            tmp_path / "run",
            bootstrap=Bootstrap(number=8, rattle=0.15),
            leg=20,
            max_labels=14,
            random_state=3,
        )

    outcome = learner(40).run()
    # Rounding of another processor trains other networks: whether they hold for the trial at the end is not the point.
    assert outcome.reason in ("finished", "unsettled", "max_labels")
    final = load(tmp_path / "run" / "model.kernpot")
    assert isinstance(final, NNPEnsemble) and len(final.fitted_.trained.labelled) >= 8
    asked = oracle.asked()
    assert len(asked) == len(set(asked))
    assert np.isfinite(final.predict([cluster()], return_std=True)).all()


@pytest.mark.slow
def test_command_line_from_fit_to_properties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("train.xyz", crystals(20), format="extxyz")
    write("test.xyz", crystals(5, seed=80), format="extxyz")
    write("start.xyz", Atoms(crystals(1, seed=81)[0]), format="extxyz")
    run = CliRunner().invoke
    options = ["--backend", "nnp", "--n-members", "3", "--hidden", "8", "--max-epochs", "60", "--cutoff", "4"]
    options += ["--n-max", "3", "--l-max", "2", "--checkpoint", "c"]
    for command in (
        ["fit", "train.xyz", "-o", "m.kernpot", *options],
        ["info", "m.kernpot"],
        ["evaluate", "m.kernpot", "test.xyz", "--report", "report"],
        ["md", "m.kernpot", "start.xyz", "--steps", "10", "--force-std", "100", "--temperature", "50"],
    ):
        result = run(app, command)
        assert result.exit_code == 0, (command, result.output)
    assert "Hidden layers" in run(app, ["info", "m.kernpot"]).output
    assert Path("c").exists() and Path("report/report.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "nnp", "--n-inducing", "20"], "--n-inducing"),
        (["--n-members", "4"], "--n-members"),
        (["--backend", "nnp", "--hidden", "8,x"], "widths"),
    ],
)
def test_options_of_the_other_backend_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    write(tmp_path / "train.xyz", crystals(3), format="extxyz")
    result = CliRunner().invoke(app, ["fit", str(tmp_path / "train.xyz"), "-o", str(tmp_path / "m"), *options])
    assert result.exit_code == 2 and message in result.output
