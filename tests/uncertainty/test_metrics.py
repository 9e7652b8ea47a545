"""Calibration measures: right where the answer is known, and able to see what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from kernpot.uncertainty.metrics import LEVELS, Metrics, compute_metrics, coverage_range, rank_correlation

N_STRUCTURES, SIZE = 200, 30


def sample(true_over_claimed: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    std = rng.lognormal(-2, 1, N_STRUCTURES * SIZE)
    return rng.normal(0, true_over_claimed * std), std, np.repeat(np.arange(N_STRUCTURES), SIZE)


def metrics(error: np.ndarray, std: np.ndarray, structure: np.ndarray) -> Metrics:
    return compute_metrics("forces", "all", "eV/Å", error, std, structure)


def test_a_calibrated_sample_covers_what_it_claims() -> None:
    row = metrics(*sample())
    for level in LEVELS:
        assert row.coverage[level] == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 6000))
    assert row.rms_z == pytest.approx(1, abs=0.05)
    assert row.width_factor == pytest.approx(1, abs=0.05)
    assert row.coverage_range is not None and row.coverage_range[0] < 0.9 < row.coverage_range[1]
    assert row.n_structures == N_STRUCTURES and row.n_components == N_STRUCTURES * SIZE


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_wrong_width_is_seen_and_the_factor_repairs_it(factor: float) -> None:
    error, std, structure = sample(factor)
    row = metrics(error, std, structure)
    assert row.rms_z == pytest.approx(factor, rel=0.05)
    assert row.width_factor == pytest.approx(factor, rel=0.05)
    assert (row.coverage[0.9] < 0.9) == (factor > 1)
    repaired = metrics(error, row.width_factor * std, structure)
    assert repaired.coverage[0.9] == pytest.approx(0.9, abs=2e-3)


def test_errors_of_a_hand_made_sample() -> None:
    error = np.array([3.0, -4.0])
    row = metrics(error, np.array([3.0, 2.0]), np.array([0, 1]))
    assert row.mae == 3.5 and row.rmse == pytest.approx(np.sqrt(12.5))
    assert row.rms_z == pytest.approx(np.sqrt(2.5)) and row.sharpness == pytest.approx(np.sqrt(6.5))
    assert dict(row.coverage) == {0.5: 0.0, 0.68: 0.0, 0.9: 0.5, 0.95: 0.5}
    assert row.spearman is None


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
        z = np.sqrt(0.5) * (rng.normal(size=structure.size) + np.repeat(rng.normal(size=40), 12))
        found = coverage_range(z, structure)
        assert found is not None
        held += found[0] <= 0.9 <= found[1]
    assert held / 400 == pytest.approx(0.9, abs=0.05)


def test_range_of_full_coverage_and_of_one_structure() -> None:
    few, many = (coverage_range(np.zeros(n), np.arange(n)) for n in (5, 100))
    assert few is not None and few[0] < 0.9 and few[1] == pytest.approx(1)  # five of five say nothing against 90 %
    assert many is not None and many[0] > 0.95
    assert coverage_range(np.zeros(30), np.zeros(30, dtype=int)) is None


def test_rank_correlation() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 8, 100).astype(float), rng.normal(size=100)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, np.ones(100)) is None


def test_zero_std_is_infinitely_wrong_unless_the_error_is_zero() -> None:
    row = metrics(np.array([0.0, 0.0]), np.zeros(2), np.array([0, 1]))
    assert row.rms_z == 0 and row.coverage[0.5] == 1
    row = metrics(np.array([0.0, 1e-9]), np.zeros(2), np.array([0, 1]))
    assert row.rms_z == np.inf and row.coverage[0.95] == 0.5


def test_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="no forces labels in 'all'"):
        metrics(np.zeros(0), np.zeros(0), np.zeros(0, dtype=int))
