"""Misfit of labels: what keeps them from the model even where it has data, from errors on structures left out.

One constant cannot serve: strained crystals are missed far less than a melt. The posterior's parameter variance is too
small for either, but in proportion to them, so the misfit variance of a label is

    c^2 + a^2 (v + v_pool) / 2,

``v`` its parameter variance and ``v_pool`` the mean parameter variance of its surroundings, which share the causes of
misfit (for forces a smooth average over neighbours, for stress the mean over components; for energies ``v`` itself).
The constant ``c`` and the factor ``a`` maximise the likelihood of leave-one-structure-out residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from kernpot.functionals.state import Structure

# Least constant, in the unit of each label kind: no label is known better than quantum-mechanical codes converge.
FLOOR = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-6}
# Largest factor: beyond it the parameter variance is rounding.
_LARGEST_FACTOR = 100.0
# Parameter variances below this part of their surroundings' belong to components that vanish by symmetry: they tell
# nothing of the misfit of others.
_SYMMETRIC = 1e-9


@dataclass(frozen=True)
class Misfit:
    """Misfit of one kind of label.

    Attributes
    ----------
    constant : float
        ``c``, in eV/atom, eV/A or eV/A^3.
    factor : float
        ``a``, without unit.
    """

    constant: float
    factor: float = 0.0

    def variance(self, own: Tensor, pooled: Tensor) -> Tensor:
        """Misfit variance of labels with these parameter variances."""
        return self.constant**2 + self.factor**2 * 0.5 * (own + pooled)


class Surroundings:
    """Averages over an atom and its neighbours, weighted smoothly down to nothing at the cutoff.

    Parameters
    ----------
    structure : Structure
    """

    def __init__(self, structure: Structure) -> None:
        described = max(structure.described, key=lambda d: d.features.cutoff)
        x = torch.linalg.vector_norm(described.block.vectors, dim=1) / described.features.cutoff
        self._weights = (1 - x).clamp(min=0.0) ** 2 * (1 + 2 * x)
        self._centres, self._neighbours = described.block.centres, described.block.neighbours
        self._total = torch.ones(structure.n_atoms, dtype=torch.float64).index_add_(0, self._centres, self._weights)

    def pool(self, component_variances: Tensor) -> Tensor:
        """For force components (3 n,): the mean variance in the surroundings of their atom, (3 n,)."""
        v = component_variances.view(-1, 3).mean(1)
        total = v.clone().index_add_(0, self._centres, self._weights * v[self._neighbours])
        return (total / self._total).repeat_interleave(3)


def pooled_variance(kind: str, own: Tensor, surroundings: Surroundings) -> Tensor:
    """Mean parameter variance of the surroundings of labels of one kind, all from one structure."""
    if kind == "forces":
        return surroundings.pool(own)
    return own.mean().expand(own.shape) if kind == "stress" else own


def fit_misfit(
    residuals: Sequence[NDArray[np.float64]],
    own: Sequence[NDArray[np.float64]],
    pooled: Sequence[NDArray[np.float64]],
    unrepresented: Sequence[NDArray[np.float64]],
    floor: float = 0.0,
) -> Misfit:
    """Misfit that maximises the Gaussian likelihood of leave-one-structure-out residuals.

    Parameters
    ----------
    residuals : sequence of ndarray
        One array per structure.
    own, pooled, unrepresented : sequence of ndarray
        Parameter variances, those of the surroundings, and the parts the inducing environments cannot represent.
    floor : float
        Least constant.
    """
    e, v, p, k = (
        np.concatenate([np.ravel(part) for part in parts]) for parts in (residuals, own, pooled, unrepresented)
    )
    telling = v > _SYMMETRIC * np.maximum(p, v.mean())
    scale = float(np.mean(e[telling] ** 2)) if telling.any() else 0.0
    spread = 0.5 * (v + p)[telling]
    if scale <= floor**2 or _LARGEST_FACTOR**2 * float(spread.mean()) < 1e-6 * scale:
        return Misfit(max(float(np.sqrt(np.mean(e**2))), floor))
    e, v, k = e[telling], v[telling], k[telling]
    ratio = scale / float(spread.mean())
    largest = min(100.0, _LARGEST_FACTOR**2 / ratio)

    def objective(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        c2, a2 = scale * x[0], ratio * x[1]
        total = v + k + c2 + a2 * spread
        slope = 0.5 * (1 / total - e**2 / total**2)
        value = 0.5 * float(np.mean(np.log(total / scale) + e**2 / total))
        return value, np.array([np.mean(slope) * scale, np.mean(slope * spread) * ratio])

    # From a mostly constant and a mostly proportional misfit: the likelihood can have a maximum at either end.
    starts = (np.array([0.9, min(0.1, largest)]), np.array([0.05, min(0.95, largest)]))
    bounds = [(1e-6, 10.0), (0.0, largest)]
    found = min(
        (minimize(objective, s, jac=True, method="L-BFGS-B", bounds=bounds) for s in starts), key=lambda r: r.fun
    )
    return Misfit(max(float(np.sqrt(scale * found.x[0])), floor), float(np.sqrt(ratio * found.x[1])))
