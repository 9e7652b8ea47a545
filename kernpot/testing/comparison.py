"""Comparisons of predictions that say what was expected and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from kernpot.potential import Potential
from kernpot.prediction import MeanPrediction, Prediction, Quantity

MEAN_TOLERANCE = 1e-7
"""Largest difference of means that should be equal, relative to the largest component."""
VARIANCE_TOLERANCE = 1e-6
"""The same for variances, relative to the largest variance (misfit included)."""

_FLOOR = 1e-9
# Rounding of variances that symmetry makes zero: standard deviations of 3e-7 eV, eV/A, eV/A^3.
_VARIANCE_FLOOR = 1e-13
_QUANTITIES = ("energy", "energies", "forces", "stress")

Change = Callable[[str, NDArray[np.float64]], NDArray[np.float64]]


def require(holds: bool, message: str) -> None:
    """Raise AssertionError with a message unless a condition holds (``assert`` vanishes under ``python -O``)."""
    if not holds:
        raise AssertionError(message)


def require_close(
    found: ArrayLike,
    expected: ArrayLike,
    what: str,
    tolerance: float = MEAN_TOLERANCE,
    scale: float | None = None,
    floor: float = _FLOOR,
) -> None:
    """Require equality to ``tolerance * scale + floor``; the scale is the largest component expected unless given."""
    a, b = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    require(a.shape == b.shape, f"{what}: expected shape {b.shape}, got {a.shape}")
    if not b.size:
        return
    limit = tolerance * (float(np.abs(b).max()) if scale is None else scale) + floor
    worst = np.unravel_index(int(np.abs(a - b).argmax()), b.shape)
    require(
        abs(float(a[worst] - b[worst])) <= limit,
        f"{what}: expected {b[worst]:.12g}, got {a[worst]:.12g} (component {[int(k) for k in worst]}; "
        f"they may differ by {limit:.1e})",
    )


def full(potential: Potential, atoms: Atoms, covariance: bool = False) -> Prediction:
    """Prediction for one structure."""
    return potential.predict_full([atoms], covariance=covariance)[0]


def quantities(prediction: Prediction) -> Iterator[tuple[str, Quantity]]:
    """Name and value of every quantity a prediction holds."""
    for name in _QUANTITIES:
        quantity = getattr(prediction, name)
        if quantity is not None:
            yield name, quantity


def unchanged(_: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The change of nothing."""
    return values


def require_same_variance(new: Quantity, old: Quantity, what: str, name: str = "", change: Change = unchanged) -> None:
    """Require both variances of a quantity to be those of another, after a change of the other's components."""
    scale = float((old.std**2).max(initial=0.0))
    for part in ("epistemic_std", "std"):
        found, expected = getattr(new, part) ** 2, change(name, getattr(old, part)) ** 2
        require_close(found, expected, f"{part} squared of {what}", VARIANCE_TOLERANCE, scale, _VARIANCE_FLOOR)


def require_same(new: Prediction, old: Prediction, what: str, change: Change = unchanged) -> None:
    """Require means and variances of a prediction to be those of another, after a change of the other's components."""
    for (name, a), (_, b) in zip(quantities(new), quantities(old), strict=True):
        require_close(a.mean, change(name, b.mean), f"{name}, {what}")
        require_same_variance(a, b, f"{name}, {what}", name, change)


def require_same_means(new: MeanPrediction, old: MeanPrediction, what: str) -> None:
    """Require two mean predictions to agree."""
    require((new.stress is None) == (old.stress is None), f"{what}: only one of the two has a stress")
    for name in _QUANTITIES:
        if getattr(old, name) is not None:
            require_close(getattr(new, name), getattr(old, name), f"{name}, {what}")
