"""Force components that are no labels: masks, weights, and what constraints have zeroed."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixedLine, FixedPlane, FixScaled
from ase.io import write

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures import label_structures, read_structures

HELD = [0, 1, 4]


def slab(constraint=None, apply=True, seed=0):
    """A rattled slab with EMT forces, zeroed by its constraint as ASE and other codes zero them."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    atoms.info.clear()
    atoms.rattle(0.1, seed=seed)
    work = atoms.copy()
    work.calc = EMT()
    atoms.set_constraint(constraint)
    forces = work.get_forces()
    if constraint is not None and apply:
        constraint.adjust_forces(atoms, forces)
    atoms.calc = SinglePointCalculator(atoms, energy=work.get_potential_energy(), forces=forces)
    return atoms


def known(atoms):
    return np.isfinite(label_structures([atoms])[0].forces)


def every(rows, components=(0, 1, 2)):
    expected = np.ones((12, 3), dtype=bool)
    expected[np.ix_(rows, components)] = False
    return expected


@pytest.mark.wrong_input("Labels", "forces that are zero because a constraint holds their atoms", "warned")
@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (FixAtoms(HELD), every(HELD)),
        (FixCartesian(HELD, (True, False, True)), every(HELD, (0, 2))),
        (FixScaled(HELD, (False, False, True)), every(HELD, (2,))),
        (FixedPlane(HELD, (0, 0, 1)), every(HELD, (2,))),
        (FixedPlane(HELD, (1, 1, 1)), every(HELD)),
        (FixedLine(HELD, (0, 1, 0)), every(HELD, (0, 2))),
        (FixBondLength(0, 1), every([0, 1])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_zeros_of_held_atoms_are_no_labels(constraint, expected):
    frames = [slab(constraint, seed=k) for k in range(2)]
    n = 2 * int((~expected).sum())
    with pytest.warns(KernpotWarning, match=rf"{n} force components of 2 of 2 structures \(from structures\[0\] on\)"):
        found = label_structures(frames)
    for frame, s in zip(frames, found, strict=True):
        np.testing.assert_array_equal(np.isfinite(s.forces), expected)
        np.testing.assert_array_equal(s.forces[expected], frame.calc.results["forces"][expected])


def test_true_forces_of_held_atoms_are_labels():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert known(slab(FixAtoms(HELD), apply=False)).all()


def test_constraints_in_files_count(tmp_path):
    write(tmp_path / "slab.xyz", slab(FixAtoms(HELD)))
    (atoms,) = read_structures(tmp_path / "slab.xyz")
    with pytest.warns(KernpotWarning, match=r"9 force components .* \(from slab\.xyz#0 on\)"):
        np.testing.assert_array_equal(known(atoms), every(HELD))


@pytest.mark.wrong_input("Labels", "exact zeros among forces that do not cancel, without a constraint", "warned")
def test_zeros_without_a_constraint_are_told():
    atoms = slab(FixAtoms(HELD))
    atoms.set_constraint()
    with pytest.warns(KernpotWarning, match=r"exactly zero.*structures\[0\]: 3 atoms"):
        assert known(atoms).all()


def test_zeros_by_symmetry_are_silent():
    """Two atoms without neighbours, beside a pair whose forces cancel."""
    atoms = Atoms("Cu4", [[0, 0, 0], [0, 0, 2.3], [0, 0, 20], [0, 0, 40]])
    atoms.calc = EMT()
    atoms.get_forces()
    assert (atoms.get_forces()[2:] == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert known(atoms).all()


@pytest.mark.wrong_input("Labels", "forces of zero throughout, of atoms in no symmetric place", "warned")
def test_zeros_throughout_are_told():
    atoms = slab()
    atoms.calc.results["forces"] = np.zeros((12, 3))
    with pytest.warns(KernpotWarning, match=r"exactly zero, which nothing .*structures\[0\]: 12 atoms"):
        assert known(atoms).all()


def test_zeros_of_perfect_crystals_are_silent():
    frames = [bulk("Cu", cubic=True), bulk("Si"), bulk("Ti").repeat(2), bulk("NaCl", "rocksalt", a=5.6)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = label_structures(frames, [0.0] * 4, [np.zeros((len(a), 3)) for a in frames])
    assert all(s.forces is not None for s in found)


@pytest.mark.wrong_input("Labels", "a stress of zeros throughout", "warned")
def test_a_stress_of_zeros_is_left_out():
    frames = [bulk("Cu", cubic=True), Atoms("Cu", cell=[20, 20, 20], pbc=True)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, stress=np.zeros(6))
    with pytest.warns(KernpotWarning, match=r"stress of 1 of 2 structures \(from structures\[0\] on\) is exactly zero"):
        found = label_structures(frames)
    assert [s.kinds for s in found] == [(), ("stress",)]
    given = label_structures(frames, stress=[np.zeros(6)] * 2)
    assert [s.kinds for s in given] == [("stress",)] * 2


def test_masks():
    atoms = slab()
    atoms.arrays["forces_mask"] = np.arange(12) > 2
    np.testing.assert_array_equal(known(atoms), every([0, 1, 2]))
    atoms.arrays["forces_mask"] = np.repeat([[1, 0, 1]], 12, axis=0)
    np.testing.assert_array_equal(known(atoms), every(range(12), (1,)))
    del atoms.arrays["forces_mask"]
    atoms.arrays["force_mask"] = np.arange(12) < 3  # gap_fit: true is left out
    np.testing.assert_array_equal(known(atoms), every([0, 1, 2]))
    atoms.arrays["force_mask"] = np.ones(12, dtype=bool)
    assert label_structures([atoms])[0].forces is None


def test_nan_and_none_are_masks():
    atoms = slab()
    forces = atoms.calc.results["forces"].astype(object)
    forces[HELD] = None
    forces[7, 2] = np.nan
    atoms.calc.results["forces"] = forces
    expected = every(HELD)
    expected[7, 2] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(known(atoms), expected)
    (s,) = label_structures([atoms], stress=[None])
    assert s.kinds == ("energy", "forces")
    assert not s.is_whole("forces")


@pytest.mark.wrong_input("Labels", "a structure with nothing but NaN for forces", "warned")
def test_forces_that_are_all_nan_are_told():
    atoms = slab()
    atoms.calc.results["forces"] = np.full((12, 3), np.nan)
    with pytest.warns(KernpotWarning, match=r"all forces of 1 of 1 structures \(from structures\[0\] on\) are NaN"):
        assert label_structures([atoms])[0].forces is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.arange(12), "must hold true or false, per atom"),
        (np.ones((12, 2), dtype=bool), r"got bool of shape \(12, 2\)"),
        (np.full(12, "yes"), "must hold true or false"),
    ],
)
@pytest.mark.wrong_input("Labels", "a mask of forces that is neither true nor false", "refused")
def test_masks_that_cannot_be(value, message):
    atoms = slab()
    atoms.arrays["forces_mask"] = value
    with pytest.raises(StructureError, match=message):
        label_structures([atoms])


def test_weights_of_atoms():
    atoms = slab()
    atoms.info["noise_scale"] = 3.0
    atoms.arrays["forces_weight"] = np.where(np.arange(12) < 2, 4.0, np.where(np.arange(12) == 5, 0.0, 1.0))
    (s,) = label_structures([atoms])
    np.testing.assert_array_equal(np.isfinite(s.forces), every([5]))
    scales = s.scales("forces").reshape(12, 3)
    np.testing.assert_allclose(scales[:2], 1.5)
    np.testing.assert_allclose(scales[2:5], 3.0)
    assert s.scales("energy").tolist() == [3.0]


@pytest.mark.wrong_input("Labels", "weights of atoms that are negative or not finite", "refused")
@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_weights_that_cannot_be(weight):
    atoms = slab()
    atoms.arrays["forces_weight"] = np.full(12, weight)
    with pytest.raises(StructureError, match=r"forces_weight.* must be 12 numbers"):
        label_structures([atoms])
