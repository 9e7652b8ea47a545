"""Rows and prior variances against the definition of labels as functionals of total energies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals import moved, prior, rows
from kernpot.functionals.prior import joint_prior
from kernpot.functionals.rows import energy_rows, force_rows, local_energy_rows, n_columns, stress_rows
from kernpot.functionals.state import InducingBlock, Structure
from kernpot.kernels import Power
from tests.functionals.reference import assert_matches, inducing_blocks, labels_of, reference, unit_features
from tests.helpers.soaps import COMPRESSIONS, LargestTensor, displaced, make_soap, random_atoms


def check_all(rng, descriptors: list[SOAPFeatures], zetas: list[int], atoms: Atoms, tolerance: float = 1e-7) -> None:
    blocks = inducing_blocks(rng, descriptors, zetas, atoms)
    structure = Structure(descriptors, atoms)
    expected, got = reference(descriptors, blocks, atoms), labels_of(structure, blocks)
    n = len(atoms)
    kinds = np.array([0] + [1] * (3 * n) + [2] * (6 if structure.volume is not None else 0))
    assert got.rows.shape == (len(kinds), n_columns(blocks))
    assert got.prior.shape == (len(kinds), len(blocks))
    assert_matches(got.rows, expected.rows, kinds, tolerance)
    for b, block in enumerate(blocks):
        wanted = expected.covariances[b]
        assert_matches(got.prior[:, b], np.diag(wanted), kinds, tolerance)
        described = structure.described[block.descriptor]
        joint = joint_prior(described, block.element, block.function, structure.volume).numpy()
        size = np.array([np.sqrt(np.diag(wanted)[kinds == k].max()) for k in kinds])
        np.testing.assert_allclose(joint / np.outer(size, size), wanted / np.outer(size, size), rtol=0, atol=tolerance)
        np.testing.assert_allclose(joint, joint.T, rtol=0, atol=1e-12 * np.abs(joint).max())
        np.testing.assert_allclose(np.diag(joint), got.prior[:, b], rtol=1e-9, atol=1e-12 * np.abs(joint).max())
        eigenvalues = np.linalg.eigvalsh(joint)
        assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


@pytest.mark.parametrize("zeta", [1, 2, 3, 4])
def test_powers(rng, zeta):
    check_all(rng, [SOAPFeatures(make_soap("poly m=2"))], [zeta], random_atoms(rng, 4, species=("H", "O")))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_compressions(rng, compression, weighted):
    soap = make_soap("poly m=2", compression, weighted)
    check_all(rng, [SOAPFeatures(soap)], [2], random_atoms(rng, 4, species=("H", "O", "Si")))


def test_two_descriptors(rng):
    short = SOAPFeatures(make_soap("poly m=2", species=("H", "O")))
    long = SOAPFeatures(
        make_soap({"function": "poly", "r0": 4.5, "c": 1.0, "m": 2}, r_cut=4.5, species=("H", "O", "Mo"))
    )
    check_all(rng, [short, long], [1, 3], random_atoms(rng, 3, species=("H", "O")))


@pytest.mark.parametrize("pbc", [False, (True, False, False), (False, True, True)])
def test_open_directions(rng, pbc):
    check_all(rng, [SOAPFeatures(make_soap("poly m=2"))], [2], random_atoms(rng, 4, pbc=pbc, species=("H", "O")))


def test_atoms_that_see_their_own_images(rng):
    atoms = random_atoms(rng, 2, species=("Si", "O"), edge=1.9)
    features = SOAPFeatures(make_soap("poly m=2"))
    pairs = features.pairs(atoms)
    assert (pairs.centres == pairs.neighbours).any()
    check_all(rng, [features], [2], atoms)


@pytest.mark.parametrize("n_atoms", [1, 2])
def test_structures_without_neighbours(rng, n_atoms):
    atoms = Atoms(["Si", "O"][:n_atoms], positions=10.0 * np.eye(3)[:n_atoms])
    features = SOAPFeatures(make_soap(periodic=False))
    blocks = inducing_blocks(rng, [features], [2], random_atoms(rng, 4, pbc=False, species=("Si", "O")))
    structure = Structure([features], atoms)
    got = labels_of(structure, blocks)
    for block in blocks:
        assert got.rows[0, block.columns].all() == (block.element in atoms.numbers)
    assert not got.rows[1:].any()
    assert not got.prior[1:].any()
    np.testing.assert_allclose(got.prior[0], [np.sum(atoms.numbers == b.element) for b in blocks])
    for block in blocks:
        joint = joint_prior(structure.described[0], block.element, Power(2), None)
        assert not joint[1:].any()
        assert joint[0, 0] == pytest.approx(float(np.sum(atoms.numbers == block.element)))


def test_environment_without_density_carries_no_energy(rng):
    """An isolated atom that is hidden from itself; energies alone are allowed to use such a descriptor."""
    features = SOAPFeatures(make_soap("w0=0", periodic=False))
    blocks = inducing_blocks(rng, [features], [2], random_atoms(rng, 4, pbc=False, species=("Si",), edge=2.0))
    atoms = random_atoms(rng, 3, pbc=False, species=("Si",), edge=2.0)
    alone = Structure([features], atoms + Atoms("Si", positions=[[30, 0, 0]]))
    got, expected = labels_of(alone, blocks), labels_of(Structure([features], atoms), blocks)
    np.testing.assert_allclose(got.rows[:10], expected.rows, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(got.prior[:10], expected.prior, rtol=1e-12)
    assert not got.rows[10:].any()
    assert not got.prior[10:].any()
    local, variance = local_energy_rows(alone, blocks)
    assert not local[3].any()
    assert not variance[3].any()


def test_elements_that_are_absent_have_empty_columns(rng):
    features = SOAPFeatures(make_soap())
    blocks = inducing_blocks(rng, [features], [2], random_atoms(rng, 6, species=("H", "O", "Si")))
    structure = Structure([features], random_atoms(rng, 3, species=("O",)))
    got = labels_of(structure, blocks)
    for b, block in enumerate(blocks):
        assert got.rows[:, block.columns].any() == (block.element == 8)
        assert got.prior[:, b].any() == (block.element == 8)
        joint = joint_prior(structure.described[0], block.element, Power(2), structure.volume)
        assert bool(joint.any()) == (block.element == 8)


def test_atomic_energies(rng):
    features = SOAPFeatures(make_soap())
    atoms = random_atoms(rng, 5, species=("H", "O"))
    blocks = inducing_blocks(rng, [features], [3], atoms, m=2)
    structure = Structure([features], atoms)
    local, variance = local_energy_rows(structure, blocks)
    total, _ = energy_rows(structure, blocks)
    np.testing.assert_allclose(local.sum(0), total[0], rtol=1e-13)
    for i, z in enumerate(atoms.numbers):
        for b, block in enumerate(blocks):
            own = block.element == z
            assert variance[i, b] == pytest.approx(float(own))
            assert bool(local[i, block.columns].any()) == own
    # an inducing environment that is the atom's own has the full covariance with it
    u = unit_features(features, atoms)
    same = InducingBlock(0, 8, Power(3), u[atoms.numbers == 8], slice(0, 2))
    rows_, _ = local_energy_rows(structure, [same])
    np.testing.assert_allclose(rows_[atoms.numbers == 8].diagonal(), 1.0, rtol=1e-13)


def test_forces_without_prior(rng):
    features = SOAPFeatures(make_soap())
    atoms = random_atoms(rng, 4)
    structure, blocks = Structure([features], atoms), inducing_blocks(rng, [features], [2], atoms)
    for (a, with_, _), (b, without, variance) in zip(
        force_rows(structure, blocks), force_rows(structure, blocks, with_prior=False), strict=True
    ):
        assert a == b
        assert torch.equal(with_, without)
        assert not variance.any()


@pytest.mark.parametrize("entries", [1, 20, 40])
@pytest.mark.parametrize("block", [1, 3])
def test_chunks_change_nothing(rng, monkeypatch, entries, block):
    descriptors = [SOAPFeatures(make_soap(c)) for c in ("poly m=1", "poly m=2")]
    atoms = random_atoms(rng, 6)
    structure, blocks = Structure(descriptors, atoms), inducing_blocks(rng, descriptors, [2, 3], atoms)

    def everything() -> list[np.ndarray]:
        got = labels_of(structure, blocks)
        joint = [
            joint_prior(structure.described[b.descriptor], b.element, b.function, structure.volume) for b in blocks
        ]
        return [got.rows, got.prior, *(j.numpy() for j in joint)]

    monkeypatch.setattr(moved, "_ENTRIES", 10**9)
    assert len(list(force_rows(structure, blocks))) == 1
    expected = everything()
    monkeypatch.setattr(moved, "_ENTRIES", entries)
    monkeypatch.setattr(rows, "_PART", block)
    monkeypatch.setattr(rows, "_ATOMS", block)
    monkeypatch.setattr(prior, "_BLOCK", block)
    monkeypatch.setattr(prior, "_JOINT_ENTRIES", 1000 * block)
    chunks = [c for c, _, _ in force_rows(structure, blocks)]
    assert len(chunks) > 1
    assert np.concatenate([np.arange(6)[c] for c in chunks]).tolist() == list(range(6))
    for got, want in zip(everything(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * np.abs(want).max())


@pytest.mark.parametrize("zeta", [1, 2, 3])
def test_supercell(rng, zeta):
    """A doubled cell has twice the energy, so four times its variance; forces and stress are those of the cell."""
    features = SOAPFeatures(make_soap())
    atoms = random_atoms(rng, 4, species=("H", "O"))
    blocks = inducing_blocks(rng, [features], [zeta], atoms)
    one, two = (labels_of(Structure([features], a), blocks) for a in (atoms, atoms.repeat((1, 2, 1))))
    forces_one, forces_two = slice(1, 13), slice(1, 25)
    np.testing.assert_allclose(two.rows[0], 2 * one.rows[0], rtol=1e-11)
    np.testing.assert_allclose(two.prior[0], 4 * one.prior[0], rtol=1e-11)
    scale = np.abs(one.rows[forces_one]).max()
    np.testing.assert_allclose(two.rows[forces_two], np.tile(one.rows[forces_one], (2, 1)), rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(two.rows[-6:], one.rows[-6:], rtol=0, atol=1e-10 * np.abs(one.rows[-6:]).max())
    np.testing.assert_allclose(two.prior[-6:], one.prior[-6:], rtol=1e-9)
    np.testing.assert_allclose(one.prior.shape, (19, 2))


@pytest.mark.parametrize("zeta", [1, 2, 4])
def test_perfect_crystals_have_no_forces_and_no_shear(rng, zeta):
    features = SOAPFeatures(make_soap(species=("Si", "O"), r_cut=5.0))
    for atoms in (bulk("Si", cubic=True), bulk("SiO", "rocksalt", a=4.2, cubic=True)):
        structure = Structure([features], atoms)
        blocks = inducing_blocks(rng, [features], [zeta], atoms)
        got = labels_of(structure, blocks)
        n = 3 * len(atoms)
        rattled = displaced(atoms, rng.normal(scale=0.05, size=(len(atoms), 3)))
        broken = labels_of(Structure([features], rattled), blocks)
        assert got.prior[1 : n + 1].max() < 1e-12 * broken.prior[1 : n + 1].max()
        assert np.abs(got.rows[1 : n + 1]).max() < 1e-11 * np.abs(broken.rows[1 : n + 1]).max()
        pressure, shear = got.prior[n + 1 : n + 4], got.prior[n + 4 :]
        assert pressure.min() > 1e-6
        assert shear.max() < 1e-12 * pressure.min()
        np.testing.assert_allclose(pressure, np.broadcast_to(pressure[0], pressure.shape), rtol=1e-9)


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
def test_stress_needs_three_periodic_directions(rng, pbc):
    features = SOAPFeatures(make_soap())
    atoms = fcc111("Si", (1, 1, 2), a=4.0, vacuum=4.0)
    atoms.pbc = pbc
    structure = Structure([features], atoms)
    assert structure.volume is None
    with pytest.raises(ValueError, match="periodic in all three directions"):
        stress_rows(structure, inducing_blocks(rng, [features], [2], atoms))


def test_force_rows_of_a_long_rod_grow_linearly(rng):
    features = SOAPFeatures(make_soap(species=("Si",), n_max=2, l_max=1))
    atoms = Atoms("Si", cell=[2.5] * 3, pbc=True)
    (block,) = inducing_blocks(rng, [features], [2], atoms)

    def largest(repeats: int) -> int:
        with LargestTensor() as seen:
            for _, got, _ in force_rows(Structure([features], atoms.repeat((repeats, 3, 3))), [block]):
                assert got.shape[1] == 1
        return seen.elements

    assert largest(80) <= 4.1 * largest(20)
