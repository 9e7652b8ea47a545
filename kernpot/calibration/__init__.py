"""From errors to error bars: the misfit of labels, and how it enters their variances."""

from kernpot.calibration.misfit import Misfit

__all__ = ["Misfit"]
