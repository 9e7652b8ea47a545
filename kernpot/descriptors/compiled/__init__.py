"""The hot path of the descriptors, compiled by numba; the same numbers as the plain torch of the room."""

import numba

COMPILED: bool = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
"""False where numba's own switch ``NUMBA_DISABLE_JIT`` turns compilation off: plain torch then serves."""
