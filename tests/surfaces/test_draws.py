"""Draws as a sequence of potentials: each is one of all of them, and conservative."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.descriptors import SOAPFeatures
from kernpot.errors import KernpotError, StructureError
from kernpot.kernels.forms import QuadraticForms
from kernpot.structures.neighbours import find_pairs
from kernpot.surfaces.draws import Draws, PotentialDraw
from kernpot.surfaces.potentials import Potentials, Term
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals, soap

K = 4
CRYSTAL, FREE = crystals(1)[0], cluster()
ISOLATED = {29: -1.5}


@pytest.fixture
def draws(rng: np.random.Generator) -> Draws:
    """Random quadratic forms about their mean."""
    features = SOAPFeatures(soap(n_max=2, l_max=1))
    half = torch.from_numpy(rng.normal(size=(K, features.n_features, features.n_features)))
    forms = list(half + half.mT)

    def made(of: list[torch.Tensor]) -> Potentials:
        return Potentials([features], [Term(0, 29, QuadraticForms(of))], ISOLATED, len(of))

    mean = PotentialDraw(made([sum(forms) / K]), (29,), features.cutoff)
    return Draws(made(forms), mean, ("parameter",), "bayes")


@pytest.mark.parametrize("atoms", [CRYSTAL, FREE], ids=["crystal", "cluster"])
def test_one_of_them_is_its_place_among_all(draws: Draws, atoms) -> None:
    whole = draws.evaluate(atoms)
    assert [d.mean(atoms).energy for d in draws] == pytest.approx(list(whole.energies), rel=1e-11)
    for k, place in ((2, 2), (-1, K - 1)):
        one = draws[k].mean(atoms, find_pairs(atoms, 5.0))
        np.testing.assert_allclose(one.forces, whole.forces[place], rtol=0, atol=1e-10)
        np.testing.assert_allclose(one.energies, whole.atomic_energies[place], rtol=1e-11)
    backwards = draws[::-2]
    assert len(backwards) == 2
    np.testing.assert_allclose(backwards.evaluate(atoms).energies, whole.energies[::-2], rtol=1e-11)
    assert draws[1:3][1].mean(atoms).energy == pytest.approx(whole.energies[2], rel=1e-11)
    with pytest.raises(IndexError):
        draws[K]


def test_the_potential_they_scatter_about_is_their_mean(draws: Draws) -> None:
    whole, mean = draws.evaluate(CRYSTAL), draws.mean_potential.mean(CRYSTAL)
    assert mean.energy == pytest.approx(whole.energies.mean(), rel=1e-11)
    np.testing.assert_allclose(mean.forces, whole.forces.mean(0), rtol=0, atol=1e-10)
    np.testing.assert_allclose(mean.stress, whole.stress.mean(0), rtol=0, atol=1e-11)


def test_a_draw_is_conservative_and_its_calculator_is_the_same_potential(draws: Draws, rng) -> None:
    one, move = draws[1], rng.normal(size=(4, 3))
    slope = central_difference(lambda t: np.array(one.mean(displaced(CRYSTAL, t * move)).energy))
    forces = one.mean(CRYSTAL).forces
    assert -(forces * move).sum() == pytest.approx(float(slope), rel=1e-6)
    atoms = CRYSTAL.copy()
    atoms.calc = one.calculator()
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-10)
    pairs = find_pairs(CRYSTAL, one.cutoff)
    along = one.along_pairs(CRYSTAL.numbers.astype(np.int64), pairs, 4)
    folded = np.zeros((4, 3))
    np.add.at(folded, pairs.centres, along.gradient)
    np.subtract.at(folded, pairs.neighbours, along.gradient)
    np.testing.assert_allclose(folded, forces, rtol=0, atol=1e-10)


def test_a_single_draw_has_no_error_bars_and_knows_its_elements(draws: Draws) -> None:
    pairs = find_pairs(CRYSTAL, 4.0)
    for ask in (
        lambda: draws[0].predict_full([CRYSTAL]),
        lambda: draws[0].along_pairs(CRYSTAL.numbers.astype(np.int64), pairs, 4, std=True),
    ):
        with pytest.raises(KernpotError, match="no error bars"):
            ask()
    gold = crystals(1, symbols="Cu3Au")[0]
    for ask in (lambda: draws.evaluate(gold), lambda: draws[0].mean(gold)):
        with pytest.raises(StructureError, match="Au"):
            ask()
