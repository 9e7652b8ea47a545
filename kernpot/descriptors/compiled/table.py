"""Radial functions from a table of polynomials, as exact as the functions themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial.chebyshev import cheb2poly, poly2cheb

from kernpot.compilation import compiled
from kernpot.descriptors.compiled.harmonics import Array
from kernpot.descriptors.radial import GTORadial

# Degree kept, and degree of the exact expansion it is cut from.
_DEGREE, _EXACT_DEGREE = 7, 17
_INTERVALS = (32, 64, 128, 256, 512)
# Largest errors accepted, relative to the largest value of each function and derivative.
_VALUE_ERROR, _SLOPE_ERROR = 1e-12, 2e-11


@dataclass(frozen=True)
class RadialTable:
    """Radial functions ``g_nl(r)`` and the weighting ``w(r)`` as polynomials of degree seven on equal intervals.

    Attributes
    ----------
    inverse_step : float
        Intervals per Angstrom.
    functions : ndarray of shape (intervals, 8, (l_max + 1) * n_max)
        In powers of the position in the interval, scaled to -1 ... 1; columns ``(l, n)``.
    weighting : ndarray of shape (intervals, 8)
    own : ndarray of shape (n_max,)
        Coefficients ``(l = 0, n)`` of an atom in its own density.
    """

    inverse_step: float
    functions: Array
    weighting: Array
    own: Array

    @classmethod
    def of(cls, radial: GTORadial, cutoff: float) -> RadialTable | None:
        """Tabulate radial functions up to a cutoff (Angstrom).

        The sums over primitives cancel up to seven digits, and a polynomial through computed values would carry that
        noise into the derivatives. So the Taylor coefficients of the primitives, which have no noise, are summed in
        extended precision, and cut at degree seven in Chebyshev polynomials.

        Returns
        -------
        RadialTable or None
            None when no table of bearable size is as exact as wanted (a weighting that is not smooth inside the
            cutoff); the functions then have to be evaluated as they are.
        """
        for n in _INTERVALS:
            middle = np.asarray((np.arange(n) + 0.5) * (cutoff / n), dtype=np.float64)
            functions = _economised(radial.taylor(middle, _EXACT_DEGREE, 0.5 * cutoff / n))
            weighting = _interpolated(radial, cutoff, n)
            table = cls(n / cutoff, functions, weighting, _own(radial))
            if table.is_exact(radial):
                return table
        return None

    def is_exact(self, radial: GTORadial) -> bool:
        """Whether interpolation is as good as the functions' own rounding."""
        # The ends, where the error is largest, and points between.
        t = np.linspace(-1, 1, 9)
        n = len(self.functions)
        # Not at zero itself, where the weight may be overridden.
        r = np.maximum((np.arange(n)[:, None] + (t + 1) / 2) / self.inverse_step, 1e-100).ravel()
        g, dg = (f.astype(np.float64) for f in radial.extended(r.astype(np.longdouble)))
        w, dw = (f.numpy()[:, None] for f in radial.weighting(torch.from_numpy(r)))
        powers, slopes = _powers(t), _slopes(t) * 2 * self.inverse_step
        pairs = (
            (powers, self.functions, g.reshape(n, len(t), -1), _VALUE_ERROR),
            (slopes, self.functions, dg.reshape(n, len(t), -1), _SLOPE_ERROR),
            (powers, self.weighting[:, :, None], w.reshape(n, len(t), 1), _VALUE_ERROR),
            (slopes, self.weighting[:, :, None], dw.reshape(n, len(t), 1), _SLOPE_ERROR),
        )
        return all(_error(np.einsum("jp,kpc->kjc", v, f), exact) < most for v, f, exact, most in pairs)


def _powers(t: Array) -> Array:
    return np.vander(t, _DEGREE + 1, increasing=True)


def _slopes(t: Array) -> Array:
    out = np.zeros((len(t), _DEGREE + 1))
    out[:, 1:] = np.vander(t, _DEGREE, increasing=True) * np.arange(1, _DEGREE + 1)
    return out


def _error(found: Array, exact: Array) -> float:
    size = np.abs(exact).max(axis=(0, 1))
    return float((np.abs(found - exact).max(axis=(0, 1)) / np.where(size > 0, size, 1)).max())


def _economised(taylor: Array) -> Array:
    """Cut a Taylor series on -1 ... 1 at a low degree, in Chebyshev polynomials; (n, powers, ...) to (n, 8, ...)."""
    to_chebyshev = np.stack(
        [_padded(np.asarray(poly2cheb(e), dtype=np.float64), _EXACT_DEGREE + 1) for e in np.eye(_EXACT_DEGREE + 1)], 1
    )
    to_powers = np.stack(
        [_padded(np.asarray(cheb2poly(e), dtype=np.float64), _DEGREE + 1) for e in np.eye(_DEGREE + 1)], 1
    )
    cut = to_powers @ to_chebyshev[: _DEGREE + 1]
    return np.einsum("jk,nkc->njc", cut, taylor)


def _padded(coefficients: Array, length: int) -> Array:
    return np.pad(coefficients, (0, length - len(coefficients)))


def _interpolated(radial: GTORadial, cutoff: float, n: int) -> Array:
    """Polynomials through the weighting at Chebyshev nodes, shape (n, 8)."""
    nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    r = (np.arange(n)[:, None] + (nodes + 1) / 2) * (cutoff / n)
    w = radial.weighting(torch.from_numpy(r.ravel()))[0].numpy().reshape(n, -1)
    return np.asarray(np.linalg.solve(_powers(nodes), w.T).T)


def _own(radial: GTORadial) -> Array:
    value, _ = radial(torch.zeros(1, dtype=torch.float64))
    return np.asarray(value[0, 0].numpy() * 0.5 / np.sqrt(np.pi))


@compiled
def radial_values(
    r: float, weight: float, inverse_step: float, functions: Array, weighting: Array, value: Array
) -> None:
    """Weighted radial functions ``value[l n]`` at a distance."""
    x = r * inverse_step
    k = min(int(x), functions.shape[0] - 1)
    t = 2.0 * (x - k) - 1.0
    a, w = functions[k], weighting[k, 7]
    for d in range(6, -1, -1):
        w = w * t + weighting[k, d]
    w *= weight
    for j in range(functions.shape[2]):
        f = a[7, j]
        f = f * t + a[6, j]
        f = f * t + a[5, j]
        f = f * t + a[4, j]
        f = f * t + a[3, j]
        f = f * t + a[2, j]
        f = f * t + a[1, j]
        value[j] = w * (f * t + a[0, j])


@compiled
def radial_slopes(
    r: float, weight: float, inverse_step: float, functions: Array, weighting: Array, value: Array, slope: Array
) -> None:
    """Weighted radial functions and their derivatives at a distance, by Horner's rule for both."""
    x = r * inverse_step
    k = min(int(x), functions.shape[0] - 1)
    t = 2.0 * (x - k) - 1.0
    a, w, dw = functions[k], weighting[k, 7], 0.0
    for d in range(6, -1, -1):
        dw = dw * t + w
        w = w * t + weighting[k, d]
    w *= weight
    dw *= 2.0 * inverse_step * weight
    stretched = 2.0 * inverse_step * w
    for j in range(functions.shape[2]):
        f = a[7, j]
        g = f
        f = f * t + a[6, j]
        g = g * t + f
        f = f * t + a[5, j]
        g = g * t + f
        f = f * t + a[4, j]
        g = g * t + f
        f = f * t + a[3, j]
        g = g * t + f
        f = f * t + a[2, j]
        g = g * t + f
        f = f * t + a[1, j]
        g = g * t + f
        f = f * t + a[0, j]
        value[j] = w * f
        slope[j] = stretched * g + dw * f
