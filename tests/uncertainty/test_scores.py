"""Scores on plain arrays: equal to their definitions, and to published closed forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, spearmanr

from kernpot.uncertainty.scores import (
    equal_count_bins,
    expected_normalised_calibration_error,
    miscalibration_area,
    negative_log_likelihood,
    norm_coverage,
    oracle_rank_correlation,
    rank_correlation,
    ranked_probability_score,
    reached_level,
    standardised,
    vanishing,
)


@pytest.mark.parametrize(("error", "std"), [(0.0, 1.0), (0.7, 0.2), (-3.0, 2.0)])
def test_crps_is_the_area_between_distribution_functions(error: float, std: float) -> None:
    # Of a normal about the error, against the step of a label at zero.
    left, right = (
        quad(lambda x, step=step: (norm.cdf(x, error, std) - step) ** 2, *span, epsabs=1e-12)[0]
        for step, span in ((0, (error - 12 * std - 4, 0)), (1, (0, error + 12 * std + 4)))
    )
    assert ranked_probability_score(np.array([error]), np.array([std]))[0] == pytest.approx(left + right, rel=1e-6)


def test_crps_is_least_for_the_right_width_and_the_error_itself_without_one() -> None:
    error = np.random.default_rng(0).normal(0, 0.3, 20000)
    scores = [ranked_probability_score(error, np.full(error.size, std)).mean() for std in (0.2, 0.3, 0.45)]
    assert scores[1] < min(scores[0], scores[2])
    assert ranked_probability_score(np.array([-0.4, 0.0]), np.zeros(2)) == pytest.approx([0.4, 0.0])


def test_likelihood() -> None:
    error, std = np.array([0.1, -0.5]), np.array([0.2, 0.4])
    assert negative_log_likelihood(error, std) == pytest.approx(-np.mean(norm.logpdf(error / std) - np.log(std)))
    assert negative_log_likelihood(error, np.zeros(2)) == np.inf
    assert negative_log_likelihood(np.array([0.1, 0.0]), np.array([0.2, 0.0])) == pytest.approx(
        negative_log_likelihood(error[:1], std[:1])
    )


def test_miscalibration_area_is_that_of_the_reliability_curve() -> None:
    for z in (np.array([0.3]), np.zeros(5), np.full(4, 50.0), np.random.default_rng(3).normal(0, 1.7, 300)):
        levels = np.linspace(0, 1, 40001)
        found = np.searchsorted(np.sort(reached_level(z)), levels, side="right") / z.size
        assert miscalibration_area(z) == pytest.approx(np.trapezoid(np.abs(found - levels), levels), abs=1e-4)
    assert miscalibration_area(np.zeros(5)) == pytest.approx(0.5)  # everything at the centre: the worst there is
    assert miscalibration_area(norm.ppf(0.5 + np.arange(0.5, 1000) / 2000)) < 1e-3


def test_normalised_calibration_error_sees_a_width_wrong_in_proportion() -> None:
    rng = np.random.default_rng(4)
    std = rng.lognormal(0, 1, 40000)
    error = rng.normal(0, std)
    right, wrong = (expected_normalised_calibration_error(error, factor * std) for factor in (1.0, 0.5))
    assert right == pytest.approx(0.56 / np.sqrt(2000), rel=0.6)
    assert wrong == pytest.approx(1.0, abs=0.05)  # |s/2 - s| / (s/2)
    assert expected_normalised_calibration_error(error[:39], std[:39]) is None


def test_bins_have_equal_counts_and_grow() -> None:
    std = np.random.default_rng(5).random(205)
    bins = equal_count_bins(std, 10)
    assert {chosen.size for chosen in bins} == {20, 21}
    assert all(std[a].max() <= std[b].min() for a, b in pairwise(bins))


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_norms_of_force_vectors_follow_chi3(level: float) -> None:
    z = np.random.default_rng(6).normal(size=30000)
    judged = np.full(z.size, True)
    assert norm_coverage(z, judged, level) == pytest.approx(level, abs=0.015)
    judged[0::3] = False  # a mirror plane: two components are left
    assert norm_coverage(z, judged, level) == pytest.approx(level, abs=0.015)
    assert norm_coverage(z, np.full(z.size, False), level) is None


def test_components_vanish_only_if_label_prediction_and_std_all_do() -> None:
    label = np.array([1.0, -2.0, 0.0, 0.0, 0.1, 1e-9])
    mean = np.array([1.1, -2.2, 1e-8, 1e-8, 1e-8, 1e-8])
    std = np.array([0.1, 0.2, 1e-8, 0.1, 1e-8, 0.0])
    assert vanishing(label, mean, std).tolist() == [False, False, True, False, False, True]


def test_rank_correlation() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 8, 100).astype(float), rng.normal(size=100)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, np.ones(100)) is None
    assert rank_correlation(a, 1 + 1e-9 * b) is None  # constant but for rounding


def test_oracle_reaches_what_simulated_errors_reach() -> None:
    rng = np.random.default_rng(2)
    std = rng.lognormal(0, 0.5, 5000)
    found = oracle_rank_correlation(std)
    assert found == pytest.approx(spearmanr(np.abs(rng.normal(0, std)), std).statistic, abs=0.04)
    assert 0.2 < found < 0.6 and found == oracle_rank_correlation(std)
    assert oracle_rank_correlation(np.ones(10)) is None


def test_standardised_errors() -> None:
    z = standardised(np.array([2.0, 0.0, 1.0]), np.array([4.0, 0.0, 0.0]))
    assert z.tolist() == [0.5, 0.0, np.inf]
