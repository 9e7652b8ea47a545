"""The gate fires where it should, once, and hands over what came before."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from kernpot.calculator import KernpotCalculator
from kernpot.dynamics import GateStopped, UncertaintyGate
from kernpot.errors import KernpotError
from tests.fakes import LennardJones


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
    with pytest.raises(GateStopped, match=rf"step {first}: force on atom . \(Ar\) has a std of") as stopped:
        dynamics.run(400)
    event = stopped.value.event
    assert dynamics.nsteps == first > 10
    assert event.step == first and event.force_std == pytest.approx(curve[first]) and event.force_std > threshold
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
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"every": 0}, "every must be at least 1"),
        ({"n_keep": -1}, "n_keep must be at least 0"),
        ({"action": "shout"}, "action must be 'stop' or 'record', got 'shout'"),
    ],
)
def test_refuses_settings_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UncertaintyGate(LennardJones(), **options)
