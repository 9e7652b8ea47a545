"""The ASE calculator in ASE's own machinery."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter, UnitCellFilter
from ase.io import read, write
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.vibrations import Vibrations

from kernpot.calculator import KernpotCalculator
from kernpot.errors import StructureError
from tests.helpers.fakes import LennardJones


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=2)
    atoms.calc = KernpotCalculator(LennardJones())
    return atoms


@pytest.fixture
def molecule() -> Atoms:
    atoms = Atoms("Ar3", positions=[[0, 0, 0], [3.9, 0, 0], [1.9, 3.2, 0.1]])
    atoms.calc = KernpotCalculator(LennardJones())
    return atoms


def test_results_hold_only_what_ase_knows_and_fit_together(crystal: Atoms) -> None:
    crystal.get_forces()
    assert set(crystal.calc.results) == {"energy", "free_energy", "energies", "forces", "stress"} <= set(all_properties)
    assert crystal.get_potential_energies().sum() == pytest.approx(crystal.get_potential_energy())
    assert crystal.get_potential_energy(force_consistent=True) == crystal.get_potential_energy()
    assert crystal.get_stress(voigt=False).shape == (3, 3)


def test_forces_and_stress_are_the_derivatives_of_the_energy(crystal: Atoms) -> None:
    # Also a test of the neighbour list under ASE's own displacements and strains.
    few = crystal[:4]
    few.set_cell(crystal.cell.array / 2)
    few.calc = crystal.calc
    np.testing.assert_allclose(few.get_forces(), calculate_numerical_forces(few, eps=1e-4), atol=1e-7)
    np.testing.assert_allclose(few.get_stress(), calculate_numerical_stress(few, eps=1e-5), atol=1e-9)


@pytest.mark.parametrize(
    "make",
    [lambda: Atoms("Ar2", [[0, 0, 0], [0, 0, 3.9]]), lambda: bulk("Ar", "sc", a=3.7) * (2, 2, 1)],
    ids=["molecule", "slab"],
)
def test_no_stress_unless_periodic_in_three_directions(make, tmp_path: Path) -> None:
    atoms = make()
    atoms.pbc[2] = False
    atoms.calc = KernpotCalculator(LennardJones())
    atoms.get_forces()
    assert "stress" not in atoms.calc.results
    with pytest.raises(PropertyNotImplementedError, match=r"periodic in three directions, got pbc"):
        atoms.get_stress()
    assert "forces" in atoms.calc.results  # the refusal costs nothing that was computed
    write(tmp_path / "a.xyz", atoms)
    with Trajectory(tmp_path / "a.traj", "w", atoms) as trajectory:
        trajectory.write()
    assert read(tmp_path / "a.traj").get_potential_energy() == atoms.get_potential_energy()


@pytest.mark.parametrize("cell_filter", [FrechetCellFilter, UnitCellFilter])
def test_cell_filter_reaches_the_lattice_constant_of_an_energy_scan(cell_filter) -> None:
    def primitive(a: float) -> Atoms:
        atoms = bulk("Ar", "fcc", a=a)
        atoms.calc = KernpotCalculator(LennardJones())
        return atoms

    atoms = primitive(5.6)
    assert FIRE(cell_filter(atoms), logfile=None).run(fmax=1e-5, steps=400)
    scan = np.linspace(5.0, 5.6, 601)
    best = scan[np.argmin([primitive(a).get_potential_energy() for a in scan])]
    assert (4 * atoms.get_volume()) ** (1 / 3) == pytest.approx(best, abs=2e-3)


def test_energy_is_conserved_and_neighbour_lists_are_reused(crystal: Atoms) -> None:
    thermal = np.sqrt(crystal.get_masses() * units.kB * 40)
    crystal.set_momenta(thermal[:, None] * np.random.default_rng(0).standard_normal((32, 3)))
    start = crystal.get_total_energy()
    kinetic = crystal.get_kinetic_energy()
    VelocityVerlet(crystal, 2 * units.fs).run(300)
    assert abs(crystal.get_total_energy() - start) < 2e-3 * kinetic
    assert 1 <= crystal.calc.neighbour_list.n_builds < 15
    fresh = LennardJones().mean(crystal)
    np.testing.assert_allclose(crystal.get_forces(), fresh.forces, atol=1e-12)


def test_langevin_needs_no_full_prediction(crystal: Atoms) -> None:
    Langevin(crystal, 2 * units.fs, temperature_K=40, friction=0.01, rng=np.random.default_rng(0), fixcm=False).run(10)
    assert crystal.calc.potential.n_full_predictions == 0


def test_neb_finds_the_mirror_symmetric_saddle() -> None:
    # An atom crosses between two others; by symmetry the saddle is the middle image.
    start = Atoms("Ar3", [[-2.9, 0, 0], [2.9, 0, 0], [0, -2.3, 0]])
    end = start.copy()
    end.positions[2, 1] *= -1
    images = [start, *(start.copy() for _ in range(3)), end]
    shared = KernpotCalculator(LennardJones())
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate()
    for image in images:
        image.calc = shared
        image.set_constraint(FixAtoms([0, 1]))
    FIRE(band, logfile=None).run(fmax=0.02, steps=200)
    energies = [image.get_potential_energy() for image in images]
    assert np.argmax(energies) == 2 and energies[2] > energies[0]
    assert energies[1] == pytest.approx(energies[3], abs=1e-6)


def test_vibrations_of_a_dimer(tmp_path: Path) -> None:
    dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8]])
    dimer.calc = KernpotCalculator(LennardJones())
    BFGS(dimer, logfile=None).run(fmax=1e-6)
    vibrations = Vibrations(dimer, name=str(tmp_path / "vib"), delta=0.005)
    vibrations.run()
    distance, step = dimer.get_distance(0, 1), 1e-3

    def energy(r: float) -> float:
        return LennardJones().mean(Atoms("Ar2", [[0, 0, 0], [0, 0, r]])).energy

    curvature = (energy(distance + step) - 2 * energy(distance) + energy(distance - step)) / step**2
    reduced_mass = dimer.get_masses()[0] / 2
    expected = np.sqrt(curvature / reduced_mass) * units._hbar * units.m / np.sqrt(units._e * units._amu)
    assert vibrations.get_energies()[-1].real == pytest.approx(expected, rel=1e-2)


def test_prediction_belongs_to_the_structure_as_it_is_now(crystal: Atoms) -> None:
    crystal.get_forces()
    potential = crystal.calc.potential
    first = crystal.calc.prediction
    assert crystal.calc.prediction is first and potential.n_full_predictions == 1
    np.testing.assert_allclose(first.forces.mean, crystal.get_forces())
    crystal.positions[0, 0] += 0.3
    moved = crystal.calc.prediction
    assert potential.n_full_predictions == 2
    np.testing.assert_allclose(moved.forces.mean, crystal.get_forces())
    assert np.abs(moved.forces.mean - first.forces.mean).max() > 0.01
    crystal.get_potential_energy()
    assert crystal.calc.prediction is moved


def test_prediction_before_any_structure_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="get_potential_energy"):
        _ = KernpotCalculator(LennardJones()).prediction


def test_prediction_after_the_atoms_are_gone_and_after_pickling(molecule: Atoms) -> None:
    molecule.get_potential_energy()
    calculator = pickle.loads(pickle.dumps(molecule.calc))
    assert calculator.prediction.energy.mean == molecule.get_potential_energy()
    kept = molecule.calc
    expected = molecule.get_potential_energy()
    del molecule
    assert kept.prediction.energy.mean == expected


def test_unknown_element_is_named(molecule: Atoms) -> None:
    molecule.symbols[1] = "Xe"
    with pytest.raises(StructureError, match=r"knows Ar, the structure also has Xe"):
        molecule.get_potential_energy()


def test_positions_that_are_not_finite_are_named(molecule: Atoms) -> None:
    molecule.positions[1, 2] = np.inf
    with pytest.raises(StructureError, match="infinity at atom 1: has the dynamics blown up"):
        molecule.get_forces()


def test_failed_calculation_leaves_no_old_results(molecule: Atoms) -> None:
    molecule.get_forces()
    molecule.positions[1, 2] = np.nan
    with pytest.raises(StructureError):
        molecule.get_forces()
    assert molecule.calc.results == {}


def test_changed_number_of_atoms_is_a_new_structure(crystal: Atoms) -> None:
    crystal.get_forces()
    smaller = crystal[:5]
    smaller.calc = crystal.calc
    np.testing.assert_allclose(smaller.get_forces(), LennardJones().mean(smaller).forces, atol=1e-12)
