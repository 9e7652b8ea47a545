"""Sensitivities: their products are posterior covariances, and those of forces are derivatives of those of energies."""

from __future__ import annotations

import numpy as np
import pytest

from kernpot.gp.fitted import FittedGP
from kernpot.gp.predicting.sensitivities import sensitivities
from kernpot.prediction import Sensitivities
from tests.gp.small import dense, fitted, rows_of
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals

FRAMES = crystals(2, symbols="Cu2Au2")
CRYSTAL, FREE = crystals(1, seed=9, symbols="Cu3Au", strain=0.1)[0], cluster("Cu2Au2", seed=4)
ALL = ("forces", "stress")


@pytest.fixture(scope="module")
def gp() -> FittedGP:
    return fitted(FRAMES).fitted_


def joined(found: Sensitivities) -> np.ndarray:
    """(labels, M): energy, forces, stress."""
    parts = [found.energy[:, None], found.forces.reshape(len(found.energy), -1)]
    return np.concatenate([*parts, found.stress] if found.stress is not None else parts, axis=1).T


def test_products_are_the_covariances_of_calibrated_draws_within_and_between_structures(gp: FittedGP) -> None:
    one, other = joined(sensitivities(gp, CRYSTAL, ALL)), joined(sensitivities(gp, FREE, ["forces"]))
    reference, rows, others = dense(gp, FRAMES), rows_of(gp, CRYSTAL), rows_of(gp, FREE)
    sizes = [np.sqrt(reference.covariance(r).diagonal()) for r in (rows, others)]
    for a, b, r, q, s, t in (
        (one, one, rows, rows, sizes[0], sizes[0]),
        (one, other, rows, others, sizes[0], sizes[1]),
    ):
        expected = gp.draw_scale**2 * reference.covariance(r, q)
        np.testing.assert_allclose(a @ b.T / np.outer(s, t), expected / np.outer(s, t), rtol=0, atol=1e-3)


@pytest.mark.parametrize("atoms", [CRYSTAL, FREE], ids=["crystal", "cluster"])
def test_forces_are_minus_the_derivatives_of_energies_in_every_direction(gp: FittedGP, atoms) -> None:
    found = sensitivities(gp, atoms, ["forces"]).forces
    rng = np.random.default_rng(0)
    for _ in range(3):
        move = rng.normal(size=(len(atoms), 3))
        slope = central_difference(lambda t, m=move: sensitivities(gp, displaced(atoms, t * m), ()).energy)
        along = np.einsum("mix,ix->m", found, move)
        np.testing.assert_allclose(along, -slope, rtol=0, atol=1e-6 * np.abs(slope).max())


def test_stress_is_the_derivative_by_strain_over_the_volume(gp: FittedGP) -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=(3, 3))
    strain = 0.5 * (half + half.T)
    slope = central_difference(lambda t: sensitivities(gp, displaced(CRYSTAL, None, t * strain), ()).energy)
    voigt = strain.flatten()[[0, 4, 8, 5, 2, 1]] * [1, 1, 1, 2, 2, 2]
    along = sensitivities(gp, CRYSTAL, ["stress"]).stress @ voigt * CRYSTAL.get_volume()
    np.testing.assert_allclose(along, slope, rtol=0, atol=1e-6 * np.abs(slope).max())


def test_no_more_is_computed_than_is_asked_for(gp: FittedGP) -> None:
    alone = sensitivities(gp, CRYSTAL, ())
    assert alone.forces is None and alone.stress is None
    np.testing.assert_allclose(alone.energy, sensitivities(gp, CRYSTAL, ALL).energy, rtol=1e-12)
