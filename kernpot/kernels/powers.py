"""Whole powers of cosines, by multiplications."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernpot.parameters import is_real

LARGEST = 100
"""Largest power of a kernel: far beyond what tells environments apart, and all work with it is still bounded."""


def is_power(value: Any) -> bool:
    """Whether a kernel can have it for a power: a whole number from 1 to `LARGEST`."""
    return is_real(value, 1, LARGEST) and value % 1 == 0


def power(s: Tensor, zeta: int) -> Tensor:
    """``s^zeta`` by multiplications, of which a general power of doubles costs as many as twenty."""
    if zeta < 3:
        return s**zeta
    half = power(s, zeta // 2)
    return half * half * s if zeta % 2 else half * half


def power_slope(s: Tensor, zeta: int) -> Tensor:
    """Derivative ``zeta s^(zeta - 1)`` of ``s^zeta``."""
    return torch.ones_like(s) if zeta == 1 else zeta * power(s, zeta - 1)
