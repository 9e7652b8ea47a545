"""Energy differences between given structures: formation, reaction, strain, surface energies at fixed geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from kernpot.prediction import ENERGY_UNIT, FloatArray, MeanPrediction
from kernpot.uncertainty.propagation import FixedGeometries


@dataclass(frozen=True, eq=False)
class EnergyDifference(FixedGeometries):
    """``sum_k coefficients[k] E(structures[k])`` at fixed geometry, eV.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    coefficients : sequence of float

    Raises
    ------
    ValueError
        Unless there are as many coefficients as structures.

    Examples
    --------
    The energy of a vacancy at positions relaxed before: energies are stationary there, so the spread at these fixed
    positions is that of the relaxed energy to first order.

    >>> from kernpot.properties import EnergyDifference
    >>> from kernpot.uncertainty import propagate
    >>> perfect = atoms * (2, 2, 2)
    >>> defective = perfect.copy()
    >>> del defective[0]
    >>> n = len(perfect)
    >>> vacancy = EnergyDifference([defective, perfect], [1.0, -(n - 1) / n])
    >>> found = propagate(vacancy, potential, random_state=0)
    >>> found.unit, bool(found.std > 0)
    ('eV', True)
    """

    structures: Sequence[Atoms]
    coefficients: Sequence[float]
    unit = ENERGY_UNIT
    linear = True

    def __post_init__(self) -> None:
        if len(self.structures) != len(self.coefficients) or not len(self.structures):
            raise ValueError(
                f"expected one coefficient per structure, got {len(self.coefficients)} for {len(self.structures)}"
            )

    def combine(self, answers: Sequence[MeanPrediction]) -> FloatArray:
        """The weighted sum of energies."""
        return np.asarray(sum(c * a.energy for c, a in zip(self.coefficients, answers, strict=True)))
