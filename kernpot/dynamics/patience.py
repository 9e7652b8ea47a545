"""What is done where the gate fires again and again: a head start for the walker, and at last an end of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from kernpot.dynamics.walker import Walker

# Where the gate stops a walker again and again, its next structures would be alike, and teach little: thresholds are
# raised for so many steps, twice as many each further time, to some more than what it was stopped with.
_GRACE, _LONGEST_GRACE = 10, 160
_RAISED, _RAISED_ABOVE = 3.0, 1.5
# Times the gate may fire without any leg coming to its end before it is asked whether labels still help, and by how
# much the std that they leave must then have fallen.
_STUCK, _PROGRESS = 40, 0.97


def let_go(walkers: Iterable[Walker]) -> None:
    """Let walkers that waited for labels go on, those stopped more than once in a row with a head start."""
    for walker in walkers:
        if walker.paused and walker.repeats > 1:
            walker.lenient = min(_GRACE * 2 ** (walker.repeats - 2), _LONGEST_GRACE)
            walker.raised = max(_RAISED, _RAISED_ABOVE * walker.excess)
        walker.paused = False


def without_progress(stuck: Sequence[float]) -> float | None:
    """What is left of the std that made the gate fire, in units of its threshold, if more labels do not lessen it.

    Parameters
    ----------
    stuck : sequence of float
        What learning left each time, the latest last.

    Returns
    -------
    float or None
        The mean of the latest times; None while there is hope.
    """
    recent, earlier = stuck[-_STUCK // 2 :], stuck[-_STUCK : -_STUCK // 2]
    if len(stuck) < _STUCK or min(recent) <= 1 or np.mean(recent) <= _PROGRESS * np.mean(earlier):
        return None
    return float(np.mean(recent))
