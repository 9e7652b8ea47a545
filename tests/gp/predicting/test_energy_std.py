"""The deviation of an energy: that of calibrated draws, with derivatives that finite differences confirm."""

from __future__ import annotations

import numpy as np
import pytest

from kernpot.gp.fitted import FittedGP
from kernpot.gp.predicting.energy_std import energy_std
from kernpot.gp.predicting.predictor import Predictor
from kernpot.kernels import PolynomialKernel, SOAPKernel
from kernpot.structures.neighbours import find_pairs
from tests.gp.small import dense, fitted, rows_of
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals, slab, soap

FRAMES = crystals(2, symbols="Cu2Au2")
CRYSTAL = crystals(1, seed=9, symbols="Cu3Au", strain=0.1)[0]
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def two_descriptors() -> FittedGP:
    """One of them under a kernel of two functions."""
    species = ["Cu", "Au"]
    both = [soap(species, n_max=2, l_max=1), soap(species, cutoff=3.2, n_max=1, l_max=2)]
    kernels = [SOAPKernel(3, (29, 79), 1.2), PolynomialKernel((1, 2), (29, 79), 0.7)]
    return fitted(FRAMES, descriptor=both, kernel=kernels).fitted_


@pytest.fixture(scope="module", params=[lambda: fitted(FRAMES).fitted_, two_descriptors], ids=["one", "several"])
def gp(request: pytest.FixtureRequest) -> FittedGP:
    return request.param()


def test_variance_is_that_of_dense_matrices_with_the_parameters_part_scaled() -> None:
    """And at least 1 meV."""
    gp = fitted(FRAMES).fitted_
    for atoms in (CRYSTAL, slab(), cluster("Cu2Au2")):
        parameter = dense(gp, FRAMES).covariance(rows_of(gp, atoms)[:1])[0, 0]
        unknown = float(Predictor(gp)(atoms).energy.epistemic_std) ** 2 - parameter
        expected = gp.draw_scale**2 * parameter + unknown + 1e-6
        assert energy_std(gp, atoms).std ** 2 == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("atoms", [CRYSTAL, cluster("Cu2Au2")], ids=["crystal", "cluster"])
def test_gradient_is_that_of_the_deviation(gp: FittedGP, atoms) -> None:
    found = energy_std(gp, atoms)
    for i in range(2):
        for x in range(3):
            move = np.zeros((len(atoms), 3))
            move[i, x] = 1.0
            slope = central_difference(lambda t, m=move: energy_std(gp, displaced(atoms, t * m)).std)
            assert found.gradient[i, x] == pytest.approx(slope, abs=2e-6 * np.abs(found.gradient).max())
    np.testing.assert_allclose(found.gradient.sum(0), 0.0, atol=1e-9)


def test_stress_is_the_derivative_with_respect_to_strain_over_the_volume(gp: FittedGP) -> None:
    found = energy_std(gp, CRYSTAL).stress
    for k, (a, b) in enumerate(VOIGT):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        slope = central_difference(lambda t, e=strain: energy_std(gp, displaced(CRYSTAL, None, t * e)).std)
        assert found[k] == pytest.approx(slope / CRYSTAL.get_volume(), abs=2e-6 * np.abs(found).max())
    assert energy_std(gp, slab()).stress is None


def test_pairs_of_the_caller_serve_as_well(gp: FittedGP) -> None:
    given, own = energy_std(gp, CRYSTAL, find_pairs(CRYSTAL, 6.0)), energy_std(gp, CRYSTAL)
    assert given.std == pytest.approx(own.std, rel=1e-9)
    np.testing.assert_allclose(given.gradient, own.gradient, rtol=0, atol=1e-9 * np.abs(own.gradient).max())
