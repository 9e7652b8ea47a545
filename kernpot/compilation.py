"""Whether loops are compiled by numba, and how."""

import numba

COMPILED: bool = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
"""False where numba's own switch ``NUMBA_DISABLE_JIT`` turns compilation off: plain torch and numpy then serve."""

# Sums may be reordered and vectorised; no flag that lets NaN or infinity go unnoticed.
FAST = {"contract", "reassoc", "nsz", "arcp"}
"""``fastmath`` of the loops."""
