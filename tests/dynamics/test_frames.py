"""Frames carry means where ASE looks for them and stds where it does not stumble over them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import all_properties
from ase.constraints import FixAtoms
from ase.io import read, write
from ase.outputs import Properties

from kernpot.calculator import KernpotCalculator
from kernpot.dynamics.frames import annotated
from tests.helpers.fakes import TRIANGLE, LennardJones


def crystal() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    return atoms


def test_everything_survives_extended_xyz() -> None:
    atoms = crystal()
    prediction = LennardJones().predict_full([atoms])[0]
    file = io.StringIO()
    write(file, annotated(atoms, prediction), format="extxyz")
    file.seek(0)
    found = read(file, format="extxyz")
    assert isinstance(found, Atoms) and prediction.stress is not None
    near = {"rtol": 0, "atol": 1e-7}  # the digits ASE writes
    np.testing.assert_allclose(found.positions, atoms.positions, **near)
    np.testing.assert_allclose(found.get_momenta(), atoms.get_momenta(), **near)
    assert found.get_potential_energy() == pytest.approx(float(prediction.energy.mean), abs=1e-7)
    np.testing.assert_allclose(found.get_forces(), prediction.forces.mean, **near)
    np.testing.assert_allclose(found.get_stress(), prediction.stress.mean, **near)
    np.testing.assert_allclose(found.arrays["forces_std"], prediction.forces.std, **near)
    np.testing.assert_allclose(found.arrays["energies_std"], prediction.energies.std, **near)
    assert found.info["energy_std"] == pytest.approx(float(prediction.energy.std), abs=1e-7)
    np.testing.assert_allclose(found.info["stress_std"], prediction.stress.std, **near)


def test_the_calculator_holds_nothing_that_ase_does_not_know() -> None:
    frame = annotated(crystal(), LennardJones().predict_full([crystal()])[0])
    assert set(frame.calc.results) == {"energy", "forces", "stress"} <= set(all_properties)
    found = Properties({name: frame.calc.results[name] for name in frame.calc.results})  # as get_properties makes them
    np.testing.assert_array_equal(found["forces"], frame.get_forces())


def test_a_calculator_with_results_of_a_frame_answers_for_properties() -> None:
    atoms = crystal()
    atoms.calc = KernpotCalculator(LennardJones())
    found = atoms.calc.calculate_properties(atoms, ["energy", "forces", "stress"])
    np.testing.assert_array_equal(found["forces"], atoms.get_forces())
    assert "screened" not in atoms.calc.results


def test_molecules_have_no_stress_and_keep_none_of_an_earlier_prediction() -> None:
    atoms = Atoms("Ar3", TRIANGLE, info={"stress_std": np.ones(6), "origin": "here"})
    frame = annotated(atoms, LennardJones().predict_full([atoms])[0])
    assert "stress" not in frame.calc.results and "stress_std" not in frame.info and frame.info["origin"] == "here"


def test_the_structure_itself_stays_as_it_is_and_its_constraints_are_copied() -> None:
    atoms = crystal()
    atoms.set_constraint(FixAtoms([0]))
    prediction = LennardJones().predict_full([atoms])[0]
    frame = annotated(atoms, prediction)
    assert "forces_std" not in atoms.arrays and atoms.info == {} and atoms.calc is None
    assert len(frame.constraints) == 1
    np.testing.assert_array_equal(frame.get_forces(apply_constraint=False), prediction.forces.mean)
    frame.positions += 1.0
    np.testing.assert_array_equal(atoms.positions, crystal().positions)


def test_refuses_a_prediction_for_something_else() -> None:
    with pytest.raises(ValueError, match="expected a prediction for 3 atoms, got one for 4"):
        annotated(Atoms("Ar3", TRIANGLE), LennardJones().predict_full([crystal()])[0])
