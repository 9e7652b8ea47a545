"""Thresholds from tolerances: the promised rate holds, and nonsense is refused."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from kernpot.dynamics.tolerance import frame_scores, quantile, threshold_for
from kernpot.errors import KernpotError, KernpotWarning
from kernpot.prediction import LeftOut
from tests.helpers.fakes import LennardJones, drawn_frames

TOLERANCE = 0.3


class Known(LennardJones):
    """Force errors and stds of structures left out are those given."""

    def __init__(self, found: list[LeftOut]) -> None:
        super().__init__()
        self.found = found

    def left_out(self) -> list[LeftOut]:
        return self.found


def frames(n: int, rng: np.random.Generator, larger: float = 1.0) -> list[LeftOut]:
    """Errors with tails, in frames whose stds differ by factors."""
    stds = larger * np.exp(rng.normal(-2.5, 0.7, (n, 1, 1))) * rng.uniform(0.5, 1, (n, 8, 3))
    return [LeftOut(rng.standard_t(6, s.shape) * s, s) for s in stds]


def missed_rate(found: list[LeftOut], threshold: float) -> float:
    """Part of all frames that is let through with an error above the tolerance."""
    return float(np.mean([f.std.max() <= threshold and np.abs(f.errors).max() > TOLERANCE for f in found]))


@pytest.mark.parametrize("larger", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("missed", [0.02, 0.1])
def test_the_promise_holds(missed: float, larger: float) -> None:
    """Over many calibrations, and for frames of other stds than those of the calibration."""
    rng = np.random.default_rng(0)
    later = frames(2000, rng, larger)
    rates = [missed_rate(later, threshold_for(Known(frames(200, rng)), TOLERANCE, missed)) for _ in range(20)]
    assert np.mean(rates) <= missed


def test_is_not_needlessly_small() -> None:
    """Where all frames have one std, the rate of errors above the tolerance at the threshold is the promised one."""
    rng = np.random.default_rng(1)

    def alike(n: int, std: float) -> list[LeftOut]:
        return [LeftOut(rng.normal(0, std, (8, 3)), np.full((8, 3), std)) for _ in range(n)]

    threshold = threshold_for(Known(alike(4000, 0.1)), TOLERANCE, 0.1)
    assert missed_rate(alike(4000, threshold), threshold) == pytest.approx(0.1, abs=0.025)


def test_few_frames_extrapolate_with_a_warning() -> None:
    """On average over calibrations the extrapolated thresholds miss no more than ten times the promise, few at all."""
    rng = np.random.default_rng(2)
    later = frames(4000, rng)
    with pytest.warns(KernpotWarning, match="40 calibration frames"):
        threshold_for(Known(frames(40, rng)), TOLERANCE, 0.005)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thresholds = [threshold_for(Known(frames(40, rng)), TOLERANCE, 0.005) for _ in range(30)]
    assert np.mean([missed_rate(later, t) for t in thresholds]) < 0.01
    assert np.median(thresholds) > 0.3 * threshold_for(Known(frames(4000, rng)), TOLERANCE, 0.005)


def test_order_statistic() -> None:
    scores = np.arange(1.0, 100.0)
    assert quantile(scores, 0.01) == 99.0
    assert quantile(scores, 0.1) == 90.0
    with pytest.warns(KernpotWarning, match="99 calibration frames"):
        assert quantile(scores, 0.009) >= 99.0


def test_component_maxima() -> None:
    found = [(np.array([[0.1, -0.6, 0.0]]), np.array([[0.2, 0.1, 0.3]]))]
    assert frame_scores(found).tolist() == [pytest.approx(2.0)]


def test_given_frames() -> None:
    """Labelled frames serve as those left out do; a potential twice as sure needs half the threshold."""
    labelled = drawn_frames(60)
    threshold = threshold_for(LennardJones(), TOLERANCE, 0.1, labelled)
    assert threshold_for(LennardJones(force_std=0.005), TOLERANCE, 0.1, labelled) == pytest.approx(threshold / 2)
    learnt = LennardJones().fit(labelled)
    assert learnt.left_out()
    assert 0.05 < threshold_for(learnt, TOLERANCE, 0.1) < TOLERANCE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"missed": 0}, "missed"),
        ({"missed": 0.5}, "missed"),
        ({"missed": -0.1}, "missed"),
        ({"max_force_error": 0.0}, "max_force_error"),
        ({"max_force_error": -0.3}, "max_force_error"),
        ({"max_force_error": float("nan")}, "max_force_error"),
        ({"calibration": drawn_frames(9)}, "at least 10 structures.*got 9"),
        ({"calibration": [Atoms("Ar")]}, "at least 10 structures"),
        ({}, "at least 10 structures.*left out"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], expected: str) -> None:
    arguments = {"max_force_error": TOLERANCE, "missed": 0.1} | changes
    with pytest.raises(KernpotError, match=expected):
        threshold_for(LennardJones(), **arguments)
