"""Exact propagation to properties that are linear in the potential, without draws.

At fixed geometry, energies, forces and stress are linear in the weights of the model. So is whatever is a linear
function of them: energy differences, force constants, clamped-ion elastic constants, energies along a fixed path. Its
covariance is then the posterior's, joint over all structures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from kernpot.errors import KernpotError
from kernpot.potential import Linear, Potential
from kernpot.prediction import FloatArray, MeanPrediction, Sensitivities
from kernpot.uncertainty.propagation import FixedGeometries


@dataclass(frozen=True, eq=False)
class Linearised:
    """Gaussian distribution of a linear property.

    Attributes
    ----------
    mean : ndarray of shape (...)
    covariance : ndarray of shape (n, n)
        Between its n components in C order.
    unit : str
        Unit of the mean.
    """

    mean: FloatArray
    covariance: FloatArray
    unit: str

    @property
    def std(self) -> FloatArray:
        """Standard deviations, of the shape of the mean."""
        return np.sqrt(np.diagonal(self.covariance)).reshape(self.mean.shape)

    def interval(self, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
        """Central interval of that probability."""
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1 (0.9 means 90 %), got {level}")
        half = norm.ppf(0.5 * (1.0 + level)) * self.std
        return self.mean - half, self.mean + half


def linearise(property_function: FixedGeometries, potential: Potential) -> Linearised:
    """Distribution of a linear property from the joint posterior of the weights.

    It is what :func:`kernpot.uncertainty.propagation.propagate` tends to for many draws, but for the part that the
    inducing environments cannot represent, which only draws carry.

    Parameters
    ----------
    property_function : FixedGeometries
        With ``linear = True``.
    potential : Potential
        Fitted, and linear in its weights, as Gaussian processes are.

    Raises
    ------
    ValueError
        If the property is not linear.
    KernpotError
        If the potential is not linear in its weights.
    """
    if not property_function.linear:
        raise ValueError(
            f"{type(property_function).__name__} is not linear in the potential; use propagate, which draws"
        )
    mean = np.asarray(property_function(potential))
    if not isinstance(potential, Linear):
        raise KernpotError(
            f"linearise needs a potential whose answers are linear in Gaussian weights, such as a SparseGPPotential, "
            f"got {type(potential).__name__}; use propagate, which draws"
        )
    kinds = property_function.needs
    changes = [potential.sensitivities(atoms, kinds) for atoms in property_function.structures]
    directions = [
        np.ravel(property_function.combine([_answer(part, m) for part in changes]))
        for m in range(len(changes[0].energy))
    ]
    slopes = np.stack(directions)
    return Linearised(mean, slopes.T @ slopes, property_function.unit)


def _answer(changes: Sensitivities, m: int) -> MeanPrediction:
    """Changes along one direction in the form of a potential's answer; what was not asked for is NaN."""
    nothing = np.full(1, np.nan)
    forces = nothing if changes.forces is None else changes.forces[m]
    stress = None if changes.stress is None else changes.stress[m]
    return MeanPrediction(float(changes.energy[m]), nothing, forces, stress)
