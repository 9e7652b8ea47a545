"""Vector-Jacobian and Jacobian-vector products are the derivatives of the features."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.descriptors import SOAPFeatures, soap
from kernpot.errors import DescriptorError
from kernpot.structures import find_pairs
from tests.helpers.soaps import (
    COMPRESSIONS,
    WEIGHTINGS,
    LargestTensor,
    central_difference,
    displaced,
    make_soap,
    random_atoms,
)

DIFFERENTIABLE = [w for w in WEIGHTINGS if w not in ("poly m=0.5",)]


def assert_jvp_is_the_derivative(features: SOAPFeatures, atoms: Atoms, rng: np.random.Generator) -> None:
    move, strain = rng.normal(size=(len(atoms), 3)) * 0.3, rng.normal(size=(3, 3)) * 0.1
    # moving by t * move, then straining by t * strain, is the sum of both to first order
    expected = central_difference(lambda t: features(displaced(atoms, t * move, t * strain)))
    got = features.jvp(atoms, positions=move, strain=strain)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def assert_transposed(features: SOAPFeatures, atoms: Atoms, rng: np.random.Generator) -> None:
    move, strain = rng.normal(size=(len(atoms), 3)), rng.normal(size=(3, 3))
    cotangent = rng.normal(size=(len(atoms), features.n_features))
    to_positions, to_strain = features.vjp(atoms, cotangent)
    for positions_, strain_ in ((move, None), (None, strain), (move, strain)):
        forward = cotangent * features.jvp(atoms, positions=positions_, strain=strain_)
        backward = 0.0
        if positions_ is not None:
            backward += (to_positions * move).sum()
        if strain_ is not None:
            backward += (to_strain * strain).sum()
        assert abs(forward.sum() - backward) <= 1e-12 * np.abs(forward).sum()


def far_from_the_cutoff(rng: np.random.Generator, cutoff: float, **kwargs: object) -> Atoms:
    """A structure whose differences do not step over the cutoff, where unsmooth descriptors jump."""
    while True:
        atoms = random_atoms(rng, **kwargs)
        distances = np.linalg.norm(find_pairs(atoms, cutoff + 0.5).vectors, axis=1)
        if len(distances) == 0 or np.abs(distances - cutoff).min() > 0.02:
            return atoms


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_compressions(rng, compression, weighted):
    features = SOAPFeatures(make_soap("poly m=2", compression, weighted))
    atoms = random_atoms(rng)
    assert_jvp_is_the_derivative(features, atoms, rng)
    assert_transposed(features, atoms, rng)


@pytest.mark.parametrize("weighting", DIFFERENTIABLE)
def test_weightings(rng, weighting):
    features = SOAPFeatures(make_soap(weighting))
    atoms = far_from_the_cutoff(rng, features.cutoff, n_atoms=3, edge=4.5, skew=0.1, pbc=(True, False, False))
    assert_jvp_is_the_derivative(features, atoms, rng)
    assert_transposed(features, atoms, rng)


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
def test_periodic_directions(rng, pbc):
    features = SOAPFeatures(make_soap("poly m=2"))
    atoms = random_atoms(rng, pbc=pbc)
    assert_jvp_is_the_derivative(features, atoms, rng)
    assert_transposed(features, atoms, rng)


@pytest.mark.parametrize("l_max", [0, 1, 8])
@pytest.mark.parametrize("compression", ["off", "mu1nu1"])
def test_degrees(rng, l_max, compression):
    features = SOAPFeatures(make_soap("poly m=3", compression, l_max=l_max, species=("H", "O")))
    atoms = random_atoms(rng, n_atoms=3, species=("H", "O"))
    assert_jvp_is_the_derivative(features, atoms, rng)
    assert_transposed(features, atoms, rng)


def test_atom_that_sees_only_its_images(rng):
    """Moving the only atom moves nothing; straining its lattice does."""
    features = SOAPFeatures(make_soap("poly m=2"))
    atoms = Atoms("Si", cell=[[2, 0, 0], [0.7, 2.1, 0], [-0.4, 0.3, 1.9]], pbc=True)
    assert_jvp_is_the_derivative(features, atoms, rng)
    scale = np.abs(features(atoms)).max()
    assert np.abs(features.jvp(atoms, positions=rng.normal(size=(1, 3)))).max() < 1e-13 * scale
    positions, strain = features.vjp(atoms, rng.normal(size=(1, features.n_features)))
    assert np.abs(positions).max() < 1e-12 * np.abs(strain).max()


def test_atoms_without_neighbours_do_not_move_features(rng):
    features = SOAPFeatures(make_soap(periodic=False))
    atoms = Atoms("SiO", positions=[[0, 0, 0], [20, 0, 0]])
    assert not features.jvp(atoms, positions=rng.normal(size=(2, 3)), strain=rng.normal(size=(3, 3))).any()
    positions, strain = features.vjp(atoms, rng.normal(size=(2, features.n_features)))
    assert not positions.any()
    assert not strain.any()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_derivatives_are_finite_for_coincident_atoms(rng, compression):
    features = SOAPFeatures(make_soap("poly m=2", compression))
    atoms = Atoms("SiSiO", positions=[[0, 0, 0], [0, 0, 0], [1.1, 0.7, 0.4]])
    assert_transposed(features, atoms, rng)
    assert_jvp_is_the_derivative(features, atoms, rng)


def test_neither_the_positions_nor_the_cotangent_are_changed(rng):
    features = SOAPFeatures(make_soap())
    atoms = random_atoms(rng)
    before, cotangent = atoms.copy(), np.ones((len(atoms), features.n_features))
    features.vjp(atoms, cotangent)
    features.jvp(atoms, positions=np.ones((len(atoms), 3)))
    assert atoms == before
    assert (cotangent == 1).all()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_single_pairs_move_only_the_features_of_their_species(rng, compression):
    features = SOAPFeatures(make_soap("poly m=2", compression, weighted=True))
    atoms = random_atoms(rng)
    numbers = torch.from_numpy(atoms.numbers.astype(np.int64))
    block = features.environments(numbers, features.pairs(atoms))
    for pair in rng.choice(len(block.centres), 12, replace=False):
        velocity = torch.zeros((len(block.centres), 3, 3), dtype=torch.float64)
        velocity[pair] = torch.eye(3)
        expected = block.environments.push(velocity)[block.centres[pair]]
        slot = int(block.slots[pair])
        moving = block.environments.slot_features(slot)
        got = torch.zeros_like(expected)
        got[:, moving] = block.environments.pair_tangent(torch.tensor([pair]), slot)[0]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-13 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [1, 5, 23])
@pytest.mark.parametrize("compression", ["off", "mu2"])
def test_blocks_change_nothing(rng, monkeypatch, size, compression):
    features = SOAPFeatures(make_soap(compression=compression))
    # the last atom is far away, so some block has no pairs at all
    atoms = random_atoms(rng, n_atoms=6, pbc=False, edge=4.0) + Atoms("O", positions=[[90, 0, 0]])
    cotangent, move = rng.normal(size=(7, features.n_features)), rng.normal(size=(7, 3))

    def everything() -> list[np.ndarray]:
        return [features(atoms), *features.vjp(atoms, cotangent), features.jvp(atoms, move, np.eye(3))]

    monkeypatch.setattr(soap, "_BLOCK_PAIRS", 10**9)
    expected = everything()
    monkeypatch.setattr(soap, "_BLOCK_PAIRS", size)
    numbers = torch.from_numpy(atoms.numbers.astype(np.int64))
    blocks = list(features.blocks(numbers, features.pairs(atoms)))
    assert len(blocks) > 1
    assert [b.first for b in blocks] == [0, *(b.last for b in blocks[:-1])]
    for got, want in zip(everything(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * np.abs(want).max())


def test_pairs_beyond_the_cutoff_change_nothing(rng):
    features = SOAPFeatures(make_soap())
    atoms = random_atoms(rng)
    numbers = torch.from_numpy(atoms.numbers.astype(np.int64))
    wide = features.environments(numbers, find_pairs(atoms, features.cutoff + 1.0)).environments.features()
    np.testing.assert_array_equal(wide.numpy(), features(atoms))


@pytest.mark.parametrize("product", ["features", "vjp", "jvp"])
def test_no_tensor_grows_faster_than_the_number_of_atoms(product):
    features = SOAPFeatures(make_soap(species=("Si",), n_max=2, l_max=1))

    def largest(repeats: int) -> int:
        atoms = Atoms("Si", cell=[2.5] * 3, pbc=True).repeat((repeats, 5, 5))
        with LargestTensor() as seen:
            if product == "features":
                features(atoms)
            elif product == "vjp":
                features.vjp(atoms, np.ones((len(atoms), features.n_features)))
            else:
                features.jvp(atoms, positions=np.ones((len(atoms), 3)))
        return seen.elements

    assert largest(32) <= 4.1 * largest(8)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_wrong_shapes_are_named(rng, n):
    features = SOAPFeatures(make_soap(periodic=False))
    atoms = Atoms("SiO", positions=[[0, 0, 0], [2, 0, 0]])
    with pytest.raises(DescriptorError, match=r"cotangent of shape \(2, "):
        features.vjp(atoms, np.zeros((n, features.n_features)))
    with pytest.raises(DescriptorError, match=r"displacement of shape \(2, 3\), got"):
        features.jvp(atoms, positions=np.zeros((n, 3)))
    with pytest.raises(DescriptorError, match=r"strain of shape \(3, 3\), got \(6,\)"):
        features.jvp(atoms, strain=np.zeros(6))
