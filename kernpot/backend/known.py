"""Attributes of a fitted estimator, read from the one object that holds what it knows."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, Protocol

from kernpot.calibration.misfit import Misfit


class Known(Protocol):
    """What a fit knows; frozen."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers seen in training."""

    @property
    def isolated(self) -> dict[int, float]:
        """Isolated-atom energies, eV."""

    @property
    def noise(self) -> dict[str, float]:
        """Noise per group."""

    @property
    def misfit(self) -> dict[str, Misfit]:
        """Misfit per kind of label."""

    @property
    def draw_scale(self) -> float:
        """Factor that makes draws calibrated."""

    @property
    def summary(self) -> dict[str, Any]:
        """What was seen and found."""


class KnowingMixin:
    """Attributes that end in an underscore, of an estimator with a `Known` as ``fitted_``; mutable ones are copies."""

    @property
    @abstractmethod
    def fitted_(self) -> Known:
        """All that the fit knows; frozen."""

    @property
    def elements_(self) -> tuple[int, ...]:
        """Atomic numbers seen in training."""
        return self.fitted_.elements

    @property
    def isolated_atoms_(self) -> dict[int, float]:
        """Isolated-atom energies used, eV."""
        return dict(self.fitted_.isolated)

    @property
    def noise_(self) -> dict[str, float]:
        """Noise per group."""
        return dict(self.fitted_.noise)

    @property
    def misfit_(self) -> dict[str, Misfit]:
        """Misfit per kind of label."""
        return dict(self.fitted_.misfit)

    @property
    def draw_scale_(self) -> float:
        """Factor on the deviations of draws from the mean that makes them calibrated."""
        return self.fitted_.draw_scale

    @property
    def summary_(self) -> dict[str, Any]:
        """What the fit saw and found."""
        return copy.deepcopy(self.fitted_.summary)
