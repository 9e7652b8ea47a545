"""Random numbers of an estimator: used up only by work that comes to its end."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_random_state

from kernpot.errors import KernpotError


class Drawing:
    """A copy of the generator that a parameter ``random_state`` stands for; that one stays as it is until told.

    Parameters
    ----------
    random_state : int, RandomState or None

    Attributes
    ----------
    rng : RandomState
        To draw from.

    Raises
    ------
    KernpotError
        When the parameter is something else.
    """

    def __init__(self, random_state: int | np.random.RandomState | None) -> None:
        whole = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
        if not (
            random_state is None
            or isinstance(random_state, np.random.RandomState)
            or (whole and 0 <= random_state < 2**32)
        ):
            raise KernpotError(
                f"random_state must be None, a whole number from 0 to 2^32 - 1 or a RandomState, got {random_state!r}."
            )
        self._given = check_random_state(random_state)
        self.rng = np.random.RandomState()
        self.rng.set_state(self._given.get_state())

    def keep(self) -> None:
        """Let the generator go on from here: what was drawn is used up."""
        before = self._given.get_state()
        try:
            self._given.set_state(self.rng.get_state())
        except BaseException:  # interrupted: what it was drawn for is not kept either
            self._given.set_state(before)
            raise
