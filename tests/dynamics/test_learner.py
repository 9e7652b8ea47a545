"""A run learns, rewinds, audits, selects, sets aside what the oracle cannot do, and stops for the reasons it gives."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.io import read
from ase.md.verlet import VelocityVerlet

from kernpot import SparseGPPotential, load
from kernpot.dynamics import Bootstrap, Schedule, Stage, UncertaintyGate
from kernpot.dynamics.label_store import Entry
from kernpot.dynamics.oracles import checked_labels, labelled
from kernpot.dynamics.run_directory import RunDirectoryError
from kernpot.dynamics.settings import LearnKeywords, LearnSettings
from kernpot.dynamics.trial import MOST
from kernpot.errors import KernpotError, OraclePending, StructureError
from tests.dynamics.runs import THRESHOLD, CountingOracle, cluster, learner, potential


def records(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]


def verlet(atoms: Atoms, step: int, rng: np.random.Generator) -> VelocityVerlet:
    return VelocityVerlet(atoms, 4 * units.fs)


def of(kind: str, found: list[dict]) -> list[dict]:
    return [record for record in found if record["event"] == kind]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("finished")
    oracle, seen = CountingOracle(folder / "asked.log"), []
    run = learner(folder / "run", oracle, observe=seen.append)
    return folder / "run", oracle, run.run(), seen, run


def test_makes_all_steps_and_counts_what_it_asked(finished) -> None:
    directory, oracle, outcome, _, _ = finished
    assert outcome.reason == "finished" and outcome.failed == 0
    assert "all 160 steps are made; a trial of 10 steps at up to 30 K" in outcome.message
    assert "came to its end (0.05 ps) without the gate stopping it" in outcome.message
    assert outcome.labels + outcome.audited == oracle.n_asked == len(set(oracle.asked()))
    assert outcome.labels > 6 and outcome.audited > 0  # it learnt more than the bootstrap
    assert len(load(outcome.model).fitted_.training) == outcome.labels
    state = json.loads((directory / "state.json").read_text())
    assert state["walkers"][0]["step"] == 160 and not set(state["training"]) & set(state["audit"])


def test_learning_brings_the_std_of_what_was_flagged_down(finished) -> None:
    directory, _, outcome, seen, _ = finished
    flagged = [r for r in of("label", seen) if r["purpose"] == "query"]
    assert flagged and all(r["flagged"] and r["max_force_std"] > THRESHOLD for r in flagged)
    final = load(outcome.model)
    labels = [json.loads((directory / "labels" / f"{r['label']:06d}.json").read_text()) for r in flagged]
    frames = [Atoms("Ar5", np.array(entry["atoms"]["arrays"]["positions"])) for entry in labels]
    before = np.array([r["max_force_std"] for r in flagged])
    after = np.array([p.forces.std.max() for p in final.predict_full(frames)])
    assert (after < before).mean() > 0.9 and np.median(after / before) < 0.7


def test_audit_frames_are_never_learnt(finished) -> None:
    directory, _, _, _, run = finished
    audited = read(directory / "audit.xyz", ":")
    learnt = np.array([s.atoms.positions for s in run.potential.fitted_.training])
    assert len(audited) > 0
    for frame in audited:
        assert np.abs(learnt - frame.positions).max(axis=(1, 2)).min() > 1e-6


def test_what_is_observed_is_what_is_written(finished) -> None:
    directory, _, _, seen, _ = finished
    assert records(directory) == json.loads(json.dumps(seen))
    assert seen[0]["event"] == "start" and seen[-1]["event"] == "end"
    steps = [r["step"] for r in of("step", seen)]
    assert steps and all(step % 20 == 0 for step in steps)


def test_written_frames_carry_stds(finished) -> None:
    directory, *_ = finished
    frames = read(directory / "trajectory_0.xyz", ":")
    assert len(frames) > 5
    for frame in frames:
        assert frame.arrays["forces_std"].shape == (5, 3) and (frame.arrays["forces_std"] > 0).all()
        assert frame.info["energy_std"] > 0 and frame.calc is not None and frame.has("momenta")


def test_a_finished_run_asks_nothing_when_run_again(finished) -> None:
    directory, oracle, outcome, _, _ = finished
    before = (directory / "state.json").read_text()
    again = learner(directory, oracle).run()
    assert again == outcome and oracle.n_asked == outcome.labels + outcome.audited
    assert (directory / "state.json").read_text() == before


def test_goes_back_to_what_the_gate_trusted(finished) -> None:
    *_, seen, _ = finished
    # After a stop the walker is never further than where it was stopped, and comes to the end all the same.
    for gate, after in [(r, seen[k + 1 :]) for k, r in enumerate(seen) if r["event"] == "gate"]:
        following = next((r for r in after if r["event"] in ("gate", "step")), None)
        if following is not None:
            assert following["step"] <= gate["step"] + 40


def test_more_steps_go_on_where_the_run_ended(tmp_path: Path) -> None:
    oracle = CountingOracle(tmp_path / "asked.log")
    learner(tmp_path / "run", oracle, steps=80).run()
    asked = oracle.n_asked
    outcome = learner(tmp_path / "run", oracle, steps=160).run()
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert outcome.reason == "finished" and state["walkers"][0]["step"] == 160
    assert len(oracle.asked()) == len(set(oracle.asked())) >= asked


@pytest.mark.slow
def test_several_walkers_and_batches(tmp_path: Path) -> None:
    oracle, seen = CountingOracle(tmp_path / "asked.log"), []
    outcome = learner(
        tmp_path / "run", oracle, steps=120, n_walkers=3, batch=2, audit_every=None, observe=seen.append
    ).run()
    assert outcome.reason == "finished" and outcome.audited == 0
    assert {r["walker"] for r in of("step", seen)} == {0, 1, 2}
    # Between two times of learning no more labels than a batch.
    sizes, size = [], 0
    for record in seen:
        if record["event"] == "label" and record["purpose"] == "query":
            size += 1
        elif record["event"] == "learn" and size:
            sizes.append(size)
            size = 0
    assert sizes and max(sizes) <= 2
    assert len({(tmp_path / "run" / f"trajectory_{k}.xyz").read_text() for k in range(3)}) == 3


def test_failed_frames_are_set_aside_with_their_reason_and_the_run_goes_on(tmp_path: Path) -> None:
    oracle, seen = CountingOracle(tmp_path / "asked.log", spoil=lambda n: n in (3, 7, 9)), []
    outcome = learner(tmp_path / "run", oracle, observe=seen.append).run()
    assert outcome.reason == "finished" and outcome.failed == 3
    aside = read(tmp_path / "run" / "set_aside.xyz", ":")
    assert [frame.info["reason"] for frame in aside] == ["the self-consistent field did not converge"] * 3
    assert len(of("failed", seen)) == 3


@pytest.mark.slow
def test_an_oracle_that_always_fails_ends_the_run_cleanly(tmp_path: Path) -> None:
    oracle = CountingOracle(tmp_path / "asked.log", spoil=lambda n: n > 6)
    outcome = learner(tmp_path / "run", oracle, steps=2000, audit_every=None).run()
    assert outcome.reason == "oracle" and "set_aside.xyz" in outcome.message and outcome.labels == 6
    with pytest.raises(KernpotError, match="there are 0 labelled structures to fit to"):
        learner(tmp_path / "other", CountingOracle(tmp_path / "b.log", spoil=bool)).run()


def test_waits_for_somebody_else(tmp_path: Path) -> None:
    class Slow(CountingOracle):
        ready = False

        def answers(self, frames):
            if not self.ready:
                raise OraclePending("queue/: 6 inputs wait for results")
            yield from super().answers(frames)

    oracle = Slow(tmp_path / "asked.log")
    outcome = learner(tmp_path / "run", oracle, steps=40).run()
    assert outcome.reason == "waiting" and "queue/" in outcome.message and outcome.labels == 0
    oracle.ready = True
    assert learner(tmp_path / "run", oracle, steps=40).run().reason == "finished"


@pytest.mark.parametrize("most", [4, 9])
def test_asks_for_no_more_labels_than_allowed(tmp_path: Path, most: int) -> None:
    oracle = CountingOracle(tmp_path / "asked.log")
    for _ in range(2):  # once reached, it stays reached
        outcome = learner(tmp_path / "run", oracle, steps=400, audit_every=20, max_labels=most).run()
        assert outcome.reason == "max_labels" and outcome.labels + outcome.audited == most == oracle.n_asked
        assert "a trial of 10 steps" in outcome.message


def test_audit_meets_as_many_structures_as_it_says(tmp_path: Path) -> None:
    gate = UncertaintyGate(potential(), force_std=1.0)  # never fires
    oracle = CountingOracle(tmp_path / "asked.log")
    outcome = learner(tmp_path / "run", oracle, steps=600, gate=gate, audit_every=10, leg=150).run()
    assert 40 <= outcome.audited <= 80  # 60 expected, std 7.3
    for frame in read(tmp_path / "run" / "audit.xyz", ":"):
        assert frame.arrays["forces_std"].shape == (5, 3) and frame.info["energy_std"] > 0
        error = frame.get_forces() - frame.arrays["forces_predicted"]
        assert 0 < np.abs(error).max() < 0.1


def test_audited_structures_are_predicted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predicted: Counter[bytes] = Counter()
    original = SparseGPPotential.predict_full

    def counting(self, structures, covariance=False):
        predicted.update(a.positions.tobytes() for a in ([structures] if isinstance(structures, Atoms) else structures))
        return original(self, structures, covariance)

    monkeypatch.setattr(SparseGPPotential, "predict_full", counting)
    # No look of the gate and no frame of the trajectory is at a step that may be audited.
    run = learner(
        tmp_path / "run",
        CountingOracle(tmp_path / "asked.log"),
        gate=UncertaintyGate(potential(), force_std=1.0, every=1000),
        steps=80,
        audit_every=10,
        record_every=1000,
    )
    outcome = run.run()
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    audited = [tmp_path / "run" / "labels" / f"{number:06d}.json" for number in state["audit"]]
    positions = [np.array(json.loads(file.read_text())["atoms"]["arrays"]["positions"]) for file in audited]
    assert len(positions) == outcome.audited > 3
    assert [predicted[p.tobytes()] for p in positions] == [1] * outcome.audited


@pytest.mark.parametrize(
    ("threshold", "found"),
    [({"novelty": 0.05}, "has a leverage of"), ({"energy_std": 1e-6}, "the energy has a std of")],
)
def test_a_run_whose_model_its_gate_stops_is_not_finished(tmp_path: Path, threshold: dict, found: str) -> None:
    """All steps can be made where structures that have been learnt are let pass; the thresholds are out of reach."""
    gate = UncertaintyGate(potential(), force_std=None, **threshold, every=5)
    outcome = learner(tmp_path / "run", CountingOracle(tmp_path / "asked.log"), steps=100, gate=gate).run()
    assert outcome.reason == "unsettled" and outcome.labels > 6
    assert "a trial of 10 steps at up to 30 K" in outcome.message and found in outcome.message
    told = of("trial", records(tmp_path / "run"))
    assert len(told) == MOST and not any(record["held"] for record in told)


@pytest.mark.parametrize("threshold", [{"novelty": 500.0}, {"energy_std": 2e-5}])
def test_gates_on_other_things_than_forces(tmp_path: Path, threshold: dict) -> None:
    gate = UncertaintyGate(potential(), force_std=None, **threshold, every=5)
    outcome = learner(tmp_path / "run", CountingOracle(tmp_path / "asked.log"), steps=40, gate=gate).run()
    assert outcome.reason == "finished"


def test_an_oracle_that_was_mended_is_asked_again(tmp_path: Path) -> None:
    broken = CountingOracle(tmp_path / "a.log", spoil=bool)
    with pytest.raises(KernpotError, match="there are 0 labelled structures"):
        learner(tmp_path / "run", broken, steps=40).run()
    mended = CountingOracle(tmp_path / "b.log")
    assert learner(tmp_path / "run", mended, steps=40).run().reason == "finished"
    assert set(broken.asked()) <= set(mended.asked())


@pytest.mark.slow
def test_says_when_labels_cannot_reach_the_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernpot.dynamics.patience._STUCK", 8)
    gate = UncertaintyGate(potential(), force_std=1e-9)
    run = learner(tmp_path / "run", CountingOracle(tmp_path / "asked.log"), gate=gate, steps=800, audit_every=None)
    outcome = run.run()
    assert outcome.reason == "threshold" and "raise the threshold" in outcome.message
    assert 6 < outcome.labels < 40


def test_begins_with_data_that_are_there(tmp_path: Path) -> None:
    oracle = CountingOracle(tmp_path / "asked.log")
    given = [cluster() for _ in range(3)]
    for k, atoms in enumerate(given):
        atoms.rattle(0.1, seed=k)
    data = [labelled(given[k], answer) for k, answer in CountingOracle(tmp_path / "other.log").answers(given)]
    outcome = learner(tmp_path / "run", oracle, data=data, max_labels=9, audit_every=None).run()
    assert outcome.labels == oracle.n_asked + 3


def test_takes_a_gate_made_for_the_potential(tmp_path: Path) -> None:
    made = []

    def gate(fitted):
        made.append(fitted.n_inducing_)
        return UncertaintyGate(fitted, force_std=THRESHOLD, every=2)

    learner(tmp_path / "run", CountingOracle(tmp_path / "asked.log"), steps=80, gate=gate).run()
    assert made


def test_takes_any_dynamics(tmp_path: Path) -> None:
    start = cluster()
    start.set_momenta(np.full((5, 3), 0.3) * np.random.default_rng(0).normal(size=(5, 3)))
    outcome = learner(
        tmp_path / "run",
        CountingOracle(tmp_path / "asked.log"),
        dynamics=verlet,
        initial=start,
        n_steps=60,
    ).run()
    assert outcome.reason == "finished"


@pytest.mark.slow
def test_crystals_under_pressure(tmp_path: Path) -> None:
    class WithStress(CountingOracle):
        def answers(self, frames):
            for index, frame in enumerate(frames):
                atoms = frame.copy()
                atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
                stress = atoms.get_stress()
                yield index, checked_labels(atoms, atoms.get_potential_energy(), atoms.get_forces(), stress)

    crystal = bulk("Ar", "fcc", a=5.3, cubic=True)
    seen = []
    outcome = learner(
        tmp_path / "run",
        WithStress(tmp_path / "asked.log"),
        initial=crystal,
        dynamics=Schedule([Stage("npt", 120, 30.0, timestep=4.0, friction=5.0, pressure=0.05)]),
        observe=seen.append,
    ).run()
    assert outcome.reason == "finished"
    volumes = [r["volume"] for r in of("step", seen)]
    assert len(set(volumes)) == len(volumes) and all(r["pressure"] is not None for r in of("step", seen))


def test_two_runs_in_one_directory_are_refused(tmp_path: Path) -> None:
    errors = []

    def meddle(record) -> None:
        if record["event"] == "learn" and not errors:
            try:
                learner(tmp_path / "run", CountingOracle(tmp_path / "b.log"), steps=40).run()
            except RunDirectoryError as error:
                errors.append(str(error))

    learner(tmp_path / "run", CountingOracle(tmp_path / "a.log"), steps=40, observe=meddle).run()
    assert len(errors) == 1 and "in use by another run" in errors[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_walkers": 0}, "n_walkers: expected a positive whole number, got 0"),
        ({"leg": 2.5}, "leg: expected a positive whole number"),
        ({"audit_every": 0}, "audit_every: expected a positive whole number, got 0"),
        ({"max_labels": 1}, "max_labels: expected at least 2"),
        ({"random_state": "x"}, "random_state: expected a whole number"),
        ({"refit_growth": 1.0}, "refit_growth: expected a number above 1"),
        ({"initial": []}, "initial: expected at least one structure"),
        ({"initial": Atoms("Ar2", [[0, 0, 0], [0, 0, 0.01]])}, r"initial\[0\]: atoms 0 and 1 are"),
        ({"dynamics": Schedule([Stage("npt", 10)])}, "npt: expected a structure periodic in three directions"),
        ({"data": [cluster()]}, "has an energy, expected at least one"),
        ({"dynamics": verlet}, "n_steps: expected a positive whole number, got None"),
    ],
)
def test_refuses_what_makes_no_sense_before_anything_is_asked(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises((KernpotError, StructureError), match=message):
        learner(tmp_path / "run", CountingOracle(tmp_path / "asked.log"), **options)
    assert not (tmp_path / "run").exists() and not (tmp_path / "asked.log").exists()


def test_a_setting_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_walker'"):
        learner(tmp_path / "run", CountingOracle(tmp_path / "asked.log"), n_walker=2)
    assert set(LearnKeywords.__annotations__) == {field.name for field in fields(LearnSettings)}


def test_resuming_with_other_walkers_is_refused(finished) -> None:
    directory, oracle, *_ = finished
    with pytest.raises(KernpotError, match=r"n_walkers: the run in .* has 1, got 2"):
        learner(directory, oracle, n_walkers=2).run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_state": 4}, "random_state: the run in .* has 3, got 4"),
        ({"initial": Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8]])}, "initial: the run in .* has .*Ar5.*, got .*Ar2"),
    ],
)
def test_resuming_another_run_is_refused(finished, options: dict, message: str) -> None:
    directory, oracle, *_ = finished
    with pytest.raises(KernpotError, match=message):
        learner(directory, oracle, **options).run()


def test_bootstrap_frames(tmp_path: Path) -> None:
    frames = Bootstrap(number=5, rattle=0.2, strain=0.02).frames([bulk("Ar", "fcc", a=5.3)], np.random.default_rng(0))
    assert len(frames) == 5 and np.allclose(frames[0].cell, bulk("Ar", "fcc", a=5.3).cell)
    for frame in frames[1:]:
        strain = np.linalg.solve(frames[0].cell.array, frame.cell.array) - np.eye(3)
        assert 0 < np.abs(strain).max() < 0.02 and np.allclose(strain, strain.T)
    with pytest.raises(KernpotError, match=r"bootstrap number: expected a positive"):
        Bootstrap(number=0)


@pytest.mark.wrong_input("Settings", "bootstrap: {number: 1}, one structure to begin with", "refused")
def test_one_structure_is_no_beginning(tmp_path: Path) -> None:
    """Before a label is paid for, and without a word about the oracle."""
    oracle = CountingOracle(tmp_path / "asked.log")
    with pytest.raises(KernpotError, match=r"bootstrap number: expected 2 structures or more to label first.* got 1"):
        learner(tmp_path / "run", oracle, bootstrap=Bootstrap(1))
    assert oracle.n_asked == 0


class Seeing(CountingOracle):
    """Writes down the charge and spin, and what else is said, of what it is asked."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.seen: list[dict] = []

    def answers(self, frames):
        self.seen += [dict(atoms.info) for atoms in frames]
        return super().answers(frames)


def test_charge_and_spin_reach_the_oracle_and_stay_in_files(tmp_path: Path) -> None:
    start = cluster()
    start.info |= {"charge": 1, "spin": 2, "note": "from somewhere", "energy_std": 0.3}
    oracle = Seeing(tmp_path / "asked")
    learner(tmp_path / "run", oracle, steps=60, initial=start).run()
    assert oracle.n_asked > 6
    assert all(info == {"charge": 1, "spin": 2} for info in oracle.seen)
    written = [Entry.from_dict(json.loads(p.read_text())).structure for p in (tmp_path / "run/labels").glob("0*")]
    written += read(tmp_path / "run" / "trajectory_0.xyz", ":")
    assert len(written) > 6 and all(frame.info["charge"] == 1 and frame.info["spin"] == 2 for frame in written)
    # And after an end and a new beginning, from what lies on disk.
    oracle.seen.clear()
    learner(tmp_path / "run", oracle, steps=200, initial=start).run()
    assert all(info == {"charge": 1, "spin": 2} for info in oracle.seen)
