"""Sums of atomic energies: written by hand from features, with forces and stress by finite differences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals.state import InducingBlock, Structure
from kernpot.kernels import Power
from kernpot.kernels.forms import Constants, LinearForms, PowerSums, QuadraticForms
from kernpot.structures.neighbours import find_pairs
from kernpot.surfaces.potentials import MeanPotential, Potentials, Term, folded_slopes, summed, weighted
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals, slab, soap

K, ISOLATED = 2, {29: -1.5, 79: 0.7}
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
CRYSTAL, FREE = crystals(1, symbols="Cu3Au")[0], cluster("Cu2Au2")
structures = pytest.mark.parametrize("atoms", [CRYSTAL, FREE, slab()], ids=["crystal", "cluster", "slab"])
lengths = pytest.mark.parametrize("unit", [True, False], ids=["unit features", "features"])


class Parts(NamedTuple):
    """What the energies are made of: linear under one descriptor, quadratic for copper alone under another."""

    features: list[SOAPFeatures]
    linear: dict[int, torch.Tensor]
    quadratic: torch.Tensor

    def potentials(self, unit: bool = True) -> Potentials:
        terms = [Term(0, z, LinearForms(v)) for z, v in self.linear.items()]
        return Potentials(self.features, [*terms, Term(1, 29, QuadraticForms(list(self.quadratic)))], ISOLATED, K, unit)

    def energies(self, atoms: Atoms, unit: bool = True) -> np.ndarray:
        """Atomic energies (K, n), by loops."""
        p = [f(atoms) for f in self.features]
        u = [x / np.linalg.norm(x, axis=1)[:, None] if unit else x for x in p]
        out = np.zeros((K, len(atoms)))
        for k in range(K):
            for i, z in enumerate(atoms.numbers):
                out[k, i] = ISOLATED[z] + self.linear[z][k].numpy() @ u[0][i]
                if z == 29:
                    out[k, i] += u[1][i] @ self.quadratic[k].numpy() @ u[1][i]
        return out


@pytest.fixture
def parts(rng: np.random.Generator) -> Parts:
    species = ["Cu", "Au"]
    features = [SOAPFeatures(soap(species, n_max=2, l_max=1)), SOAPFeatures(soap(species, 3.2, n_max=1, l_max=2))]
    linear = {z: torch.from_numpy(rng.normal(size=(K, features[0].n_features))) for z in ISOLATED}
    half = torch.from_numpy(rng.normal(size=(K, features[1].n_features, features[1].n_features)))
    return Parts(features, linear, half + half.mT)


@lengths
@structures
def test_energies_are_those_written_by_hand_whichever_way_they_are_asked_for(parts: Parts, atoms, unit: bool) -> None:
    potentials, expected = parts.potentials(unit), parts.energies(atoms, unit)
    numbers, pairs = torch.from_numpy(atoms.numbers.astype(np.int64)), find_pairs(atoms, 4.0)
    found = potentials(atoms)
    np.testing.assert_allclose(found.atomic_energies, expected, rtol=1e-11)
    np.testing.assert_allclose(found.energies, expected.sum(1), rtol=1e-11)
    np.testing.assert_allclose(potentials.energies(atoms), expected.sum(1), rtol=1e-11)
    np.testing.assert_allclose(potentials.atomic_energies(numbers, pairs, len(atoms)), expected, rtol=1e-11)
    np.testing.assert_allclose(potentials.along_pairs(numbers, pairs, len(atoms))[0], expected, rtol=1e-11)
    alone = potentials.chosen(slice(1, 2))(atoms, find_pairs(atoms, 5.5))
    np.testing.assert_allclose(alone.atomic_energies, expected[1:], rtol=1e-11)
    np.testing.assert_allclose(alone.forces, found.forces[1:], rtol=0, atol=1e-10)


@lengths
@structures
def test_forces_and_stress_are_derivatives_of_these_energies(parts: Parts, atoms, unit: bool) -> None:
    found, rng = parts.potentials(unit)(atoms), np.random.default_rng(1)
    for _ in range(3):
        move = rng.normal(size=(len(atoms), 3))
        slope = central_difference(lambda t, m=move: parts.energies(displaced(atoms, t * m), unit).sum(1))
        along = -np.einsum("kix,ix->k", found.forces, move)
        np.testing.assert_allclose(along, slope, rtol=0, atol=1e-6 * np.abs(found.forces).max())
    if found.stress is None:
        assert not atoms.pbc.all()
        return
    for c, (a, b) in enumerate(VOIGT):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        slope = central_difference(lambda t, e=strain: parts.energies(displaced(atoms, None, t * e), unit).sum(1))
        scale = np.abs(found.stress).max()
        np.testing.assert_allclose(found.stress[:, c], slope / atoms.get_volume(), rtol=0, atol=1e-6 * scale)


@structures
def test_described_structures_and_pairs_give_the_same_forces(parts: Parts, atoms: Atoms) -> None:
    potentials = parts.potentials()
    found, described = potentials(atoms), Structure(parts.features, atoms)
    again = potentials.of_described(described)
    np.testing.assert_allclose(again.forces, found.forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(potentials.energies_of_described(described), found.energies, rtol=1e-11)
    if found.stress is not None:
        np.testing.assert_allclose(again.stress, found.stress, rtol=0, atol=1e-11)
    pairs = find_pairs(atoms, 4.0)
    numbers = torch.from_numpy(atoms.numbers.astype(np.int64))
    _, slopes = potentials.along_pairs(numbers, pairs, len(atoms))
    for k in range(K):
        gradient, forces = folded_slopes(pairs, [block[k] for block in slopes]), np.zeros((len(atoms), 3))
        np.add.at(forces, pairs.centres, gradient)
        np.subtract.at(forces, pairs.neighbours, gradient)
        np.testing.assert_allclose(forces, found.forces[k], rtol=0, atol=1e-10)


def test_watchers_see_every_environment_once_and_of_unit_length(parts: Parts, monkeypatch) -> None:
    monkeypatch.setattr("kernpot.descriptors.soap._BLOCK_PAIRS", 20)
    seen: dict[tuple[int, int], np.ndarray] = {}

    def watch(descriptor: int, here: slice, numbers: torch.Tensor, u: torch.Tensor) -> None:
        assert numbers.tolist() == CRYSTAL.numbers[here].tolist()
        for i, row in zip(range(here.start, here.stop), u, strict=True):
            assert (descriptor, i) not in seen
            seen[descriptor, i] = row.numpy().copy()

    found = parts.potentials()(CRYSTAL, watch=watch)
    np.testing.assert_allclose(found.forces, parts.potentials()(CRYSTAL).forces, rtol=0, atol=1e-12)
    assert len(seen) == 2 * len(CRYSTAL)
    for d, features in enumerate(parts.features):
        p = features(CRYSTAL)
        expected = p / np.linalg.norm(p, axis=1)[:, None]
        np.testing.assert_allclose([seen[d, i] for i in range(len(CRYSTAL))], expected, rtol=1e-11, atol=1e-14)


def test_terms_of_the_same_atoms_add_up_and_others_stay_apart(rng: np.random.Generator) -> None:
    u, values = torch.from_numpy(rng.normal(size=(3, 4))), torch.tensor([1.0, 2.0], dtype=torch.float64)
    linear, powers = LinearForms(u[:2]), PowerSums(u, torch.from_numpy(rng.normal(size=(2, 3))), 3)
    terms = summed([Term(0, 29, linear), Term(1, 29, linear), Term(0, 29, powers), Term(0, 29, Constants(values))])
    assert [term[:2] for term in terms] == [(0, 29), (1, 29)]
    for total, first, second in zip(terms[0].energies(u), linear(u), powers(u), strict=True):
        shift = values if total.ndim == 2 else 0.0
        torch.testing.assert_close(total, first + second + shift)


def test_a_mean_is_the_kernel_times_the_weights_of_each_block(parts: Parts, rng: np.random.Generator) -> None:
    """Two functions of one descriptor and element among them, whose energies add up."""
    f, blocks, start = parts.features[0], [], 0
    for z, zeta in ((29, 1), (29, 3), (79, 2)):
        own = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(3, f.n_features))), dim=1)
        blocks.append(InducingBlock(0, z, Power(zeta), own, slice(start, start + 3)))
        start += 3
    weights = torch.from_numpy(rng.normal(size=9))
    p = f(CRYSTAL)
    u = p / np.linalg.norm(p, axis=1)[:, None]
    expected = np.array([ISOLATED[z] for z in CRYSTAL.numbers])
    for block in blocks:
        own = (u @ block.environments.numpy().T) ** block.function.power @ weights[block.columns].numpy()
        expected += np.where(CRYSTAL.numbers == block.element, own, 0.0)
    found = MeanPotential([f], blocks, weights, ISOLATED)(CRYSTAL)
    np.testing.assert_allclose(found.energies, expected, rtol=1e-11)
    single = weighted(blocks[1], weights[None, 3:6])(torch.from_numpy(u))[0][:, 0]
    np.testing.assert_allclose(single, (u @ blocks[1].environments.numpy().T) ** 3 @ weights[3:6].numpy(), rtol=1e-11)
