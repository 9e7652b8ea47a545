"""Scores of errors against the distributions that were predicted for them; every function works on plain arrays.

Formulas: Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007) for the continuous ranked probability score; Levi et
al., Sensors 22, 5540 (2022) for the expected normalised calibration error; Kuleshov, Fenner and Ermon, ICML 2018, for
miscalibration.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm, rankdata

from kernpot import tails

FloatArray = NDArray[np.float64]

MIN_PER_BIN = 20
_MAX_BINS = 20
_VANISHING = 1e-4


def standardised(error: FloatArray, std: FloatArray) -> FloatArray:
    """Error in units of its std; infinite where a std of zero met an error, 0 where it met none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((error == 0) & (std == 0), 0.0, error / std)


def covered(z: FloatArray, level: float) -> NDArray[np.bool_]:
    """Which labels lie inside the central Gaussian interval of probability `level`."""
    return np.abs(z) <= norm.ppf(0.5 * (1.0 + level))


def reached_level(z: FloatArray) -> FloatArray:
    """Probability of the smallest central interval that holds each label; uniform in (0, 1) where stds are right."""
    return norm.cdf(np.abs(z)) - norm.cdf(-np.abs(z))


def vanishing(label: FloatArray, mean: FloatArray, epistemic_std: FloatArray) -> NDArray[np.bool_]:
    """Components that symmetry makes zero: label, prediction and epistemic std all vanish beside those of the others.

    Nothing was at risk there: an interval of any width holds them. Where the label does not vanish as the model says,
    the component counts as any other. "Vanish" is below 1e-4 of the root mean square over all components.
    """
    return np.logical_and.reduce(
        [np.abs(part) <= _VANISHING * np.sqrt(np.mean(part**2)) for part in (label, mean, epistemic_std)]
    )


def ranked_probability_score(error: FloatArray, std: FloatArray, degrees_of_freedom: float = np.inf) -> FloatArray:
    """Continuous ranked probability score of each label, in its unit; smaller is better, ``|error|`` where std is 0."""
    certain = std == 0
    safe = np.where(certain, 1.0, std)
    return np.where(certain, np.abs(error), safe * tails.crps(error / safe, degrees_of_freedom))


def negative_log_likelihood(error: FloatArray, std: FloatArray, degrees_of_freedom: float = np.inf) -> float:
    """Mean negative log density; infinite when a std of zero met an error (not when it met none)."""
    certain = std == 0
    if np.any(certain & (error != 0)):
        return float("inf")
    if certain.all():
        return float("nan")
    e, s = error[~certain], std[~certain]
    return float(np.mean(tails.negative_log_density(e / s, degrees_of_freedom) + np.log(s)))


def miscalibration_area(z: FloatArray) -> float:
    """Area between the reliability curve of central intervals and the diagonal: 0 is ideal, 0.5 the worst."""
    reached = np.sort(reached_level(z))
    low = np.arange(z.size) / z.size
    high = low + 1.0 / z.size
    inside = (reached > low) & (reached < high)
    split = 0.5 * ((reached - low) ** 2 + (high - reached) ** 2)
    return float(np.sum(np.where(inside, split, np.abs(reached - 0.5 * (low + high)) / z.size)))


def equal_count_bins(std: FloatArray, n_bins: int) -> list[NDArray[np.int64]]:
    """Indices of `n_bins` parts of (nearly) equal count, in the order of growing std."""
    return np.array_split(np.argsort(std, kind="stable"), n_bins)


def expected_normalised_calibration_error(error: FloatArray, std: FloatArray) -> float | None:
    """Mean over bins of ``|RMV - RMSE| / RMV``, with RMV the rms std of a bin; None below two bins of 20.

    Bins hold at least 20 components. Sampling alone leaves about ``0.56 / sqrt(components in a bin)``.
    """
    n_bins = min(_MAX_BINS, std.size // MIN_PER_BIN)
    if n_bins < 2:
        return None
    bins = equal_count_bins(std, n_bins)
    rmv, rmse = (np.sqrt([np.mean(values[chosen] ** 2) for chosen in bins]) for values in (std, error))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(np.where(rmv == rmse, 0.0, np.abs(rmv - rmse) / rmv)))


def norm_coverage(z: FloatArray, judged: NDArray[np.bool_], level: float) -> float | None:
    """Share of atoms whose force vector lies within the ellipsoid of probability `level` about its mean.

    The norm of three standardised components follows chi_3 when they are independent, which is how they are taken here
    (the correlation of the components of one force is left out).

    Parameters
    ----------
    z : ndarray of shape (3 n_atoms,)
        Standardised force components, atom by atom.
    judged : ndarray of bool of shape (3 n_atoms,)
        False for components that vanish by symmetry: they are not counted as degrees of freedom.
    level : float
        Probability.

    Returns
    -------
    float or None
        None when every component vanishes.
    """
    freedom = judged.reshape(-1, 3).sum(axis=1)
    square = np.where(judged, z, 0.0).reshape(-1, 3) ** 2
    moving = freedom > 0
    if not moving.any():
        return None
    return float(np.mean(square.sum(axis=1)[moving] <= chi2.ppf(level, freedom[moving])))


def rank_correlation(a: FloatArray, b: FloatArray) -> float | None:
    """Spearman's rank correlation; None for fewer than three values or when one side is constant but for rounding."""
    if a.size < 3 or any(np.ptp(side) <= 1e-6 * np.abs(side).max() for side in (a, b)):
        return None
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def oracle_rank_correlation(std: FloatArray, degrees_of_freedom: float = np.inf) -> float | None:
    """Rank correlation that perfect stds reach on average: errors are drawn from the stds themselves.

    Even an oracle stays well below 1, since an error is one draw and small ones come from large stds too.
    """
    rng = np.random.default_rng(0)
    nu = degrees_of_freedom
    draw = rng.standard_normal if np.isinf(nu) else partial(rng.standard_t, nu)
    n_draws = int(np.clip(200_000 // std.size, 10, 200))
    found = [rank_correlation(np.abs(std * draw(std.size)), std) for _ in range(n_draws)]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None
