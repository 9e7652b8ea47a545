"""Sampling errors: as wide as repeated experiments scatter, with structures as the independent units."""

from __future__ import annotations

import numpy as np
import pytest

from kernpot.uncertainty.sampling_error import bootstrap_ranges, coverage_range, reliability_band
from kernpot.uncertainty.scores import covered, ranked_probability_score

N_STRUCTURES, SIZE = 200, 30


def correlated(rng: np.random.Generator, n_structures: int = 40, size: int = 12) -> np.ndarray:
    """Errors half of which are common to a structure."""
    own, common = rng.normal(size=n_structures * size), np.repeat(rng.normal(size=n_structures), size)
    return np.sqrt(0.5) * (own + common)


def test_range_counts_structures_where_components_repeat_each_other() -> None:
    # Every component of a structure repeats one draw, so 6000 components are worth 200.
    rng = np.random.default_rng(5)
    z = np.repeat(rng.normal(size=N_STRUCTURES), SIZE)
    grouped = coverage_range(z, np.repeat(np.arange(N_STRUCTURES), SIZE))
    separate = coverage_range(z, np.arange(z.size))
    assert grouped is not None and separate is not None
    assert np.ptp(grouped) == pytest.approx(2 * 1.645 * np.sqrt(0.09 / N_STRUCTURES), rel=0.2)
    assert np.ptp(grouped) / np.ptp(separate) == pytest.approx(np.sqrt(SIZE), rel=0.1)


def test_range_holds_the_nominal_coverage_of_correlated_samples_nine_times_in_ten() -> None:
    rng = np.random.default_rng(8)
    structure = np.repeat(np.arange(40), 12)
    held = 0
    for _ in range(400):
        found = coverage_range(correlated(rng), structure)
        assert found is not None
        held += found[0] <= 0.9 <= found[1]
    assert held / 400 == pytest.approx(0.9, abs=0.05)


def test_range_of_full_coverage_and_of_one_structure() -> None:
    few, many = (coverage_range(np.zeros(n), np.arange(n)) for n in (5, 100))
    assert few is not None and few[0] < 0.9 and few[1] == pytest.approx(1)  # five of five say nothing against 90 %
    assert many is not None and many[0] > 0.95
    assert coverage_range(np.zeros(30), np.zeros(30, dtype=int)) is None


def test_bootstrap_ranges_hold_the_truth_nine_times_in_ten() -> None:
    rng = np.random.default_rng(9)
    structure, std = np.repeat(np.arange(40), 12), np.full(480, 0.2)
    truth = {"coverage_90": 0.9, "rms_z": 1.0, "crps": 0.2 / np.sqrt(np.pi), "width_factor": 1.0}
    held = dict.fromkeys(truth, 0)
    for _ in range(150):
        found = bootstrap_ranges(0.2 * correlated(rng), std, structure)
        for name, value in truth.items():
            held[name] += found[name][0] <= value <= found[name][1]
    # Percentile ranges of 40 units are known to be a little short.
    assert all(0.8 < count / 150 < 0.97 for count in held.values()), held


def test_bootstrap_is_that_of_drawing_structures_one_by_one() -> None:
    rng = np.random.default_rng(10)
    z = correlated(rng, 30, 7)
    std = np.repeat(rng.uniform(0.5, 2, 30), 7)
    structure = np.repeat(np.arange(30) + 5, 7)
    found = bootstrap_ranges(z * std, std, structure)
    by_hand = []
    for _ in range(4000):
        drawn = (7 * rng.integers(0, 30, 30)[:, None] + np.arange(7)).ravel()
        crps = ranked_probability_score(z[drawn] * std[drawn], std[drawn]).mean()
        by_hand.append([covered(z[drawn], 0.9).mean(), np.sqrt(np.mean(z[drawn] ** 2)), crps])
    expected = np.quantile(by_hand, [0.05, 0.95], axis=0).T
    for (low, high), name in zip(expected, ("coverage_90", "rms_z", "crps"), strict=True):
        assert found[name] == pytest.approx((low, high), abs=0.2 * (high - low))


def test_same_sample_same_range_and_none_for_a_handful() -> None:
    z, structure = np.random.default_rng(1).normal(size=60), np.repeat(np.arange(6), 10)
    assert bootstrap_ranges(z, np.ones(60), structure) == bootstrap_ranges(z, np.ones(60), structure)
    assert bootstrap_ranges(z[:40], np.ones(40), structure[:40]) == {}
    assert np.isnan(reliability_band(z[:40], structure[:40], np.array([0.5]))[0]).all()


def test_infinite_errors_give_infinite_ranges_not_nan() -> None:
    std = np.repeat([0.0, 1.0], 30)
    found = bootstrap_ranges(np.ones(60), std, np.repeat(np.arange(12), 5))
    assert found["rms_z"][1] == np.inf and found["width_factor"][1] == np.inf
    assert not any(np.isnan(value) for span in found.values() for value in span)


def test_band_surrounds_the_reliability_curve() -> None:
    rng = np.random.default_rng(12)
    z, structure = correlated(rng), np.repeat(np.arange(40), 12)
    levels = np.linspace(0.05, 0.95, 19)
    low, high = reliability_band(z, structure, levels)
    curve = np.array([covered(z, level).mean() for level in levels])
    assert (low <= curve).all() and (curve <= high).all()
    width = np.ptp(bootstrap_ranges(z, np.ones(480), structure)["coverage_90"])
    assert high[17] - low[17] == pytest.approx(width, rel=0.1)
