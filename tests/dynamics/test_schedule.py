"""Schedules make the dynamics their stages ask for; every bit of a walker survives its way through a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet

from kernpot.dynamics import Schedule, Stage
from kernpot.dynamics.walker import Walker
from kernpot.errors import KernpotError


def crystal() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
    return atoms


def test_stages_follow_one_another() -> None:
    plan = Schedule([Stage("langevin", 10, (100, 200), 2.0), Stage("npt", 20, 200.0, pressure=1.0), Stage("nve", 5)])
    assert plan.n_steps == 35
    assert [plan.temperature_at(step) for step in (0, 5, 10, 29)] == [100, 150, 200, 200]
    assert [plan.stage_end(step) for step in (0, 9, 10, 29, 30, 34)] == [10, 10, 30, 30, 35, 35]
    rng = np.random.default_rng(0)
    found = [plan(crystal(), step, rng) for step in (9, 10, 30)]
    assert [type(dynamics) for dynamics in found] == [Langevin, LangevinBAOAB, VelocityVerlet]
    assert found[0].dt == pytest.approx(2 * units.fs) and found[0].temp == pytest.approx(190 * units.kB)
    assert found[0].fr == pytest.approx(0.01 / units.fs)
    assert found[1].externalstress == pytest.approx(-1.0 * units.GPa)


def test_pressures_ramp_like_temperatures() -> None:
    plan, rng = Schedule([Stage("npt", 100, 30.0, pressure=(0.0, 2.0))]), np.random.default_rng(0)
    found = [plan(crystal(), step, rng).externalstress / units.GPa for step in (0, 25, 50, 100)]
    assert found == pytest.approx([0.0, -0.5, -1.0, -2.0])


def test_thermostat_reaches_its_temperature() -> None:
    atoms, rng = crystal().repeat(2), np.random.default_rng(1)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
    walker = Walker(0, atoms, rng)
    walker.thermalise(40.0)
    dynamics = Schedule([Stage("langevin", 600, 40.0, 5.0)])(atoms, 0, rng)
    found = []
    dynamics.attach(lambda: found.append(atoms.get_temperature()))
    dynamics.run(600)
    assert np.mean(found[100:]) == pytest.approx(40.0, rel=0.15)


def test_the_cell_remembers_its_momentum_between_legs() -> None:
    plan = Schedule([Stage("npt", 100, 30.0, timestep=4.0, friction=5.0, pressure=0.3)])

    def volumes(legs: int) -> list[float]:
        atoms, rng, memory = crystal(), np.random.default_rng(2), {}
        Walker(0, atoms, np.random.default_rng(3)).thermalise(30.0)
        for leg in range(legs):
            dynamics = plan(atoms, leg * 60 // legs, rng)
            plan.recall(dynamics, json.loads(json.dumps(memory)))
            dynamics.run(60 // legs)
            memory = plan.memory(dynamics)
        return atoms.cell.array

    np.testing.assert_allclose(volumes(6), volumes(1), rtol=1e-12)


def test_walkers_survive_bit_by_bit() -> None:
    slab = fcc111("Cu", (2, 2, 3), vacuum=5.0)
    slab.set_constraint(FixAtoms(indices=[0, 1, 2, 3]))
    slab.set_masses(np.linspace(60, 65, len(slab)))
    walker = Walker(3, slab, np.random.default_rng(5), step=12, time_fs=6.25, memory={"p_eps": 0.1}, lenient=4)
    walker.thermalise(300.0)
    walker.rng.random(7)
    again = Walker.from_dict(json.loads(json.dumps(walker.as_dict())))
    for name in ("positions", "momenta", "masses", "numbers", "tags"):
        np.testing.assert_array_equal(again.atoms.arrays[name], walker.atoms.arrays[name])
    np.testing.assert_array_equal(again.atoms.cell.array, slab.cell.array)
    assert again.atoms.pbc.tolist() == slab.pbc.tolist()
    assert again.atoms.constraints[0].index.tolist() == [0, 1, 2, 3]
    assert (again.rng.random(5) == walker.rng.random(5)).all()
    assert again.as_dict() == walker.as_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ensemble": "nvt", "steps": 1}, "ensemble: expected one of nve, langevin, npt, got 'nvt'"),
        ({"ensemble": "nve", "steps": 0}, "steps: expected a positive whole number, got 0"),
        ({"ensemble": "nve", "steps": 1, "temperature": -3.0}, "temperature: expected one or two numbers in K"),
        ({"ensemble": "nve", "steps": 1, "temperature": (1, 2, 3)}, "temperature: expected one or two"),
        ({"ensemble": "nve", "steps": 1, "timestep": 0.0}, "timestep: expected a positive number in fs"),
        ({"ensemble": "langevin", "steps": 1, "friction": -1.0}, "friction: expected a positive number in 1/ps"),
        ({"ensemble": "npt", "steps": 1, "pressure": float("nan")}, "pressure: expected one or two numbers in GPa"),
    ],
)
def test_refuses_stages_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(KernpotError, match=message):
        Stage(**options)


def test_refuses_an_empty_schedule() -> None:
    with pytest.raises(KernpotError, match="expected at least one Stage"):
        Schedule([])
