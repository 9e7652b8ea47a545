"""Labels scatter with heavier tails than a Gaussian: Student's t with a given standard deviation.

``t_nu`` scaled to unit variance; ``nu`` infinite is the Gaussian. The standard deviation says how large errors are and
``nu`` how unequal: a mixture of well and badly described environments has many small errors and a few large ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln
from scipy.stats import norm, t

FloatArray = NDArray[np.float64]

LEAST = 3.0
"""Least degrees of freedom: heavier tails hardly have a variance."""


def unit_scale(degrees_of_freedom: float) -> float:
    """Scale at which Student's t has unit variance."""
    return 1.0 if math.isinf(degrees_of_freedom) else math.sqrt((degrees_of_freedom - 2) / degrees_of_freedom)


def half_width(level: float, degrees_of_freedom: float = math.inf) -> float:
    """Half the central interval of probability `level`, in standard deviations."""
    return float(t.ppf(0.5 * (1.0 + level), degrees_of_freedom)) * unit_scale(degrees_of_freedom)


def normal_score(z: ArrayLike, degrees_of_freedom: float = math.inf) -> FloatArray:
    """Where errors of ``z`` standard deviations lie, as quantiles of the standard normal.

    Standard normal when the predictive distribution is right, so that coverage can be read off normal quantiles.
    """
    z = np.asarray(z, dtype=np.float64)
    if math.isinf(degrees_of_freedom):
        return z
    size = norm.isf(t.sf(np.abs(z) / unit_scale(degrees_of_freedom), degrees_of_freedom))
    score: FloatArray = np.sign(z) * size
    return score


def crps(z: ArrayLike, degrees_of_freedom: float = math.inf) -> FloatArray:
    """Continuous ranked probability score of errors of ``z`` standard deviations, in standard deviations.

    Gneiting and Raftery, J. Am. Stat. Assoc. 102, 359 (2007), eq. 21; for Student's t Jordan, Krueger and Lerch,
    J. Stat. Softw. 90 (12) (2019), appendix A.
    """
    z = np.asarray(z, dtype=np.float64)
    nu = degrees_of_freedom
    if math.isinf(nu):
        gaussian: FloatArray = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi)
        return gaussian
    x = z / unit_scale(nu)
    spread = 2 * math.sqrt(nu) / (nu - 1) * math.exp(betaln(0.5, nu - 0.5) - 2 * betaln(0.5, 0.5 * nu))
    score: FloatArray = x * (2 * t.cdf(x, nu) - 1) + 2 * t.pdf(x, nu) * (nu + x**2) / (nu - 1) - spread
    return score * unit_scale(nu)


def negative_log_density(z: ArrayLike, degrees_of_freedom: float = math.inf) -> FloatArray:
    """Negative log density of errors of ``z`` standard deviations, of unit standard deviation."""
    scale = unit_scale(degrees_of_freedom)
    value: FloatArray = math.log(scale) - t.logpdf(np.asarray(z, dtype=np.float64) / scale, degrees_of_freedom)
    return value
