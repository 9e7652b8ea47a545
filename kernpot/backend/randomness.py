"""Random numbers of an estimator: used up only by work that comes to its end."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import check_random_state

from kernpot.errors import KernpotError
from kernpot.parameters import is_whole


def generator_of(random_state: int | np.random.RandomState | None) -> np.random.RandomState:
    """The generator that a parameter ``random_state`` stands for.

    Raises
    ------
    KernpotError
        When the parameter is something else.
    """
    given = random_state is None or isinstance(random_state, np.random.RandomState)
    if not given and not is_whole(random_state, 0, 2**32 - 1):
        raise KernpotError(
            f"random_state must be None, a whole number from 0 to 2^32 - 1 or a RandomState, got {random_state!r}."
        )
    found: np.random.RandomState = check_random_state(random_state)
    return found


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
        self._given = generator_of(random_state)
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


def seeded(n: int, random_state: int | np.random.RandomState | None) -> list[torch.Generator]:
    """A source of random numbers for each of ``n`` draws: the first ten of a hundred are those of ten."""
    seeds = generator_of(random_state).randint(2**31 - 1, size=n)
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]
