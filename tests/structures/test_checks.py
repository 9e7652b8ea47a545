"""What a structure and its labels must be: the message for every kind of bad input."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from ase.stress import full_3x3_to_voigt_6_stress

from kernpot.errors import StructureError
from kernpot.structures.checks import check_atoms, check_energy, check_forces, check_stress, check_voigt
from kernpot.structures.neighbours import find_pairs


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si"),
        molecule("H2O"),
        graphene(),
        Atoms("H"),
        Atoms("Au", cell=[0, 0, 2.6], pbc=(False, False, True)),
        Atoms("Si2", [[0, 0, 0], [50.0, -30.0, 2.0]], cell=[[4, 0, 0], [40, 4, 0], [0, 0, -4]], pbc=True),
        Atoms("Og2", [[0, 0, 0], [1e4, 0, 0]]),
    ],
    ids=["bulk", "molecule", "sheet", "atom", "wire", "skewed left-handed unwrapped", "far apart"],
)
def test_sound_structures_pass(atoms):
    check_atoms(atoms, "a.xyz#0")


def with_positions(atoms: Atoms, value: float) -> Atoms:
    atoms.positions[1, 2] = value
    return atoms


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        ("Si.xyz", "expected an ase.Atoms object, got str"),
        (with_positions(bulk("Si"), np.nan), r"atom 1 has position .*nan.*1 of 2 atoms"),
        (with_positions(molecule("H2O"), np.inf), r"atom 1 has position .*inf"),
        (Atoms("Si", cell=[np.nan, 1, 1], pbc=True), "cell .* is not finite"),
        (Atoms("Si", pbc=True), "periodic in direction a .*pbc TTT"),
        (Atoms("Si", cell=[5, 5, 0], pbc=True), "periodic in direction c .*length 0 A"),
        (Atoms("Si", cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]], pbc=True), "zero volume"),
        (Atoms("Si", cell=[[5, 0, 0], [10, 0, 0], [0, 0, 5]], pbc=(True, True, False)), "zero volume"),
        (Atoms("XSi", [[0, 0, 0], [2, 0, 0]]), "atom 0 has atomic number 0"),
        (Atoms("Si2", [[0, 0, 0], [0, 0, 0]]), "atoms 0 and 1 are 0 A apart"),
        (Atoms("Si3", [[0, 0, 0], [3, 0, 0], [5.95, 0, 0]], cell=[6, 6, 6], pbc=True), "atoms 0 and 2 are 0.05 A"),
        (Atoms("Si", cell=[5, 5, 0.05], pbc=True), "periodic in direction c .*length 0.05 A, expected at least 0.1 A"),
        (
            Atoms("Si", cell=[[5, 0, 0], [5, 0.09, 0], [0, 0, 5]], pbc=True),
            "atom 0 and its own periodic image are 0.09 A apart",
        ),
    ],
)
def test_unusable_structures_are_named_and_refused(atoms, message):
    with pytest.raises(StructureError, match=message) as error:
        check_atoms(atoms, "train.xyz#12")
    assert str(error.value).startswith("train.xyz#12: ")


def test_atoms_across_an_open_boundary_are_not_on_top_of_each_other():
    slab = Atoms("Si2", [[0, 0, 0], [0, 0, 5.95]], cell=[6, 6, 6], pbc=(True, True, False))
    check_atoms(slab, "slab")
    slab.pbc = True
    with pytest.raises(StructureError, match=r"0\.05 A apart"):
        check_atoms(slab, "slab")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "energy has 1 NaN or infinite"),
        (np.inf, "energy has 1 NaN or infinite"),
        ([1.0, 2.0], r"energy has shape \(2,\), expected one number"),
        ("minus five", "energy is not numeric"),
    ],
)
def test_bad_energy(value, message):
    with pytest.raises(StructureError, match=rf"a\.xyz#3: {message}"):
        check_energy(value, "a.xyz#3")


def test_forces_of_wrong_shape_or_not_finite():
    with pytest.raises(StructureError, match=r"train\.xyz#12: forces have shape \(3, 2\), expected \(4, 3\)"):
        check_forces(np.zeros((3, 2)), 4, "train.xyz#12")
    with pytest.raises(StructureError, match=r"forces have shape \(12,\), expected \(4, 3\)"):
        check_forces(np.zeros(12), 4, "a")
    with pytest.raises(StructureError, match=r"forces has 1 infinite value\(s\) of 6"):
        check_forces([[0, np.nan, 0], [0, 0, -np.inf]], 2, "a")
    with pytest.raises(StructureError, match="forces is not numeric"):
        check_forces([[0, 0, 0], [0, 0]], 2, "a")


def test_what_is_not_known_is_nan():
    np.testing.assert_array_equal(
        check_forces([[None, 1.0, 0], [0, np.nan, 2.0]], 2, "a"), [[np.nan, 1, 0], [0, np.nan, 2]]
    )
    full = np.array([[1.0, 6, np.nan], [6, 2, 4], [5, 4, None]], dtype=object)
    np.testing.assert_array_equal(check_voigt(full, "a"), [1, 2, np.nan, 4, np.nan, 6])


def test_checked_labels_are_float64_copies():
    forces = np.ones((2, 3), dtype=np.float32)
    checked = check_forces(forces, 2, "a")
    checked[0, 0] = 5
    assert checked.dtype == np.float64
    assert forces[0, 0] == 1
    assert type(check_energy(np.int64(-5), "a")) is float


def test_all_forms_of_a_stress_agree(rng):
    full = rng.normal(size=(3, 3))
    full += full.T
    expected = full_3x3_to_voigt_6_stress(full)
    for form in (full, full.ravel(), full.tolist(), expected):
        np.testing.assert_allclose(check_voigt(form, "a"), expected, rtol=1e-15)


def test_asymmetry_is_averaged_within_tolerance_and_refused_beyond():
    stress = np.diag([0.1, 0.2, 0.3])
    stress[0, 1] = 1e-4
    np.testing.assert_allclose(check_voigt(stress, "a"), [0.1, 0.2, 0.3, 0, 0, 5e-5])
    stress[0, 1] = 1e-2
    with pytest.raises(StructureError, match="a: stress is not symmetric"):
        check_voigt(stress, "a")
    tiny = np.zeros((3, 3))
    tiny[0, 1] = 1e-7
    assert np.abs(check_voigt(tiny, "a")).max() < 1e-7


def test_bad_stress():
    with pytest.raises(StructureError, match=r"stress has shape \(3,\), expected \(6,\)"):
        check_voigt([1, 2, 3], "a")
    with pytest.raises(StructureError, match="stress has 1 infinite"):
        check_voigt([1, 2, 3, 4, 5, np.inf], "a")


@pytest.mark.parametrize("pbc", [(False,) * 3, (True, False, False), (True, True, False)])
def test_stress_needs_three_periodic_directions(pbc):
    atoms = bulk("Si")
    check_stress(np.zeros(6), atoms, "a")
    atoms.pbc = pbc
    with pytest.raises(StructureError, match=r"a: has a stress label but pbc is .*Remove the label"):
        check_stress(np.zeros(6), atoms, "a")


@pytest.mark.parametrize("pbc", [False, True, (True, False, False)])
@pytest.mark.parametrize("distance", [1e6, 1e7, 1e9, 1e300])
def test_a_structure_that_has_come_apart_is_refused(pbc, distance):
    """The neighbour search would end the whole process with a floating point exception."""
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, distance]], cell=[4, 4, 4], pbc=pbc)
    for refuse in (lambda: check_atoms(atoms, "run.xyz#3"), lambda: find_pairs(atoms, 5.0)):
        with pytest.raises(StructureError, match=r"atom [01] at .* come apart"):
            refuse()


def test_far_atoms_within_reason_are_isolated():
    assert len(find_pairs(Atoms("Cu2", [[0, 0, 0], [0, 0, 1e5]]), 5.0)) == 0
