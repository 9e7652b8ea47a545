"""Student's t with unit variance: intervals, scores and their Gaussian limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, t

from kernpot import tails
from kernpot.prediction import Quantity

NU = (3.0, 5.0, math.inf)


@pytest.mark.parametrize("nu", NU)
def test_scores_are_those_of_a_distribution_of_unit_variance(nu: float) -> None:
    scale = tails.unit_scale(nu)
    assert t.var(nu, scale=scale) == pytest.approx(1)
    for z in (0.0, 0.7, -2.5):
        below = quad(lambda x: t.cdf(x / scale, nu) ** 2, -300, z)[0]
        above = quad(lambda x: t.sf(x / scale, nu) ** 2, z, 300)[0]
        assert tails.crps(z, nu) == pytest.approx(below + above, rel=1e-6)
        assert tails.negative_log_density(z, nu) == pytest.approx(-t.logpdf(z, nu, scale=scale))


@pytest.mark.parametrize("nu", NU)
def test_normal_scores_turn_intervals_into_normal_ones(nu: float) -> None:
    for level in (0.5, 0.9, 0.999):
        score = tails.normal_score(np.array([-1.0, 1.0]) * tails.half_width(level, nu), nu)
        np.testing.assert_allclose(score, np.array([-1, 1]) * norm.ppf(0.5 + level / 2), rtol=1e-9)


def test_heavy_tails_are_narrow_at_half_and_wide_at_the_end() -> None:
    assert tails.half_width(0.5, 4) < norm.ppf(0.75)
    assert tails.half_width(0.99, 4) > norm.ppf(0.995)


def test_intervals_of_a_quantity_have_its_tails() -> None:
    quantity = Quantity(np.array(1.0), np.array(0.1), np.array(2.0), "eV", 5.0)
    low, high = quantity.interval(0.9)
    draws = t.rvs(5.0, loc=1.0, scale=2.0 * math.sqrt(3 / 5), size=200_000, random_state=0)
    assert np.mean((draws > low) & (draws < high)) == pytest.approx(0.9, abs=0.003)
    assert np.std(draws) == pytest.approx(2.0, rel=0.02)


def test_tails_without_variance_are_refused() -> None:
    with pytest.raises(ValueError, match="degrees_of_freedom must be at least 3"):
        Quantity(np.array(1.0), np.array(0.1), np.array(2.0), "eV", 2.0)
