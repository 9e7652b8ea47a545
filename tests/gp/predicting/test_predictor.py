"""Predictions against dense matrices, and every shorter way to a number against the whole prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.functionals.prior import joint_prior
from kernpot.functionals.state import Structure
from kernpot.gp.fitted import FittedGP
from kernpot.gp.predicting.predictor import Predictor
from kernpot.prediction import Prediction
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.neighbours import find_pairs
from tests.gp.small import ISOLATED, MISFIT, dense, fitted, rows_of
from tests.helpers.systems import cluster, crystals, slab

FRAMES = [*crystals(2, symbols="Cu2Au2"), cluster("CuAu3")]
CRYSTAL, FREE = crystals(1, seed=9, symbols="Cu3Au", strain=0.1)[0], cluster("Cu2Au2", seed=4)
both = pytest.mark.parametrize("atoms", [CRYSTAL, FREE, slab(3)], ids=["crystal", "cluster", "slab"])


@pytest.fixture(scope="module")
def gp() -> FittedGP:
    return fitted(FRAMES).fitted_


@pytest.fixture(scope="module")
def predictor(gp: FittedGP) -> Predictor:
    return Predictor(gp)


def joined(p: Prediction, which: str) -> np.ndarray:
    return np.concatenate([np.ravel(getattr(q, which)) for q in (p.energy, p.forces, p.stress) if q is not None])


@both
def test_means_and_covariances_are_those_of_dense_matrices(gp: FittedGP, predictor: Predictor, atoms) -> None:
    """The parameters' part, and of the prior what the inducing environments do not represent."""
    p, reference, rows = predictor(atoms, covariance=True), dense(gp, FRAMES), rows_of(gp, atoms)
    offset = np.zeros(len(rows))
    offset[0] = sum(ISOLATED[z] for z in atoms.numbers)
    mean, structure = joined(p, "mean"), Structure(gp.features, atoms)
    np.testing.assert_allclose(mean, reference.mean(rows) + offset, rtol=0, atol=2e-5 * np.abs(mean).max())
    prior = sum(
        a**2 * joint_prior(structure.described[0], b.element, b.function, structure.volume)
        for a, b in zip(gp.amplitudes, gp.whitening.blocks, strict=True)
    )
    unknown = np.asarray(prior) - rows @ np.linalg.solve(reference.prior, rows.T)
    expected = reference.covariance(rows) + unknown
    scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    np.testing.assert_allclose(p.covariance.epistemic / scale, expected / scale, rtol=0, atol=1e-4)
    np.testing.assert_allclose(joined(p, "epistemic_std") ** 2, expected.diagonal(), rtol=1e-4)


@both
def test_shorter_ways_lead_to_the_same_numbers(predictor: Predictor, atoms) -> None:
    p, n = predictor(atoms), len(atoms)
    mean, std = predictor.energy(atoms)
    assert (mean, std) == pytest.approx((float(p.energy.mean), float(p.energy.std)), rel=1e-9)
    assert predictor.energy_mean(atoms) == pytest.approx(mean, rel=1e-12)
    np.testing.assert_allclose(predictor.force_std(atoms, None), p.forces.std, rtol=1e-9)
    for kind, (found, v) in predictor.labels(atoms, LABEL_KINDS).items():
        quantity, size = getattr(p, kind), n if kind == "energy" else 1
        np.testing.assert_allclose(found, quantity.mean, rtol=1e-9, atol=1e-12)
        epistemic = (v.parameter + v.unrepresented).sqrt().numpy() * size
        np.testing.assert_allclose(epistemic, np.ravel(quantity.epistemic_std), rtol=1e-9)


@both
def test_slopes_along_pairs_are_forces_and_stress_once_folded(predictor: Predictor, atoms) -> None:
    """Energies of centres, too, with the deviations of atomic energies; of some of the centres alone as well."""
    pairs, numbers = find_pairs(atoms, 4.0), torch.from_numpy(atoms.numbers.astype(np.int64))
    found, p = predictor.along_pairs(numbers, pairs, len(atoms), std=True), predictor(atoms)
    forces, strain = np.zeros((len(atoms), 3)), np.zeros((3, 3))
    np.add.at(forces, pairs.centres, found.gradient)
    np.subtract.at(forces, pairs.neighbours, found.gradient)
    np.testing.assert_allclose(forces, p.forces.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.energies, p.energies.mean, rtol=1e-10)
    np.testing.assert_allclose(found.std, p.energies.std, rtol=1e-9)
    if p.stress is not None:
        strain = found.gradient.T @ pairs.vectors / atoms.get_volume()
        voigt = (0.5 * (strain + strain.T)).flatten()[[0, 4, 8, 5, 2, 1]]
        np.testing.assert_allclose(voigt, p.stress.mean, rtol=0, atol=1e-10)
    assert predictor.along_pairs(numbers, pairs, 0, std=True).std.shape == (0,)


def test_a_free_cluster_is_pushed_by_nothing_for_certain(predictor: Predictor) -> None:
    p = predictor(FREE, covariance=True)
    net = np.tile(np.eye(3), len(FREE))
    spread = net @ p.covariance.block("forces", "forces", epistemic=True) @ net.T
    assert np.abs(spread).max() < 1e-8 * p.forces.epistemic_std.max() ** 2
    np.testing.assert_allclose(p.forces.mean.sum(0), 0.0, atol=1e-9)


def test_energies_of_a_supercell_are_wholly_correlated(predictor: Predictor) -> None:
    """Six copies have six times the energy and its deviation, misfit included: they are one thing not known."""
    one, six = predictor(CRYSTAL), predictor(CRYSTAL.repeat((1, 2, 3)))
    for which in ("mean", "epistemic_std", "std"):
        assert float(getattr(six.energy, which)) == pytest.approx(6 * float(getattr(one.energy, which)), rel=1e-6)
        np.testing.assert_allclose(getattr(six.stress, which), getattr(one.stress, which), rtol=1e-5, atol=1e-8)
        many, few = getattr(six.forces, which), getattr(one.forces, which)
        np.testing.assert_allclose(many, np.tile(few, (6, 1)), rtol=1e-5, atol=1e-7)
    assert six.forces.degrees_of_freedom == MISFIT["forces"].degrees_of_freedom
