"""Fitted potentials with a part of what they know replaced."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, TypeVar

Potential = TypeVar("Potential")


def changed(potential: Potential, **parts: Any) -> Potential:
    """A copy whose fitted state has other parts; what follows from them is made anew."""
    other = copy.copy(potential)
    if hasattr(other.fitted_, "found_posterior"):  # that of the parts as they were
        parts = {"found_posterior": None} | parts
    other._fitted = replace(other.fitted_, **parts)
    return other
