"""Sampling error of calibration measures: structures are drawn again, since components of one are not independent.

Sums over the components of each structure are formed once; a resample is then a vector of counts, and all resamples are
one matrix product (Davison and Hinkley, Bootstrap Methods and their Application, section 3.8: resampling of clusters).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from kernpot.tails import half_width, normal_score
from kernpot.uncertainty.scores import FloatArray, covered, ranked_probability_score, reached_level, standardised

N_RESAMPLES = 500
CONFIDENCE = 0.9
_QUANTILES = (0.5 * (1 - CONFIDENCE), 0.5 * (1 + CONFIDENCE))
MIN_STRUCTURES = 5
_FINE_BINS = 400
_CHUNK = 10_000_000
_HUGE = 1e280

Range = tuple[float, float]


def bootstrap_ranges(
    error: FloatArray, std: FloatArray, structure: NDArray[np.int64], degrees_of_freedom: float = np.inf
) -> dict[str, Range]:
    """Percentile ranges (90 % confidence) of calibration measures over resampled structures.

    Parameters
    ----------
    error, std : ndarray of shape (n,)
    structure : ndarray of int of shape (n,)
        Which structure each component belongs to.
    degrees_of_freedom : float
        Of the tails that were predicted.

    Returns
    -------
    dict of str to (float, float)
        ``coverage_90``, ``rms_z``, ``crps`` and ``width_factor``; empty for fewer than five structures, of which
        resampling would say nothing. Where all labels are covered that of the coverage is one point: see
        `coverage_range`.
    """
    owner, n_structures = _owners(structure)
    if n_structures < MIN_STRUCTURES:
        return {}
    z = standardised(error, std)
    size = np.abs(z)
    edges = np.quantile(size, np.linspace(0, 1, _FINE_BINS + 1)[1:], method="higher")
    fine = _histogram(owner, n_structures, np.searchsorted(edges, size), _FINE_BINS)
    # Not drawn times infinite would be NaN, so a std of zero that met an error counts as this until the end.
    square = np.minimum(z**2, _HUGE)
    inside = covered(normal_score(z, degrees_of_freedom), 0.9).astype(np.float64)
    columns = (np.ones(z.size), inside, square, ranked_probability_score(error, std, degrees_of_freedom))
    half = half_width(0.9, degrees_of_freedom)
    sums = np.stack([np.bincount(owner, weights=column) for column in columns], axis=1)
    found: dict[str, list[FloatArray]] = {name: [] for name in ("coverage_90", "rms_z", "crps", "width_factor")}
    for count in _resamples(n_structures, sums.shape[1] + _FINE_BINS):
        total, hits, square, crps = (count @ sums).T
        found["coverage_90"].append(hits / total)
        found["rms_z"].append(np.sqrt(np.where(square < _HUGE, square / total, np.inf)))
        found["crps"].append(crps / total)
        below = np.cumsum(count @ fine, axis=1)
        found["width_factor"].append(edges[np.argmax(below >= 0.9 * total[:, None], axis=1)] / half)
    return {name: _range(np.concatenate(values)) for name, values in found.items()}


def coverage_range(z: FloatArray, structure: NDArray[np.int64], level: float = 0.9) -> Range | None:
    """90 % confidence range of the coverage at `level`, knowing that components of one structure are not independent.

    Wilson's interval with the effective sample size ``p (1 - p) / v``, where v is the variance of the coverage p
    between structures (linearised ratio estimator: Cochran, Sampling Techniques, 3rd ed., eq. 6.13). Where all or none
    are covered v says nothing, and structures are counted instead of components.

    Returns
    -------
    low, high : float
        None for a single structure.
    """
    owner, n_structures = _owners(structure)
    sizes: FloatArray = np.bincount(owner).astype(np.float64)
    hits: FloatArray = np.bincount(owner, weights=covered(z, level)).astype(np.float64)
    return share_range(hits, sizes) if n_structures > 1 else None


def share_range(hits: FloatArray, sizes: FloatArray) -> Range:
    """The range of :func:`coverage_range` from what was counted in each structure.

    Parameters
    ----------
    hits, sizes : ndarray of shape (n_structures,)
        Components that are covered, and all of them; two structures or more.
    """
    n_structures, total = sizes.size, float(sizes.sum())
    share = float(hits.sum() / total)
    variance = n_structures / (n_structures - 1) * np.sum((hits - share * sizes) ** 2) / total**2
    if share in (0.0, 1.0):
        n_effective = float(n_structures)
    else:
        n_effective = total if variance == 0 else float(np.clip(share * (1 - share) / variance, 1, total))
    quantile = norm.ppf(0.95)
    spread = quantile**2 / n_effective
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def reliability_band(z: FloatArray, structure: NDArray[np.int64], levels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Range (90 % confidence, level by level) of the share of labels inside central intervals.

    Parameters
    ----------
    z : ndarray of shape (n,)
        Errors in units of their std.
    structure : ndarray of int of shape (n,)
    levels : ndarray of shape (L,)
        Growing probabilities.

    Returns
    -------
    low, high : ndarray of shape (L,)
        NaN for fewer than five structures.
    """
    owner, n_structures = _owners(structure)
    if n_structures < MIN_STRUCTURES:
        nothing = np.full(levels.size, np.nan)
        return nothing, nothing
    reached = np.searchsorted(levels, reached_level(z))
    hits = _histogram(owner, n_structures, reached, levels.size + 1)
    parts = []
    for count in _resamples(n_structures, hits.shape[1]):
        inside = np.cumsum(count @ hits, axis=1)
        parts.append(inside[:, :-1] / inside[:, -1:])
    low, high = np.quantile(np.concatenate(parts), _QUANTILES, axis=0)
    return low, high


def _owners(structure: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    names, owner = np.unique(structure, return_inverse=True)
    return owner, names.size


def _histogram(owner: NDArray[np.int64], n_structures: int, place: NDArray[np.int64], n_bins: int) -> FloatArray:
    """How many components of each structure lie in each bin: (n_structures, n_bins)."""
    flat = np.bincount(owner * n_bins + place, minlength=n_structures * n_bins)
    return flat.reshape(n_structures, n_bins).astype(np.float64)


def _resamples(n_structures: int, n_columns: int) -> Iterator[FloatArray]:
    """How often each structure is drawn in each resample, some resamples at a time to bound memory."""
    rng = np.random.default_rng(0)
    at_once = max(1, min(N_RESAMPLES, _CHUNK // (n_structures + n_columns)))
    for start in range(0, N_RESAMPLES, at_once):
        shape = min(at_once, N_RESAMPLES - start)
        yield rng.multinomial(n_structures, np.full(n_structures, 1.0 / n_structures), shape).astype(np.float64)


def _range(values: FloatArray) -> Range:
    # No interpolation: between two infinite values it would make NaN.
    low, high = np.quantile(values, _QUANTILES, method="nearest")
    return float(low), float(high)
