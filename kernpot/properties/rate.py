"""Rates over an uncertain barrier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from scipy.stats import t as student

from kernpot.errors import PropertyError
from kernpot.uncertainty.propagated import Propagated

# Beyond it means and intervals leave the range of floating-point numbers.
_LARGEST_LOG_STD = 20.0


@dataclass(frozen=True)
class Rate:
    """Log-normal distribution of a rate ``k = prefactor exp(-E / k_B T)`` with a Gaussian barrier ``E``.

    Attributes
    ----------
    median : float
        Rate at the mean barrier, in the unit of the prefactor.
    log_std : float
        Standard deviation of ``ln k``, ``std(E) / k_B T``.
    n_draws : int
        Draws that the barrier's std is from.
    """

    median: float
    log_std: float
    n_draws: int

    @property
    def jensen_bias(self) -> float:
        """How many times the mean rate exceeds the rate at the mean barrier, ``exp(log_std^2 / 2)``.

        Reporting ``exp(-mean(E) / k_B T)`` as the expected rate errs by this factor; far above one, neither is a useful
        number and the interval should be given.
        """
        return float(np.exp(0.5 * self.log_std**2))

    @property
    def mean(self) -> float:
        """Mean rate."""
        return self.median * self.jensen_bias

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Central interval of that probability; exponential of the one of ``ln k``, see :class:`Propagated`."""
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1 (0.9 means 90 %), got {level}")
        t = student.ppf(0.5 * (1.0 + level), self.n_draws - 1) * np.sqrt(1.0 + 1.0 / self.n_draws)
        return self.median * float(np.exp(-t * self.log_std)), self.median * float(np.exp(t * self.log_std))

    def __repr__(self) -> str:
        low, high = self.interval()
        return f"Rate({self.median:.3g}, 90 % from {low:.3g} to {high:.3g}, mean {self.mean:.3g})"


def arrhenius(barrier: Propagated, temperature: float, prefactor: float = 1e13) -> Rate:
    """Rate over a barrier of which draws are known.

    Parameters
    ----------
    barrier : Propagated of shape ()
        eV.
    temperature : float
        K.
    prefactor : float, default=1e13
        Attempt frequency, 1/s; taken as known.

    Raises
    ------
    ValueError
        If the barrier is not one number in eV, or temperature or prefactor is not positive.
    PropertyError
        If the barrier is so uncertain at this temperature that the rate has no order of magnitude.
    """
    if barrier.shape:
        raise ValueError(f"expected one barrier in eV, got values of shape {barrier.shape}")
    if barrier.unit != "eV":
        raise ValueError(f"expected a barrier in eV, got the unit {barrier.unit!r}; propagate(..., unit='eV') sets it")
    if temperature <= 0 or prefactor <= 0:
        raise ValueError(f"temperature and prefactor must be positive, got {temperature} K and {prefactor} 1/s")
    thermal = units.kB * temperature
    median = prefactor * float(np.exp(-barrier.mean / thermal))
    log_std = float(barrier.std) / thermal
    if median == 0 or log_std > _LARGEST_LOG_STD:
        raise PropertyError(
            f"a barrier of {float(barrier.mean):.3g} eV with a std of {float(barrier.std):.2g} eV leaves the rate at "
            f"{temperature:g} K open by a factor of exp({log_std:.0f}): report the barrier, or learn more near its "
            "saddle"
        )
    return Rate(median, log_std, len(barrier.values))
