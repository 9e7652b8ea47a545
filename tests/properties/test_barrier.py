from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from kernpot.errors import PropertyError
from kernpot.properties import Barrier, PathEnergies, arrhenius, minimum_energy_path
from kernpot.uncertainty.propagated import Propagated
from kernpot.uncertainty.propagation import propagate
from tests.helpers.scaled import AlongX, GivenDraws, ScaledEMT


def double_well(height, tilt=0.0):
    """``height (x^2 - 1)^2 + tilt x``: the barrier from -1 is ``height`` without tilt."""
    return AlongX(lambda x: height * (x**2 - 1) ** 2 + tilt * x, lambda x: 4 * height * x * (x**2 - 1) + tilt)


def path(n=7):
    return [Atoms("Cu", [[x, 0.0, 0.0]]) for x in np.linspace(-1, 1, n)]


def test_barriers_of_draws_are_found_anew():
    heights = [0.3, 0.5, 0.6]
    draws = GivenDraws(double_well(0.5), [double_well(h) for h in heights])
    found = propagate(Barrier(path(), fmax=0.01), draws)
    np.testing.assert_allclose(found.values, heights, atol=1e-3)


def test_fixed_path_is_right_to_first_order_and_optimisation_beyond():
    tilts = np.array([-0.05, 0.05])
    draws = GivenDraws(double_well(0.5), [double_well(0.5, t) for t in tilts])
    fixed = propagate(PathEnergies(path()), draws).map(np.max)
    optimised = propagate(Barrier(path(), fmax=0.002), draws)
    np.testing.assert_allclose(fixed.values, 0.5 + tilts, atol=1e-12)  # x moves from -1 to 0
    exact = [saddle_above_left(t) for t in tilts]
    np.testing.assert_allclose(optimised.values, exact, atol=1e-4)
    assert np.abs(fixed.values - exact).max() < 10 * tilts[1] ** 2


def saddle_above_left(tilt):
    well = double_well(0.5, tilt)
    left, top, _ = np.sort(np.roots([2.0, 0.0, -2.0, tilt]).real)
    energies = well.value(np.array([left, top]))
    return energies[1] - energies[0]


def test_vacancy_hop_is_symmetric():
    crystal = bulk("Cu", a=3.59, cubic=True) * 2
    near = int(np.argsort(crystal.get_distances(0, range(len(crystal)), mic=True))[1])
    initial, final = crystal.copy(), crystal.copy()
    final.positions[near] = crystal.positions[0]
    del initial[0], final[0]
    images = minimum_energy_path(ScaledEMT(), initial, final, n_images=3, fmax=0.05)
    energies = PathEnergies(images)(ScaledEMT())
    assert len(images) == 5 and int(energies.argmax()) == 2
    np.testing.assert_allclose(energies, energies[::-1], atol=2e-3)
    assert 0.3 < energies[2] < 1.5


def test_a_band_that_does_not_converge_is_said():
    bent = path()
    for image in bent[1:-1]:
        image.positions[0, 0] += 0.1
    with pytest.raises(PropertyError, match="elastic band of 7 images"):
        Barrier(bent, fmax=1e-6, max_steps=3)(double_well(0.5))


def test_bad_paths_are_refused():
    with pytest.raises(ValueError, match="two ends"):
        PathEnergies(path(2))
    with pytest.raises(ValueError, match="same atoms"):
        Barrier([*path(3), Atoms("Al")])
    with pytest.raises(ValueError, match="n_images"):
        minimum_energy_path(ScaledEMT(), path()[0], path()[-1], n_images=0)


def barriers(n, mean=0.5, std=0.04, seed=0):
    return Propagated(np.random.default_rng(seed).normal(mean, std, n), np.array(mean), "eV")


def test_mean_rate_is_the_mean_over_barriers():
    drawn = barriers(400000)
    rate = arrhenius(drawn, 500.0, prefactor=1e12)
    each = 1e12 * np.exp(-drawn.values / (units.kB * 500))
    assert np.isclose(rate.mean, each.mean(), rtol=5 * each.std() / each.mean() / np.sqrt(len(each)))
    assert np.isclose(rate.median, np.median(each), rtol=0.02)
    assert np.isclose(rate.jensen_bias, np.exp(0.5 * (0.04 / (units.kB * 500)) ** 2), rtol=0.01)


def test_rate_interval_is_that_of_the_barrier():
    drawn = barriers(40)
    rate = arrhenius(drawn, 300.0)
    low, high = drawn.interval(0.9)
    thermal = units.kB * 300
    expected = 1e13 * np.exp(-np.array([high, low]) / thermal)
    np.testing.assert_allclose(rate.interval(0.9), expected)


def test_bad_rates_are_refused():
    with pytest.raises(ValueError, match="barrier in eV"):
        arrhenius(Propagated(np.zeros((3, 2)), np.zeros(2), "eV"), 300)
    with pytest.raises(ValueError, match="positive"):
        arrhenius(barriers(5), 0.0)


def test_a_rate_without_order_of_magnitude_is_refused() -> None:
    values = np.array([0.1, 0.5, 0.9])
    with pytest.raises(PropertyError, match="leaves the rate at 30 K open by a factor of exp"):
        arrhenius(Propagated(values, np.array(0.5), "eV", ()), 30.0)
