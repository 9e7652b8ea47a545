"""The gate fires where it should, once, and hands over what came before."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from kernpot.calculator import KernpotCalculator
from kernpot.dynamics import GateEvent, GateStopped, UncertaintyGate, annotated
from kernpot.dynamics.checked import Checked
from kernpot.dynamics.tolerance import threshold_for
from kernpot.errors import KernpotError
from kernpot.prediction import MeanPrediction, Prediction
from kernpot.structures.neighbours import Pairs
from tests.gp.predicting.test_screen import fitted
from tests.helpers.fakes import LennardJones, drawn_frames


def collision(speed: float = 0.035) -> VelocityVerlet:
    """Two argon atoms flying at each other: forces, and so the fake's stds, grow as they meet."""
    atoms = Atoms("Ar2", [[0, 0, 0], [6.0, 0, 0]])
    atoms.calc = KernpotCalculator(LennardJones())
    atoms.set_velocities([[0, 0, 0], [-speed, 0, 0]])
    return VelocityVerlet(atoms, 2 * units.fs)


def stds(n_steps: int) -> list[float]:
    dynamics, found = collision(), []
    potential = LennardJones()
    dynamics.attach(lambda: found.append(potential.predict_full([dynamics.atoms])[0].forces.std.max()))
    dynamics.run(n_steps)
    return found


def test_stops_at_the_first_step_above_the_threshold() -> None:
    curve = stds(400)
    threshold = 0.5 * (curve[0] + max(curve))
    first = int(np.argmax(np.array(curve) > threshold))
    dynamics = collision()
    gate = UncertaintyGate(LennardJones(), force_std=threshold)
    gate.attach_to(dynamics)
    with pytest.raises(GateStopped, match=rf"step {first}: a force component on atom . \(Ar\) has a std of") as stopped:
        dynamics.run(400)
    event = stopped.value.event
    assert dynamics.nsteps == first > 10
    assert event.step == first and event.value == pytest.approx(curve[first]) and event.value > threshold
    assert gate.events == [event] and isinstance(stopped.value, KernpotError)
    np.testing.assert_array_equal(event.atoms.positions, dynamics.atoms.positions)
    assert event.atoms.get_potential_energy() == pytest.approx(dynamics.atoms.get_potential_energy())


def test_hands_over_the_frames_before_the_event_in_order() -> None:
    dynamics = collision()
    positions = []
    dynamics.attach(lambda: positions.append(dynamics.atoms.positions.copy()), interval=5)
    gate = UncertaintyGate(LennardJones(), force_std=0.0102, every=5, n_keep=3)
    gate.attach_to(dynamics)
    with pytest.raises(GateStopped) as stopped:
        dynamics.run(400)
    before = stopped.value.event.before
    assert len(before) == 3 and stopped.value.event.step % 5 == 0
    for frame, expected in zip(before, positions[-4:-1], strict=True):
        np.testing.assert_array_equal(frame.positions, expected)


def test_names_the_atom() -> None:
    atoms = Atoms("Ar3", [[0, 0, 0], [12, 0, 0], [15.0, 0, 0]])
    gate = UncertaintyGate(LennardJones(), force_std=1e-3, action="record")
    gate.check(atoms, step=7)
    assert gate.events[0].atom == 1 and gate.events[0].step == 7


def test_patience_ignores_short_excursions() -> None:
    quiet, loud = Atoms("Ar2", [[0, 0, 0], [6.0, 0, 0]]), Atoms("Ar2", [[0, 0, 0], [2.9, 0, 0]])
    gate = UncertaintyGate(LennardJones(), force_std=0.011, patience=3)
    for atoms in (loud, loud, quiet, loud, loud):
        gate.check(atoms)
    assert gate.events == []
    with pytest.raises(GateStopped):
        gate.check(loud)


def test_recording_notes_each_stay_once_and_lets_the_dynamics_go_on() -> None:
    quiet, loud = Atoms("Ar2", [[0, 0, 0], [6.0, 0, 0]]), Atoms("Ar2", [[0, 0, 0], [2.9, 0, 0]])
    gate = UncertaintyGate(LennardJones(), force_std=0.011, action="record")
    for step, atoms in enumerate((quiet, loud, loud, loud, quiet, loud)):
        gate.check(atoms, step)
    assert [event.step for event in gate.events] == [1, 5]


def test_kept_frames_do_not_follow_the_moving_atoms() -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [6.0, 0, 0]])
    gate = UncertaintyGate(LennardJones(), force_std=0.011, action="record")
    gate.check(atoms)
    atoms.positions[1, 0] = 2.9
    gate.check(atoms)
    assert gate.events[0].before[0].positions[1, 0] == 6.0


def test_works_with_optimisers() -> None:
    atoms = Atoms("Ar2", [[0, 0, 0], [2.9, 0, 0]])
    atoms.calc = KernpotCalculator(LennardJones())
    optimiser = BFGS(atoms, logfile=None)
    UncertaintyGate(LennardJones(), force_std=0.011).attach_to(optimiser)
    with pytest.raises(GateStopped, match="step 0"):
        optimiser.run(fmax=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"force_std": 0.0}, "force_std must be a positive number in eV/Å, got 0.0"),
        ({"force_std": float("nan")}, "force_std must be a positive"),
        ({"patience": 1.5}, "patience must be a whole number, got 1.5"),
        ({"every": True}, "every must be a whole number, got True"),
        ({"force_std": "a"}, "force_std must be a positive number in eV/Å, got 'a'"),
        ({"force_std": True}, "force_std must be a positive number in eV/Å, got True"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"every": 0}, "every must be at least 1"),
        ({"n_keep": -1}, "n_keep must be at least 0"),
        ({"force_std": None}, "at least one of force_std, energy_std, stress_std, novelty must be given"),
        ({"stress_std": -1.0}, "stress_std must be a positive number in eV/Å³, got -1.0"),
        ({"recheck": 0}, "recheck must be at least 1"),
        ({"action": "query"}, "action='query' and a callable query go together"),
        ({"query": print}, "action='query' and a callable query go together"),
        ({"novelty": 3.0}, "this potential has no novelty"),
        ({"action": "shout"}, "action must be 'stop', 'query' or 'record', got 'shout'"),
    ],
)
def test_refuses_settings_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UncertaintyGate(LennardJones(), **options)


# ---------------------------------------------------------------- reasons, actions, the trusted frame


def pair(distance: float) -> Atoms:
    return Atoms("Ar2", [[0, 0, 0], [distance, 0, 0]])


def crystal(rattle: float = 0.1) -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(rattle, seed=0)
    return atoms


class WithLeverage(LennardJones):
    """Its atoms have leverages of 0, 1, 2 ..."""

    def novelty(self, structures: list[Atoms]) -> list[SimpleNamespace]:
        return [SimpleNamespace(leverage=np.arange(float(len(a)))) for a in structures]


@pytest.mark.parametrize(
    ("thresholds", "reason", "value", "says"),
    [
        ({"force_std": 1e-3}, "force_std", None, "has a std of .* eV/Å, above the gate's 0.001"),
        ({"force_std": None, "energy_std": 1e-4}, "energy_std", 0.002 * 2 / 4, "the energy has a std of 0.001 eV/atom"),
        ({"force_std": None, "stress_std": 1e-5}, "stress_std", 1e-4, "a stress component has a std of 0.0001"),
        ({"force_std": None, "novelty": 2.5}, "novelty", 3.0, r"atom 3 \(Ar\) has a leverage of 3"),
        ({"force_std": 1e-2, "energy_std": 1e-6}, "energy_std", 0.001, "eV/atom"),
        ({"force_std": 1e-6, "energy_std": 1e-4}, "force_std", None, "eV/Å"),
    ],
)
def test_says_which_threshold_was_exceeded_most(
    thresholds: dict[str, float], reason: str, value: float | None, says: str
) -> None:
    potential = WithLeverage()
    gate = UncertaintyGate(potential, **thresholds, action="record")
    event = gate.check(crystal(), 5)
    assert event is not None and gate.events == [event] and re.search(says, str(event))
    assert event.reason == reason and event.threshold == thresholds[reason] and event.element == "Ar"
    stds = potential.predict_full([crystal()])[0].forces.std
    assert event.value == pytest.approx(stds.max() if value is None else value)
    assert event.atom == (3 if reason == "novelty" else stds.max(axis=1).argmax())
    assert event.atoms.info["step"] == 5 and event.atoms.arrays["forces_std"].max() == stds.max()


def test_thresholds_that_are_not_given_do_not_count() -> None:
    gate = UncertaintyGate(WithLeverage(), force_std=10.0, energy_std=1.0)
    assert gate.check(crystal()) is None
    assert gate.last is not None and gate.last.novelty is None and gate.last.stress_std == pytest.approx(1e-4)
    assert gate.last.energy_std == pytest.approx(0.001)


# ---------------------------------------------------------------- what a check asks of the potential


class Counted(WithLeverage):
    """Counts the means it is asked for, too, but for those in its own predictions."""

    def __init__(self) -> None:
        super().__init__()
        self.n_means, self._inside = 0, False

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        self.n_means += not self._inside
        return super().mean(atoms, pairs)

    def _predict(self, atoms: Atoms, covariance: bool) -> Prediction:
        self._inside = True
        try:
            return super()._predict(atoms, covariance)
        finally:
            self._inside = False

    @property
    def asked(self) -> tuple[int, int, int]:
        """Full predictions, force stds and means."""
        return self.n_full_predictions, self.n_force_stds, self.n_means


@pytest.mark.parametrize(
    ("others", "asked"),
    [
        ({}, (0, 5, 0)),
        ({"novelty": 10.0}, (0, 5, 0)),
        ({"energy_std": 1.0}, (5, 0, 0)),
        ({"stress_std": 1.0}, (5, 0, 0)),
    ],
)
def test_a_full_check_computes_what_its_thresholds_need(others: dict[str, float], asked: tuple[int, int, int]) -> None:
    potential = Counted()
    gate = UncertaintyGate(potential, force_std=10.0, **others)
    for step in range(5):
        assert gate.check(crystal(), step) is None
    assert potential.asked == asked and gate.last is not None
    assert (gate.last.energy_std is None) == (gate.last.stress_std is None) == (asked[0] == 0)


def test_an_event_predicts_what_it_hands_out_and_each_structure_once() -> None:
    potential = Counted()
    gate = UncertaintyGate(potential, force_std=0.011, action="record", n_keep=2)
    for step, distance in enumerate((6.0, 5.9, 5.8, 2.9, 5.7, 2.9)):
        gate.check(pair(distance), step)
    first, second = gate.events
    # The first event hands out steps 1 to 3, the second one 3 to 5.
    assert [f.info["step"] for f in (*first.before, first.atoms)] == [1, 2, 3]
    assert [f.info["step"] for f in (*second.before, second.atoms)] == [3, 4, 5]
    assert potential.asked == (5, 6, 0)
    for frame in (*first.before, first.atoms, *second.before, second.atoms):
        expected = annotated(frame, potential.predict_full([frame])[0])
        assert frame.calc.results.keys() == expected.calc.results.keys()
        assert frame.info["energy_std"] == expected.info["energy_std"]
        for name in ("forces_std", "energies_std"):
            np.testing.assert_array_equal(frame.arrays[name], expected.arrays[name])


def test_frames_from_before_the_potential_learnt_say_nothing_that_it_did_not_know_then() -> None:
    potential = LennardJones()
    gate = UncertaintyGate(potential, force_std=0.011, action="record")
    gate.check(pair(6.0), 0)
    assert gate.last is not None
    known = gate.last.force_std
    potential.update([pair(6.0)])
    event = gate.check(pair(2.9), 1)
    assert event is not None
    (earlier,) = event.before
    assert earlier.arrays["forces_std"].max() == known and earlier.info == {"step": 0} and earlier.calc is None
    assert event.atoms.arrays["forces_std"].max() == event.value and event.atoms.calc is not None


@pytest.mark.parametrize(("change", "same"), [(1e-9, True), (1e-4, False)])
def test_round_off_of_stds_is_not_taken_for_learning(change: float, same: bool) -> None:
    potential = LennardJones()
    stds = potential.force_std(pair(6.0)).copy()
    stds[0, 0] += change * stds.max()
    assert (Checked(pair(6.0), 3, stds).frame(potential).calc is not None) == same


def test_what_an_event_hands_out_is_predicted_before_a_query_may_teach_the_potential() -> None:
    potential = LennardJones()

    def learn(event: GateEvent) -> None:
        potential.update([event.atoms])

    gate = UncertaintyGate(potential, force_std=0.011, action="query", query=learn)
    for step, distance in enumerate((6.0, 2.9, 6.0, 2.8)):
        gate.check(pair(distance), step)
    assert len(gate.events) == 2
    for frame in gate.events[0].before + gate.events[1].before[:2]:
        assert frame.calc is not None and frame.info["energy_std"] > 0


def test_a_stress_threshold_wants_a_stress() -> None:
    with pytest.raises(KernpotError, match=r"periodic in three directions, got pbc = \[False, False, False\]"):
        UncertaintyGate(LennardJones(), stress_std=1e-3).check(pair(6.0))


def test_hands_over_the_last_trusted_frame_with_its_momenta() -> None:
    gate = UncertaintyGate(LennardJones(), force_std=0.011, patience=2)
    frames = []
    for k, distance in enumerate((6.0, 5.5, 2.9)):
        frames.append(pair(distance))
        frames[-1].set_momenta([[k, 1, 2], [3, 4, k]])
        assert gate.check(frames[-1], step=10 * k) is None
    with pytest.raises(GateStopped) as stopped:
        gate.check(pair(2.9), step=30)
    event = stopped.value.event
    assert event.trusted_step == 10 and event.trusted is not None and event.trusted is not frames[1]
    np.testing.assert_array_equal(event.trusted.positions, frames[1].positions)
    np.testing.assert_array_equal(event.trusted.get_momenta(), frames[1].get_momenta())
    assert "forces_std" not in event.trusted.arrays and len(event.before) == 3


def test_nothing_is_trusted_where_the_first_frame_is_above_the_threshold() -> None:
    gate = UncertaintyGate(LennardJones(), force_std=1e-3, action="record")
    event = gate.check(pair(6.0))
    assert event is not None and event.trusted is None and event.trusted_step is None


def test_query_calls_and_the_dynamics_goes_on() -> None:
    asked: list[GateEvent] = []
    dynamics = collision()
    gate = UncertaintyGate(LennardJones(), force_std=0.0102, action="query", query=asked.append)
    gate.attach_to(dynamics)
    dynamics.run(400)
    assert dynamics.nsteps == 400 and len(asked) == 1 and asked == gate.events


def test_bound_to_has_the_settings_and_no_memory() -> None:
    newer = LennardJones(force_std=0.02)
    gate = UncertaintyGate(LennardJones(), None, 0.1, 0.2, patience=2, every=3, action="record", n_keep=4, recheck=5)
    gate.check(crystal())
    fresh = gate.bound_to(newer)
    assert fresh.potential is newer and gate.potential is not newer
    for name in ("thresholds", "force_std", "patience", "every", "action", "n_keep", "query", "recheck"):
        assert getattr(fresh, name) == getattr(gate, name), name
    assert fresh.last is None and fresh.events == [] and fresh.n_looks == 0
    assert gate.n_looks == 1 and len(gate.events) == 0
    lenient = gate.bound_to(newer, screened=False, raised=2.0)
    assert lenient.thresholds == {"energy_std": 0.2, "stress_std": 0.4} and lenient.recheck == 1
    assert gate.thresholds == {"energy_std": 0.1, "stress_std": 0.2} and gate.recheck == 5


def test_bound_to_refuses_a_potential_that_has_no_novelty() -> None:
    gate = UncertaintyGate(WithLeverage(), novelty=2.0)
    assert gate.bound_to(WithLeverage()).thresholds == gate.thresholds
    with pytest.raises(ValueError, match="this potential has no novelty"):
        gate.bound_to(LennardJones())


def test_looks_through_filters_of_optimisers() -> None:
    atoms = crystal()
    atoms.calc = KernpotCalculator(LennardJones())
    gate = UncertaintyGate(LennardJones(), force_std=10.0)
    optimiser = BFGS(FrechetCellFilter(atoms), logfile=None)
    gate.attach_to(optimiser)
    optimiser.run(fmax=0.01, steps=3)
    assert gate.n_checks > 1 and gate.last is not None


def test_for_tolerance_sets_the_threshold_of_the_calibration() -> None:
    frames = drawn_frames(40)
    gate = UncertaintyGate.for_tolerance(LennardJones(), 0.2, 0.05, frames, patience=3)
    assert gate.patience == 3 and gate.force_std == threshold_for(LennardJones(), 0.2, 0.05, frames)


# ---------------------------------------------------------------- screening


class Screened(LennardJones):
    """With a screen that is `factor` times the exact largest std."""

    def __init__(self, factor: float = 1.5) -> None:
        super().__init__()
        self.factor, self.n_screened = factor, 0

    def screen(self) -> Any:
        return self._screen_of

    def _screen_of(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, np.ndarray]:
        self.n_screened += 1
        return self.mean(atoms, pairs), self.factor * self._predict(atoms, False).forces.std.max(axis=1)


def test_screening_stops_where_checking_everything_does_with_few_full_checks() -> None:
    threshold = 0.03
    full = collision(0.4)
    UncertaintyGate(LennardJones(), force_std=threshold).attach_to(full)
    with pytest.raises(GateStopped) as expected:
        full.run(400)
    dynamics = collision(0.4)
    potential = Screened(0.3)
    dynamics.atoms.calc = KernpotCalculator(potential)
    gate = UncertaintyGate(potential, force_std=threshold)
    gate.attach_to(dynamics)
    with pytest.raises(GateStopped) as stopped:
        dynamics.run(400)
    assert stopped.value.event.step == expected.value.event.step
    assert gate.n_checks < 0.3 * gate.n_looks and gate.n_looks == stopped.value.event.step + 1
    assert potential.n_force_stds == gate.n_checks
    assert potential.n_full_predictions == 1 + len(stopped.value.event.before)
    # The screen comes with the forces of the calculator, but for the first look, whose forces were computed before.
    assert potential.n_screened == gate.n_looks


def test_screening_checks_in_full_every_so_many_looks_and_sooner_at_first() -> None:
    gate = UncertaintyGate(Screened(), force_std=1.0, recheck=20)
    checked = []
    for step in range(65):
        gate.check(pair(6.0), step)
        assert gate.last is not None
        checked.append(gate.last.step)
    assert sorted(set(checked)) == [0, 4, 20, 40, 60] and gate.n_checks == 5


def test_screening_checks_in_full_until_a_stay_above_the_threshold_is_over() -> None:
    gate = UncertaintyGate(Screened(), force_std=0.02, action="record")
    for step, distance in enumerate((6.0, 2.7, 6.0, 2.7)):
        gate.check(pair(distance), step)
    assert [event.step for event in gate.events] == [1, 3]


def test_a_screen_that_was_too_low_is_corrected() -> None:
    potential = Screened(0.1)
    gate = UncertaintyGate(potential, force_std=0.02, action="record")
    gate.check(pair(6.0))
    assert gate.check(pair(2.7), 1) is not None  # a tenth of its std is below the threshold
    assert gate.n_checks == 2


def test_a_screen_that_was_too_high_is_corrected() -> None:
    gate = UncertaintyGate(Screened(10.0), force_std=0.02, action="record")
    for step in range(4):
        gate.check(pair(6.0), step)
    assert gate.n_checks == 1


@pytest.mark.parametrize("others", [{"recheck": 1}, {"energy_std": 1.0}, {"stress_std": 1.0}])
def test_screens_forces_only_and_not_when_every_look_is_to_be_a_check(others: dict[str, float]) -> None:
    gate = UncertaintyGate(Screened(), force_std=1.0, **others)
    for _ in range(3):
        gate.check(crystal())
    assert gate.n_checks == 3


def test_the_screen_of_a_stale_calculator_is_not_believed() -> None:
    potential = Screened(1.0)
    atoms = pair(6.0)
    atoms.calc = KernpotCalculator(potential)
    gate = UncertaintyGate(potential, force_std=0.02, action="record")
    gate.check(atoms)
    atoms.positions[1, 0] = 6.1
    atoms.get_forces()
    gate.check(atoms)
    assert gate.n_checks == 1
    atoms.positions[1, 0] = 2.7  # forces are not asked for
    assert gate.check(atoms) is not None


@pytest.mark.slow
def test_screening_a_gaussian_process_lets_nothing_through_that_full_checks_flag() -> None:
    gp = fitted("aluminium")
    atoms = bulk("Al", cubic=True)
    atoms.calc = gp.calculator()
    atoms.set_momenta(np.random.default_rng(0).normal(size=(4, 3)) * np.sqrt(27 * units.kB * 400))
    dynamics = Langevin(
        atoms, 2 * units.fs, temperature_K=200, friction=0.02, rng=np.random.RandomState(0), fixcm=False
    )
    full = UncertaintyGate(gp, force_std=0.08, action="record", recheck=1)
    gate = UncertaintyGate(gp, force_std=0.08, action="record")
    missed: list[int] = []
    flagged = 0

    def look() -> None:
        nonlocal flagged
        dynamics.set_temperature(temperature_K=200 + 6 * dynamics.nsteps)
        full.check(atoms, dynamics.nsteps)
        before = gate.n_checks
        gate.check(atoms, dynamics.nsteps)
        assert full.last is not None
        if full.last.force_std > 0.08:
            flagged += 1
            missed.extend([dynamics.nsteps] if gate.n_checks == before else [])

    dynamics.attach(look)
    dynamics.run(300)
    assert missed == [] and 10 < flagged < 250
    assert gate.n_checks < 0.8 * gate.n_looks
    assert [e.step for e in gate.events] == [e.step for e in full.events]
