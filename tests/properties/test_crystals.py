from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.optimize import BFGS

from kernpot.errors import KernpotWarning, PropertyError, StructureError
from kernpot.properties import (
    ElasticConstants,
    EquationOfState,
    ForceConstants,
    LatticeConstants,
    PhononModes,
    VacancyFormationEnergy,
    bulk_modulus,
    conventional_cell,
    cubic_constants,
    shear_modulus,
    signed_root,
)
from kernpot.uncertainty.propagation import propagate
from tests.helpers.scaled import ScaledEMT, scaled_draws

FACTORS = np.array([0.8, 0.9, 1.0, 1.3])
A_CU = 3.58999  # of EMT


@pytest.fixture(scope="module")
def copper():
    return bulk("Cu", a=A_CU)


def test_equation_of_state_scales_with_the_potential(copper):
    v0, e0, b0, slope = propagate(EquationOfState(copper), scaled_draws(FACTORS)).values.T
    np.testing.assert_allclose(v0, A_CU**3 / 4, rtol=2e-3)
    np.testing.assert_allclose(e0, FACTORS * ScaledEMT().mean(copper).energy, atol=1e-4)
    np.testing.assert_allclose(b0 / b0[2], FACTORS, rtol=1e-6)
    np.testing.assert_allclose(slope, slope[0], rtol=1e-5)


def test_bulk_modulus_of_stress_and_of_energy_agree(copper):
    c = ElasticConstants(copper)(ScaledEMT())
    c11, c12, _ = cubic_constants(c)
    assert np.isclose(bulk_modulus(c), (c11 + 2 * c12) / 3, rtol=1e-6)
    assert np.isclose(bulk_modulus(c), EquationOfState(copper)(ScaledEMT())[2], rtol=0.01)


def test_minimum_outside_the_volumes_is_refused():
    with pytest.raises(PropertyError, match="outside"):
        EquationOfState(bulk("Cu", a=4.0))(ScaledEMT())


def test_lattice_constants_are_found_from_a_wrong_cell():
    found = LatticeConstants(bulk("Cu", a=3.7, cubic=True))(ScaledEMT(1.2))
    np.testing.assert_allclose(found, A_CU, atol=2e-3)


def test_relaxation_that_does_not_converge_is_said():
    with pytest.raises(PropertyError, match="after 1 steps"):
        LatticeConstants(bulk("Cu", a=3.9, cubic=True), max_steps=1)(ScaledEMT())


def test_elastic_constants_have_the_symmetry_of_the_crystal(copper):
    c = ElasticConstants(copper, relax_ions=False)(ScaledEMT())
    c11, c12, c44 = cubic_constants(c)
    expected = np.full((3, 3), c12) + (c11 - c12) * np.eye(3)
    np.testing.assert_allclose(c[:3, :3], expected, atol=1e-3 * c11)
    np.testing.assert_allclose(c[3:, 3:], c44 * np.eye(3), atol=1e-3 * c11)
    assert np.abs(c[:3, 3:]).max() < 1e-3 * c11


def by_relaxation(atoms, e=2e-3):
    """Elastic constants from structures whose ions are relaxed one by one."""
    columns = []
    for strain in e * np.eye(6):
        stress = []
        for sign in (1, -1):
            moved = atoms.copy()
            half = np.array([1, 1, 1, 0.5, 0.5, 0.5]) * sign * strain
            tensor = half[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
            moved.set_cell(atoms.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
            moved.calc = ScaledEMT().calculator()
            BFGS(moved, logfile=None).run(fmax=1e-5)
            stress.append(moved.get_stress())
        columns.append((stress[0] - stress[1]) / (2 * e * units.GPa))
    return 0.5 * (np.array(columns) + np.array(columns).T)  # it is not symmetric under stress


def test_ions_follow_the_strain_as_if_relaxed():
    atoms = bulk("Cu", "hcp", a=2.54, c=4.1)
    with pytest.warns(KernpotWarning, match=r"elastic constants of Cu2 at a cell under a stress of 2\.7 GPa"):
        relaxed, clamped = (ElasticConstants(atoms, relax_ions=r)(ScaledEMT()) for r in (True, False))
    np.testing.assert_allclose(relaxed, by_relaxation(atoms), atol=0.3)
    assert np.abs(relaxed - clamped).max() > 5  # GPa: the second term matters in this crystal


def test_elastic_constants_of_draws_scale(copper):
    found = propagate(ElasticConstants(copper), scaled_draws(FACTORS))
    np.testing.assert_allclose(found.values, FACTORS[:, None, None] * found.of_mean, rtol=1e-9, atol=1e-9)
    shear = found.map(shear_modulus)
    np.testing.assert_allclose(shear.values, FACTORS * shear.of_mean)
    assert shear.unit == "GPa"


def test_shear_modulus_of_an_isotropic_solid():
    k, g = 100.0, 40.0
    c = np.zeros((6, 6))
    c[:3, :3] = k - 2 * g / 3 + 2 * g * np.eye(3)
    c[3:, 3:] = g * np.eye(3)
    assert np.isclose(shear_modulus(c), g) and np.isclose(bulk_modulus(c), k)


def test_ions_that_are_not_at_a_minimum_are_refused():
    unstable = bulk("Cu", "diamond", a=4.2)
    with pytest.raises(PropertyError, match="not at a minimum"):
        ElasticConstants(unstable)(ScaledEMT(-1.0))


def test_crystals_are_asked_for(copper):
    slab = copper.copy()
    slab.pbc = [True, True, False]
    for make in (EquationOfState, ElasticConstants, LatticeConstants, VacancyFormationEnergy):
        with pytest.raises(StructureError, match="periodic in three directions"):
            make(slab)


def test_vacancy_is_relaxed_and_scales():
    perfect = bulk("Cu", a=A_CU, cubic=True) * 2
    wanted = VacancyFormationEnergy(perfect)
    found = propagate(wanted, scaled_draws((0.9, 1.1)))
    np.testing.assert_allclose(found.values / found.of_mean, [0.9, 1.1], rtol=1e-3)
    unrelaxed = ScaledEMT().mean(wanted.defective).energy - 31 / 32 * ScaledEMT().mean(perfect).energy
    assert unrelaxed - 0.1 < found.of_mean < unrelaxed - 1e-3


def test_vacancy_counts_the_energy_of_the_reservoir():
    perfect, gas = bulk("Cu", a=A_CU, cubic=True) * 2, bulk("Cu", a=4.5)
    inside, outside = (VacancyFormationEnergy(perfect, reservoir=r, fmax=0.05)(ScaledEMT()) for r in (None, gas))
    means = [ScaledEMT().mean(atoms).energy / len(atoms) for atoms in (perfect, gas)]
    assert np.isclose(outside - inside, means[1] - means[0]) and means[1] - means[0] > 0.5


def test_vacancy_in_a_compound_needs_a_reservoir():
    compound = bulk("NaCl", "rocksalt", a=5.6)
    with pytest.raises(ValueError, match="reservoir"):
        VacancyFormationEnergy(compound)
    with pytest.raises(ValueError, match="no atom 7"):
        VacancyFormationEnergy(bulk("Cu"), index=7)


def test_phonons_at_gamma_are_the_hessian_of_the_cell():
    pytest.importorskip("phonopy")
    atoms = bulk("Cu", a=A_CU, cubic=True)
    squares = PhononModes(atoms, (2, 2, 2))(ScaledEMT())[0]
    hessian, h = np.empty((12, 12)), 0.01
    for k in range(12):
        rows = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[k // 3, k % 3] += sign * h
            rows.append(ScaledEMT().mean(moved).forces.ravel())
        hessian[k] = (rows[1] - rows[0]) / (2 * h)
    omega2 = np.linalg.eigvalsh(0.5 * (hessian + hessian.T)) / atoms.get_masses()[0]
    expected = omega2 * (units.s * 1e-12 / (2 * np.pi)) ** 2
    np.testing.assert_allclose(squares, expected, atol=0.01 * expected.max())
    assert np.abs(squares[:3]).max() < 1e-6


def test_squared_frequencies_of_draws_scale(copper):
    pytest.importorskip("phonopy")
    wanted = PhononModes(copper, (2, 2, 2), q_points=[[0.5, 0.5, 0.0]])
    found = propagate(wanted, scaled_draws(FACTORS))
    np.testing.assert_allclose(found.values, FACTORS[:, None, None] * found.of_mean, rtol=1e-8)
    low, high = (signed_root(edge) for edge in found.quantiles(0.5))
    assert (low < signed_root(found.of_mean)).all() and (signed_root(found.of_mean) < high).all()


def test_unstable_modes_are_negative_and_kept():
    np.testing.assert_array_equal(signed_root([-4.0, 0.0, 9.0]), [-2.0, 0.0, 3.0])


def test_force_constants_obey_the_sum_rule(copper):
    pytest.importorskip("phonopy")
    found = ForceConstants(copper, (2, 2, 2))(ScaledEMT())
    assert np.abs(found.sum(axis=1)).max() < 1e-8 * np.abs(found).max()
    with pytest.raises(ValueError, match="q_points"):
        PhononModes(copper, (2, 2, 2), q_points=[0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("name", "structure", "expected"),
    [("Cu", "fcc", [3.6, 3.6, 3.6]), ("Fe", "bcc", [3.6, 3.6, 3.6]), ("Mg", "hcp", [3.6, 3.6, 5.9])],
)
def test_the_conventional_cell_of_a_primitive_one(name, structure, expected):
    atoms = bulk(name, structure, a=3.6, **({"c": 5.9} if structure == "hcp" else {}))
    lengths = np.linalg.norm(conventional_cell(atoms) @ atoms.cell.array, axis=1)
    np.testing.assert_allclose(lengths, expected)
