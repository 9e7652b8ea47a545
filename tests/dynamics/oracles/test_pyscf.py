import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import InputError, SCFError
from ase.calculators.fd import calculate_numerical_forces

from kernpot.dynamics.oracles import CalculatorOracle, PySCF, calculator_factory

pytest.importorskip("pyscf", reason="PySCF is not installed")
SMALL = {"basis": "sto-3g", "grid_level": 1}


def water():
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize("settings", [{}, {"xc": "hf"}, {"charge": 1, "spin": 1, "density_fit": False}])
def test_forces_are_the_derivative_of_the_energy_and_add_up_to_zero(settings):
    atoms = water()
    atoms.calc = PySCF(**SMALL, **settings)
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-8)
    numerical = calculate_numerical_forces(atoms, eps=1e-3, iatoms=[0], icarts=[1, 2])
    np.testing.assert_allclose(forces[0, 1:], numerical[0], atol=2e-4)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_the_energy_of_hydrogen_is_that_of_the_textbook():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.740848]])  # 1.4 Bohr
    atoms.calc = PySCF(xc="hf", basis="sto-3g", density_fit=False)
    # Szabo and Ostlund, Modern Quantum Chemistry, section 3.5.2: -1.1167 Hartree
    assert atoms.get_potential_energy() / 27.211386 == pytest.approx(-1.1167, abs=5e-5)


def test_an_answer_does_not_depend_on_what_was_asked_before():
    a, b = water(), water()
    b.rattle(0.05, seed=2)
    used = PySCF(**SMALL)
    used.get_potential_energy(b)
    assert used.get_potential_energy(a) == pytest.approx(PySCF(**SMALL).get_potential_energy(a), abs=1e-10)


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(SCFError, match="did not converge in 2 iterations"):
        PySCF(**SMALL, max_cycle=2).get_potential_energy(water())
    with pytest.raises(InputError, match="expected a molecule"):
        PySCF(**SMALL).get_potential_energy(bulk("Si"))
    with pytest.raises(InputError, match="9 electrons cannot have 0 unpaired"):
        PySCF(**SMALL, charge=1).get_potential_energy(water())
    with pytest.raises(InputError, match="unknown settings"):
        PySCF(functional="pbe")


@pytest.mark.slow
def test_in_a_process_of_its_own():
    factory = calculator_factory("pyscf", **SMALL)
    with CalculatorOracle(factory, retries=0) as oracle:
        ((_, labels),) = oracle.answers([water()])
        said = oracle.describe()
    assert labels.energy == pytest.approx(PySCF(**SMALL).get_potential_energy(water()), abs=1e-9)
    assert said["settings"] == SMALL and {"ase", "pyscf"} <= set(said["versions"])
