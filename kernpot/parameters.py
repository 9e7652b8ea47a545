"""What a parameter is: Python takes `True` for 1, and lets text and complex numbers come as far as the arithmetic."""

from __future__ import annotations

import math
import numbers
from typing import Any


def is_whole(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether this is a whole number in a range; numpy's are, truth values and 3.0 are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and least <= int(value) <= most


def is_real(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether this is a finite number in a range, whole or not; truth values are none."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(found := float(value)) and least <= found <= most
    except OverflowError:  # a whole number beyond the largest that has a point
        return False
