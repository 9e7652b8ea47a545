"""Unit features and their derivatives against finite differences, and inducing blocks against plain products."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals.state import VOIGT, InducingBlock, Structure, normalise
from kernpot.kernels import Power
from tests.helpers.soaps import central_difference, displaced, make_soap, random_atoms


def small(periodic: bool = True, r_cut: float = 3.5) -> SOAPFeatures:
    return SOAPFeatures(make_soap("poly m=2", n_max=2, l_max=1, periodic=periodic, r_cut=r_cut))


def unit(features: SOAPFeatures, atoms: Atoms) -> np.ndarray:
    p = features(atoms)
    return p / np.linalg.norm(p, axis=1)[:, None]


def test_environments_without_density_stay_zero(rng: np.random.Generator) -> None:
    p = torch.from_numpy(rng.normal(size=(3, 4)))
    p[1] = 0.0
    u, norm = normalise(p)
    np.testing.assert_allclose(u.square().sum(1), [1.0, 0.0, 1.0], rtol=1e-14)
    torch.testing.assert_close(u * norm[:, None], p)


@pytest.mark.parametrize("pairs_at_once", [10**6, 20])
def test_tangents_are_derivatives_of_unit_features(
    rng: np.random.Generator, pairs_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along the atom's own position, images at rest, and along strain; also a few pairs at a time."""
    monkeypatch.setattr("kernpot.descriptors.soap._BLOCK_PAIRS", pairs_at_once)
    features, molecule = small(), random_atoms(rng, 4, pbc=False)
    described = Structure([features], molecule).described[0]
    np.testing.assert_allclose(described.unit, unit(features, molecule), rtol=1e-12)
    for i, x in product(range(4), range(3)):
        move = np.zeros((4, 3))
        move[i, x] = 1.0
        slope = central_difference(lambda t, m=move: unit(features, displaced(molecule, t * m)))[i]
        np.testing.assert_allclose(described.own_tangent[i, x], slope, rtol=0, atol=1e-8)
    atoms = random_atoms(rng, 3, edge=2.6)
    described = Structure([features], atoms).described[0]
    for k, (a, b) in enumerate(VOIGT):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        slope = central_difference(lambda t, e=strain: unit(features, displaced(atoms, None, t * e)))
        np.testing.assert_allclose(described.strain_tangent[:, k], slope, rtol=0, atol=1e-8)


def test_pairs_are_known_by_the_atom_that_moves(rng: np.random.Generator) -> None:
    described = Structure([small()], random_atoms(rng, 5)).described[0]
    neighbours = described.block.neighbours.tolist()
    assert described.target_counts().tolist() == [neighbours.count(a) for a in range(5)]
    expected = [p for a in (1, 2, 3) for p, target in enumerate(neighbours) if target == a]
    assert described.targets(1, 4).tolist() == expected


def test_products_in_a_basis_are_those_with_the_environments_themselves(rng: np.random.Generator) -> None:
    basis = torch.linalg.qr(torch.from_numpy(rng.normal(size=(6, 3)))).Q
    few = torch.from_numpy(rng.normal(size=(4, 3)))
    inside = InducingBlock(0, 8, Power(2), few, slice(0, 4), basis)
    whole = InducingBlock(0, 8, Power(2), few @ basis.T, slice(0, 4))
    x, weights = torch.from_numpy(rng.normal(size=(2, 5, 6))), torch.from_numpy(rng.normal(size=(2, 5, 4)))
    torch.testing.assert_close(inside.times(x), whole.times(x))
    torch.testing.assert_close(inside.combined(weights), whole.combined(weights))
    some = torch.tensor([4, 0, 1])
    expected = x[..., some] @ (few @ basis.T)[:, some].T
    for block in (inside, whole):
        torch.testing.assert_close(block.restricted(some).times(x[..., some]), expected)
        adjoint = (block.times(x) * weights).sum(), (x * block.combined(weights)).sum()
        torch.testing.assert_close(*adjoint)


def test_a_structure_has_the_cosines_of_every_atom_and_a_volume_where_there_is_stress(rng: np.random.Generator) -> None:
    two = [small(), small(r_cut=2.5)]
    atoms = random_atoms(rng, 4, species=("H", "O"))
    structure, environments = Structure(two, atoms), torch.from_numpy(unit(two[1], atoms)[:2])
    block = InducingBlock(1, 1, Power(2), environments, slice(0, 2))
    np.testing.assert_allclose(structure.cosines(block), unit(two[1], atoms) @ environments.numpy().T, rtol=1e-12)
    assert structure.members(block).tolist() == [0, 2]
    assert structure.volume == pytest.approx(abs(np.linalg.det(atoms.cell.array)))
    atoms.pbc = [True, True, False]
    assert Structure(two, atoms).volume is None
