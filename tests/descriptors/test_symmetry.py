"""Symmetries of the features."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from kernpot.descriptors import SOAPFeatures
from tests.helpers.soaps import COMPRESSIONS, make_soap, random_atoms


@pytest.fixture(params=COMPRESSIONS)
def features(request) -> SOAPFeatures:
    return SOAPFeatures(make_soap("poly m=1", request.param, weighted=True, l_max=5))


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_rotation_and_reflection(rng, features):
    atoms = random_atoms(rng)
    for matrix in (Rotation.random(random_state=3).as_matrix(), -np.eye(3), np.diag([1.0, -1.0, 1.0])):
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ matrix.T)
        turned.positions = atoms.positions @ matrix.T
        assert_close(features(turned), features(atoms))


def test_gradients_turn_with_the_structure(rng, features):
    atoms = random_atoms(rng)
    matrix = Rotation.random(random_state=4).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ matrix.T)
    turned.positions = atoms.positions @ matrix.T
    cotangent = rng.normal(size=(len(atoms), features.n_features))
    positions, strain = features.vjp(atoms, cotangent)
    positions_turned, strain_turned = features.vjp(turned, cotangent)
    assert_close(positions_turned, positions @ matrix.T)
    assert_close(strain_turned, matrix @ strain @ matrix.T)
    # features do not change under an infinitesimal rotation either: the strain gradient is symmetric
    assert_close(strain, strain.T)


def test_translation(rng, features):
    atoms = random_atoms(rng)
    moved = atoms.copy()
    moved.positions += [0.4, -7.3, 11.1]
    assert_close(features(moved), features(atoms))
    uniform = features.jvp(atoms, positions=np.ones((len(atoms), 3)))
    assert np.abs(uniform).max() < 1e-11 * np.abs(features(atoms)).max()
    assert np.abs(features.vjp(atoms, np.ones_like(uniform))[0].sum(0)).max() < 1e-10 * np.abs(features(atoms)).max()


def test_permutation(rng, features):
    atoms = random_atoms(rng)
    order = rng.permutation(len(atoms))
    assert_close(features(atoms[order]), features(atoms)[order])


def test_supercell_and_choice_of_cell(rng, features):
    atoms = random_atoms(rng)
    assert_close(features(atoms.repeat((2, 1, 1))), np.tile(features(atoms), (2, 1)))
    other = atoms.copy()
    other.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ atoms.cell.array)
    assert_close(features(other), features(atoms))


def test_left_handed_cell(rng, features):
    atoms = random_atoms(rng)
    swapped = atoms.copy()
    swapped.set_cell(atoms.cell.array[[1, 0, 2]])
    assert_close(features(swapped), features(atoms))


def test_swapping_species_changes_features_only_where_they_are_told_apart(rng):
    atoms = bulk("Si", cubic=True)
    atoms.symbols[0] = "O"
    other = atoms.copy()
    other.symbols[0] = "Mo"
    centre = 1  # a silicon whose neighbour changes
    for compression, blind in (("off", False), ("mu1nu1", False), ("crossover", False), ("mu2", True)):
        features = SOAPFeatures(make_soap(compression=compression))
        a, b = features(atoms)[centre], features(other)[centre]
        assert (np.abs(a - b).max() < 1e-12 * np.abs(a).max()) == blind
