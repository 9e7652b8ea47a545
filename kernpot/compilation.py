"""Whether loops are compiled by numba, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import njit

COMPILED: bool = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
"""False where numba's own switch ``NUMBA_DISABLE_JIT`` turns compilation off: plain torch and numpy then serve."""

# No flag that lets NaN or infinity go unnoticed.
_REORDERED = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function: Callable[..., Any]) -> Any:
    """A loop compiled on first use, outside Python's lock; sums may be reordered and vectorised."""
    return _compiled(function, fastmath=_REORDERED)


def compiled_in_order(function: Callable[..., Any]) -> Any:
    """As :func:`compiled`, every operation as written."""
    return _compiled(function)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    try:
        return njit(function, cache=True, nogil=True, **options)
    except RuntimeError:  # no folder to keep the result in: it is made anew in every process
        return njit(function, nogil=True, **options)
