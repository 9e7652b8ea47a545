"""The distribution of a derived property: one value per draw of the potential."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from kernpot.prediction import FloatArray, format_with_std


@dataclass(frozen=True, repr=False, eq=False)
class Propagated:
    """A property of K draws.

    Parameters
    ----------
    values : ndarray of shape (K, ...)
        Value of each draw that found one.
    of_mean : ndarray of shape (...)
        Value of the mean potential.
    unit : str
        Unit of the values.
    failures : tuple of str
        What the draws without a value said.
    """

    values: FloatArray
    of_mean: FloatArray
    unit: str
    failures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values, of_mean = (np.array(x, dtype=np.float64) for x in (self.values, self.of_mean))
        if values.ndim == 0 or len(values) < 2 or values.shape[1:] != of_mean.shape:
            raise ValueError(
                f"expected at least 2 draws of the shape of the mean potential's value {of_mean.shape}, "
                f"got values of shape {values.shape}"
            )
        for name, array in (("values", values), ("of_mean", of_mean)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def mean(self) -> FloatArray:
        """Mean of the draws; it differs from `of_mean` by the curvature of the property (Jensen), and by chance."""
        return np.asarray(self.values.mean(axis=0))

    @property
    def std(self) -> FloatArray:
        """Standard deviation of the draws."""
        return np.asarray(self.values.std(axis=0, ddof=1))

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the components over the draws, shape (n, n) for n components."""
        return np.atleast_2d(np.cov(self.values.reshape(len(self.values), -1), rowvar=False))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        return self.of_mean.shape

    def interval(self, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Central interval for one more draw, were the property Gaussian.

        ``mean -+ t std sqrt(1 + 1/K)`` with the quantile ``t`` of Student's distribution with K - 1 degrees of freedom:
        mean and std of K draws are themselves uncertain, and the interval is right at any K.
        """
        _require_level(level)
        n = len(self.values)
        half = student.ppf(0.5 * (1.0 + level), n - 1) * self.std * np.sqrt(1.0 + 1.0 / n)
        return self.mean - half, self.mean + half

    def quantiles(self, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Central interval between quantiles of the draws, for properties that are far from Gaussian."""
        _require_level(level)
        low, high = np.quantile(self.values, [0.5 * (1.0 - level), 0.5 * (1.0 + level)], axis=0, method="weibull")
        return np.asarray(low), np.asarray(high)

    def map(self, function: Callable[[FloatArray], ArrayLike], unit: str | None = None) -> Propagated:
        """The distribution of a function of the property, applied inside each draw.

        Parameters
        ----------
        function : callable
            From one value of the property to a number or an array.
        unit : str, optional
            Unit of the result; that of the property when not given.
        """
        values = np.stack([np.asarray(function(value), dtype=np.float64) for value in self.values])
        of_mean = np.asarray(function(self.of_mean), dtype=np.float64)
        return Propagated(values, of_mean, self.unit if unit is None else unit, self.failures)

    def __repr__(self) -> str:
        count = f"{len(self.values)} draws" + (f", {len(self.failures)} failed" if self.failures else "")
        unit = f" {self.unit}" if self.unit else ""
        if not self.shape:
            return f"{format_with_std(float(self.mean), float(self.std))}{unit} ({count})"
        return f"Propagated(shape={self.shape}, std up to {self.std.max():.2g}{unit}, {count})"


def _require_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1 (0.9 means 90 %), got {level}")
