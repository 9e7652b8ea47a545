"""Predictions: consistent shapes, honest intervals, readable numbers."""

from __future__ import annotations

import numpy as np
import pytest

from kernpot.errors import NumericalError
from kernpot.prediction import JointCovariance, Prediction, Quantity


def quantity(*shape: int, std: float = 0.1) -> Quantity:
    return Quantity(np.zeros(shape), np.full(shape, 0.5 * std), np.full(shape, std), "eV")


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_interval_holds_labels_drawn_from_it_as_often_as_it_says(level: float) -> None:
    rng = np.random.default_rng(3)
    mean, std = rng.normal(size=20000), rng.uniform(0.1, 2, size=20000)
    low, high = Quantity(mean, std, std, "eV").interval(level)
    label = rng.normal(mean, std)
    covered = np.mean((low <= label) & (label <= high))
    assert covered == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 20000))


@pytest.mark.parametrize("level", [0.0, 1.0, 90, -0.1, float("nan")])
def test_level_outside_the_unit_interval_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantity(3).interval(level)


def test_quantity_refuses_what_is_not_a_distribution() -> None:
    with pytest.raises(ValueError, match=r"std must have the mean's shape \(3,\), got \(1,\)"):
        Quantity(np.zeros(3), np.zeros(3), np.zeros(1), "eV")
    with pytest.raises(ValueError, match="not be negative"):
        Quantity(0.0, -1e-9, 0.0, "eV")
    with pytest.raises(NumericalError, match="1 NaN or infinite of 2"):
        Quantity(np.array([0.0, np.nan]), np.ones(2), np.ones(2), "eV")


def test_arrays_are_read_only_copies_in_double_precision() -> None:
    values = np.ones(2, dtype=np.float32)
    result = Quantity(values, values, values, "eV")
    values[0] = 7
    assert result.mean[0] == 1 and result.mean.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        result.std[0] = 0


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (-5.1234567, 0.0041, "-5.1235 ± 0.0041 eV"),
        (1234.5678, 12.3, "1235 ± 12 eV"),
        (0.5, 0.25, "0.50 ± 0.25 eV"),
        (0.5, 0.0, "0.5 ± 0 eV"),
    ],
)
def test_repr_shows_as_many_digits_as_are_known(mean: float, std: float, text: str) -> None:
    assert repr(Quantity(mean, std, std, "eV")) == text


def test_prediction_checks_shapes_against_the_number_of_atoms() -> None:
    good = Prediction(quantity(), quantity(4), quantity(4, 3), quantity(6))
    assert good.mean.forces.shape == (4, 3) and good.mean.stress is not None
    assert Prediction(quantity(), quantity(4), quantity(4, 3)).mean.stress is None
    with pytest.raises(ValueError, match=r"forces must have shape \(4, 3\)"):
        Prediction(quantity(), quantity(4), quantity(3, 3))
    with pytest.raises(ValueError, match=r"stress must have shape \(6,\)"):
        Prediction(quantity(), quantity(4), quantity(4, 3), quantity(3, 3))


def test_covariance_blocks() -> None:
    size = 1 + 3 * 2 + 6
    total = np.arange(size * size, dtype=float).reshape(size, size)
    joint = JointCovariance(0.5 * total, total, n_atoms=2, has_stress=True)
    assert joint.block("energy", "energy").shape == (1, 1)
    np.testing.assert_array_equal(joint.block("energy", "forces"), total[:1, 1:7])
    np.testing.assert_array_equal(joint.block("stress", "forces", epistemic=True), 0.5 * total[7:, 1:7])
    with pytest.raises(ValueError, match=r"must have shape \(7, 7\)"):
        JointCovariance(total, total, n_atoms=2, has_stress=False)
    molecule = JointCovariance(np.eye(7), np.eye(7), n_atoms=2, has_stress=False)
    with pytest.raises(KeyError, match="no quantity 'stress'"):
        molecule.block("stress", "energy")
