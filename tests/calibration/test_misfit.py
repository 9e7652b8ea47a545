"""Misfit of labels: its formula, the likelihood it maximises, and distributions it has to find again."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from kernpot.calibration.misfit import (
    LabelVariances,
    Misfit,
    draw_scale,
    fit_misfit,
    misfit_data,
    misfit_from,
    misfit_variance,
)


def variances(rng: np.random.Generator, n: int = 9) -> LabelVariances:
    return LabelVariances(*(torch.from_numpy(rng.uniform(0.01, 2.0, n)) for _ in range(3)))


def per_structure(values: np.ndarray, n: int) -> list[np.ndarray]:
    return np.split(values, n)


@pytest.mark.parametrize("exponent", [1.0, 1.3])
def test_variance_is_the_formula_written_by_hand(rng: np.random.Generator, exponent: float) -> None:
    found, misfit = variances(rng), Misfit(0.3, 1.7, exponent=exponent, reference=0.4)
    v, p, k = (x.numpy() for x in found[:3])
    variance, weight = misfit_variance(misfit, found, together=3)
    for atom in range(3):
        own = slice(3 * atom, 3 * atom + 3)
        s = 0.5 * (v[own] + p[own])
        inflation = 1.7**2 * (s.mean() / 0.4) ** (exponent - 1)
        g = (inflation * s).mean() / ((inflation * s).mean() + k[own].mean())
        np.testing.assert_allclose(variance[own], 0.3**2 + g * inflation * s, rtol=1e-12)
        np.testing.assert_allclose(weight[own], g * inflation, rtol=1e-12)


def test_what_is_unrepresented_takes_the_place_of_misfit_and_never_narrows_a_label(rng: np.random.Generator) -> None:
    found, misfit = variances(rng), Misfit(0.0, 1.7)
    q = 1.7**2 * 0.5 * (found.parameter + found.pooled)
    for size in (0.0, 1e-9, 0.1, 1.0, 1e9):
        k = found.unrepresented * size
        added, _ = misfit_variance(misfit, found._replace(unrepresented=k))
        assert bool((added + k >= torch.maximum(q, k) * (1 - 1e-12)).all())
        assert bool((added <= q).all())
    torch.testing.assert_close(misfit_variance(misfit, found._replace(unrepresented=0 * q))[0], q)
    nothing = LabelVariances(0 * q, 0 * q, 0 * q)
    assert not misfit_variance(misfit, nothing)[0].any()


def test_found_misfit_is_a_maximum_of_the_likelihood(rng: np.random.Generator) -> None:
    """Of Gaussians written here, for constant and proportional parts that both count."""
    n = 38  # fewer residuals than tails are told by
    v = np.exp(rng.uniform(-6.0, 1.0, 5 * n))
    e = rng.normal(size=5 * n) * np.sqrt(v + 0.3**2 + 1.5**2 * v)
    nothing = per_structure(np.zeros(5 * n), n)
    found = fit_misfit(per_structure(e, n), per_structure(v, n), per_structure(v, n), nothing)

    def log_likelihood(misfit: Misfit) -> float:
        return float(norm.logpdf(e, scale=np.sqrt(v + misfit.constant**2 + misfit.factor**2 * v)).sum())

    assert found.exponent == 1 and math.isinf(found.degrees_of_freedom)
    for change in (0.98, 1.02):
        assert log_likelihood(replace(found, constant=found.constant * change)) < log_likelihood(found)
        assert log_likelihood(replace(found, factor=found.factor * change)) < log_likelihood(found)
    assert found.constant == pytest.approx(0.3, rel=0.25)
    assert found.factor == pytest.approx(1.5, rel=0.25)


@pytest.mark.parametrize(("nu", "allowed"), [(math.inf, {math.inf, 20.0}), (4.0, {3.0, 4.0, 5.0})])
def test_tails_and_factor_of_known_residuals_are_found(rng: np.random.Generator, nu: float, allowed: set) -> None:
    n = 200
    v = np.exp(rng.uniform(-6.0, 0.0, (n, 9)))
    unit = rng.normal(size=v.shape) if math.isinf(nu) else rng.standard_t(nu, v.shape) * np.sqrt((nu - 2) / nu)
    e = unit * np.sqrt(v * (1 + 2.0**2))
    found = fit_misfit(list(e), list(v), list(v), list(0 * v), together=3)
    assert found.degrees_of_freedom in allowed
    assert found.constant < 0.02
    s = torch.from_numpy(v.ravel())
    added, _ = misfit_variance(found, LabelVariances(s, s, 0 * s), together=3)
    assert float((added / s).mean()) == pytest.approx(2.0**2, rel=0.15)


def test_noise_far_below_errors_asks_for_a_large_factor(rng: np.random.Generator) -> None:
    """A constant in its place would know nothing of the environment."""
    v = np.exp(rng.uniform(-6.0, 0.0, (200, 9)))
    e = 1000.0 * rng.normal(size=v.shape) * np.sqrt(v)
    found = fit_misfit(list(e), list(v), list(v), list(0 * v))
    s = torch.from_numpy(v.ravel())
    added, _ = misfit_variance(found, LabelVariances(s, s, 0 * s))
    assert float((added / s).mean().sqrt()) == pytest.approx(1000.0, rel=0.1)
    assert found.constant < 0.01 * float(np.sqrt(np.mean(e**2)))


def test_components_that_vanish_by_symmetry_do_not_count(rng: np.random.Generator) -> None:
    v = np.exp(rng.uniform(-3.0, 0.0, (20, 4)))
    e = rng.normal(size=v.shape) * np.sqrt(3 * v)
    alone = fit_misfit(list(e), list(v), list(v), list(0 * v))
    more = [np.hstack([x, np.zeros_like(x)]) for x in (e, v, v, 0 * v)]
    assert fit_misfit(*(list(x) for x in more)) == alone


def test_draws_scatter_as_labels_do_where_misfit_follows_the_parameters(rng: np.random.Generator) -> None:
    misfit, v = Misfit(0.0, 1.7), variances(rng).parameter
    added, _ = misfit_variance(misfit, LabelVariances(v, v, 0 * v))
    others = {"energy": Misfit(0.0, 9.0), "forces": misfit}
    torch.testing.assert_close(draw_scale(others, {"energy", "forces"}) ** 2 * v, v + added)
    assert draw_scale(others, {"energy"}) == pytest.approx(math.sqrt(82.0))


@pytest.mark.parametrize("misfit", [Misfit(0.1, 2.0), Misfit(0.1, 2.0, 4.0, 0.3, 1.15, 1e-3)])
def test_files_bring_it_back_and_damage_is_refused(misfit: Misfit) -> None:
    data = json.loads(json.dumps(misfit_data(misfit), allow_nan=False))
    assert misfit_from(data) == misfit
    for change in ({"constant": -0.1}, {"exponent": 1.3, "reference": 0.0}, {"degrees_of_freedom": 2.0}):
        with pytest.raises(ValueError):
            misfit_from(data | change)


def test_what_is_known_of_nothing_is_as_large_as_labels_are() -> None:
    """``k`` counts ``T`` where nothing is represented, once where all is, and never less."""
    misfit = Misfit(0.0, signal=4.0, prior=0.5)
    prior = torch.full((6,), 0.25, dtype=torch.float64)
    np.testing.assert_allclose(prior * (1 + misfit.ignorance(prior, prior, 3)), 4.0)
    np.testing.assert_allclose(misfit.ignorance(1e-6 * prior, prior, 3), 15 * 1e-3, rtol=1e-9)
    assert (Misfit(0.0, signal=0.1, prior=0.5).ignorance(prior, prior) == 0).all()
    assert (Misfit(0.0).ignorance(prior, prior) == 0).all()


def test_labels_that_vanish_by_symmetry_stay_known() -> None:
    """Of prior and unrepresented variance rounding is left, whose ratio says nothing."""
    rounding = torch.full((3,), 1e-20, dtype=torch.float64)
    assert float(Misfit(0.0, signal=4.0, prior=0.5).ignorance(rounding, rounding, 3).max()) < 100


def test_ignorance_is_one_number_for_what_a_rotation_mixes() -> None:
    misfit = Misfit(0.0, signal=4.0, prior=0.5)
    k, p = torch.tensor([0.1, 0.0, 0.05], dtype=torch.float64), torch.tensor([0.2, 0.3, 0.1], dtype=torch.float64)
    found = misfit.ignorance(k, p, 3)
    np.testing.assert_allclose(found, (4.0 / 0.2 - 1) * 0.25**0.5, rtol=1e-12)


def test_elements_that_no_structure_left_out_holds_have_twice_the_std() -> None:
    misfit = Misfit(0.0, by_element={1: 0.8, 6: 1.2})
    assert misfit.of_elements(np.array([6, 1, 8])).tolist() == [1.2, 0.8, 2.0]
    assert Misfit(0.0).of_elements(np.array([6, 1, 8])).tolist() == [1.0, 1.0, 1.0]
    assert misfit_from(json.loads(json.dumps(misfit_data(misfit)))) == misfit
    with pytest.raises(ValueError, match="factor of an element"):
        misfit_from(misfit_data(misfit) | {"by_element": {"6": 0.0}})
