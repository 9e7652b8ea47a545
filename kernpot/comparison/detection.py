"""Do error bars find the bad forces? ROC curves of the predicted std, and what a gate would let pass."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernpot.comparison.resampling import CONFIDENCE, FloatArray, judge, resamples
from kernpot.comparison.scoring import Record
from kernpot.dynamics.tolerance import FEWEST_FRAMES, quantile
from kernpot.errors import KernpotWarning

FAMILIAR = 0.95
# Bad forces in fewer structures than this say nothing of others: each potential needs as many.
MIN_BAD = 5
MISSED = 0.01
N_POINTS = 101


@dataclass(frozen=True)
class Gate:
    """What a threshold on the largest std of a frame's force components does.

    A failure is a frame with a force component wrong by more than the tolerance.

    Attributes
    ----------
    threshold : float
        eV/Angstrom, from training structures left out in turn or held out (`kernpot.dynamics.tolerance`).
    frames, failures : int
    missed : int
        Failures that the gate lets pass.
    passed : int
        Frames that it lets pass.
    false_alarms : int
        Good frames that it stops.
    """

    threshold: float
    frames: int
    failures: int
    missed: int
    passed: int
    false_alarms: int


@dataclass(frozen=True)
class Curve:
    """How well the std of one potential tells bad forces from good ones.

    Attributes
    ----------
    bad : float
        Share of atoms whose force vector is wrong by more than the tolerance.
    auc : float or None
        Probability that a bad force has a larger std than a good one; None where all or none are bad.
    range : (float, float) or None
        Its 95 % range over resampled structures.
    false_alarms, found : list of float
        The curve: share of good forces above a threshold, and of bad ones.
    gate : Gate or None
        None where the potential has too few training structures to leave out.
    """

    bad: float
    auc: float | None
    range: tuple[float, float] | None
    false_alarms: list[float]
    found: list[float]
    gate: Gate | None


@dataclass(frozen=True)
class Detection:
    """All potentials on one set of structures.

    Attributes
    ----------
    shift : str
    n_shifted, n_familiar : int
        Structures unlike those learnt, and like them; all are asked about.
    tolerance : float
        eV/Angstrom.
    curves : dict of str to Curve
        By potential.
    best : str or None
        The potential with the larger area, where the difference is more than sampling error.
    gap : (float, float) or None
        95 % range of that difference; None where fewer than five structures hold forces that are bad for a potential.
    failed : dict of str to str
        Potentials without an answer, and why.
    """

    shift: str
    n_shifted: int
    n_familiar: int
    tolerance: float
    curves: dict[str, Curve]
    best: str | None
    gap: tuple[float, float] | None
    failed: dict[str, str]


def familiar_tolerance(forces: Mapping[str, Record]) -> float:
    """Error that 19 of 20 force vectors on test structures stay below, all potentials taken together."""
    return float(np.quantile(np.concatenate([record["error"] for record in forces.values()]), FAMILIAR))


def detect(shift: str, answers: Mapping[str, Record], tolerance: float) -> Detection | None:
    """ROC curves for the structures of a shift and the familiar ones together.

    Parameters
    ----------
    shift : str
    answers : mapping of str to dict
        By potential, as `kernpot.comparison.run.answer` gives them.
    tolerance : float
        Error of a force (vector, and component of a frame) above which it is bad, eV/Angstrom.

    Returns
    -------
    Detection or None
        None where no potential has forces to tell of.
    """
    failed = {name: record["failed"] for name, record in answers.items() if "failed" in record}
    whole = {name: record for name, record in answers.items() if name not in failed}
    both = {
        name: (record["forces"], record["shifted"][shift]["forces"])
        for name, record in whole.items()
        if record["forces"] is not None and record["shifted"][shift]["forces"] is not None
    }
    if not both:
        return None
    curves, areas, drawn, telling = {}, {}, {}, []
    for name, (familiar, shifted) in both.items():
        n_familiar, n_shifted = (len(part["largest_error"]) for part in (familiar, shifted))
        error, std = (np.concatenate([familiar[key], shifted[key]]) for key in ("error", "std"))
        owner = np.concatenate([familiar["structure"], np.asarray(shifted["structure"]) + n_familiar])
        bad = error > tolerance
        telling.append(np.unique(owner[bad]).size)
        rank = np.unique(std, return_inverse=True)[1]
        area = weighted_auc(bad, rank, np.ones(bad.size))
        weights = resamples(n_familiar + n_shifted)[:, owner]
        # Negative, as the judge takes the smaller value for the better one.
        drawn[name] = np.array([-_or_nan(weighted_auc(bad, rank, weight)) for weight in weights])
        areas[name] = -_or_nan(area)
        span = None if area is None else _range(-drawn[name])
        gate = _gate(familiar, shifted, whole[name]["left_out"], tolerance)
        curves[name] = Curve(float(bad.mean()), area, span, *_roc(bad, std), gate)
    best, gap = judge(areas, drawn, n_familiar + n_shifted) if min(telling) >= MIN_BAD else (None, None)
    return Detection(shift, n_shifted, n_familiar, tolerance, curves, best, gap, failed)


def weighted_auc(bad: NDArray[np.bool_], rank: NDArray[np.int64], weight: FloatArray) -> float | None:
    """Area under the ROC curve of weighted samples; None where all or none are bad.

    Parameters
    ----------
    bad : ndarray of bool of shape (n,)
    rank : ndarray of int of shape (n,)
        Of the std; samples of one rank count half.
    weight : ndarray of shape (n,)
    """
    positive = np.bincount(rank, weights=weight * bad)
    negative = np.bincount(rank, weights=weight * ~bad)
    if not positive.any() or not negative.any():
        return None
    below = np.cumsum(negative) - 0.5 * negative
    return float(positive @ below / (positive.sum() * negative.sum()))


def _roc(bad: NDArray[np.bool_], values: FloatArray) -> tuple[list[float], list[float]]:
    """The curve at evenly spread rates of false alarms; empty where all or none are bad."""
    if bad.all() or not bad.any():
        return [], []
    # Ties are passed in one step, so that their order says nothing.
    place = np.unique(-values, return_inverse=True)[1]
    alarms, found = (np.append(0.0, np.cumsum(np.bincount(place, weights=w)) / w.sum()) for w in (~bad, bad))
    grid = np.linspace(0, 1, N_POINTS)
    return grid.tolist(), [round(float(x), 5) for x in np.interp(grid, alarms, found)]


def _gate(familiar: Record, shifted: Record, left_out: list[float] | None, tolerance: float) -> Gate | None:
    if left_out is None or len(left_out) < FEWEST_FRAMES:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernpotWarning)  # an extrapolated threshold is judged like any other
        threshold = tolerance / quantile(np.asarray(left_out), MISSED)
    error, std = (np.concatenate([familiar[key], shifted[key]]) for key in ("largest_error", "largest_std"))
    failure, passed = error > tolerance, std <= threshold
    return Gate(
        threshold=float(threshold),
        frames=int(error.size),
        failures=int(failure.sum()),
        missed=int((failure & passed).sum()),
        passed=int(passed.sum()),
        false_alarms=int((~failure & ~passed).sum()),
    )


def _range(areas: FloatArray) -> tuple[float, float]:
    low, high = np.nanquantile(areas, [0.5 * (1 - CONFIDENCE), 0.5 * (1 + CONFIDENCE)])
    return float(low), float(high)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
