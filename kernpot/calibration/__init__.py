"""From errors to error bars: misfit of labels, and the one place where a standard deviation is made of variances."""

from kernpot.calibration.misfit import Misfit

__all__ = ["Misfit"]
