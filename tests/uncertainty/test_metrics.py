"""Calibration measures: right where the answer is known, and able to see what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from kernpot.uncertainty.metrics import LEVELS, Metrics, compute_metrics

N_STRUCTURES, SIZE = 200, 30


def sample(true_over_claimed: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    std = rng.lognormal(-2, 1, N_STRUCTURES * SIZE)
    return rng.normal(0, true_over_claimed * std), std, np.repeat(np.arange(N_STRUCTURES), SIZE)


def metrics(error: np.ndarray, std: np.ndarray, structure: np.ndarray) -> Metrics:
    return compute_metrics("stress", "all", "GPa", error, std, structure)


def test_a_calibrated_sample_covers_what_it_claims() -> None:
    row = metrics(*sample())
    for level in LEVELS:
        assert row.coverage[level] == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 6000))
    assert row.rms_z == pytest.approx(1, abs=0.05)
    assert row.width_factor == pytest.approx(1, abs=0.05)
    assert row.coverage_range is not None and row.coverage_range[0] < 0.9 < row.coverage_range[1]
    assert row.miscalibration_area < 0.02 and row.ence is not None and row.ence < 0.1
    assert row.spearman == pytest.approx(row.spearman_oracle, abs=0.03) and row.spearman < 0.75
    assert row.dispersion == pytest.approx(np.sqrt(np.e - 1), rel=0.15)  # of a log-normal of unit width
    assert row.norm_coverage is None
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


def test_zero_std_is_infinitely_wrong_unless_the_error_is_zero() -> None:
    row = metrics(np.array([0.0, 0.0]), np.zeros(2), np.array([0, 1]))
    assert row.rms_z == 0 and row.coverage[0.5] == 1
    row = metrics(np.array([0.0, 1e-9]), np.zeros(2), np.array([0, 1]))
    assert row.rms_z == np.inf and row.coverage[0.95] == 0.5


def test_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="no stress labels in 'all'"):
        metrics(np.zeros(0), np.zeros(0), np.zeros(0, dtype=int))


def test_every_tenth_of_the_stds_is_looked_at() -> None:
    error, std, structure = sample()
    right = metrics(error, std, structure).deciles
    assert len(right) == 10 and right[9].coverage == pytest.approx(0.9, abs=0.04)
    wrong = metrics(np.where(std > np.quantile(std, 0.9), 4 * error, error), std, structure).deciles
    assert [decile.std for decile in wrong] == sorted(decile.std for decile in wrong)
    assert all(decile.coverage == pytest.approx(0.9, abs=0.04) for decile in wrong[:9])
    assert wrong[9].coverage < 0.5 and wrong[9].rms_z == pytest.approx(4, rel=0.1)
    assert metrics(error[:199], std[:199], structure[:199]).deciles == ()


def test_vanishing_components_count_in_errors_only() -> None:
    error, std, structure = sample(2.0)
    padded = [np.concatenate([part, filler]) for part, filler in ((error, np.zeros(6000)), (std, np.full(6000, 0.1)))]
    gone = np.arange(12000) >= 6000
    row = compute_metrics("forces", "all", "eV/Å", *padded, np.tile(structure, 2), gone)
    plain = compute_metrics("forces", "all", "eV/Å", error, std, structure)
    assert row.n_components == 12000 and row.n_vanishing == 6000 and row.n_judged == 6000
    assert row.mae == pytest.approx(0.5 * plain.mae)
    assert (row.coverage, row.rms_z, row.crps, row.ranges) == (plain.coverage, plain.rms_z, plain.crps, plain.ranges)
    assert row.norm_coverage == plain.norm_coverage


def test_where_everything_vanishes_there_is_nothing_to_judge() -> None:
    row = compute_metrics("forces", "all", "eV/Å", np.zeros(3), np.ones(3), np.zeros(3, dtype=int), np.full(3, True))
    assert row.mae == 0 and np.isnan(row.rms_z) and np.isnan(row.coverage[0.9])
    assert row.n_structures_judged == 0 and row.norm_coverage is None and row.deciles == () and not row.ranges


def test_forces_come_in_threes() -> None:
    with pytest.raises(ValueError, match="must come in threes, atom by atom, got 4"):
        compute_metrics("forces", "all", "eV/Å", np.zeros(4), np.ones(4), np.zeros(4, dtype=int))
