"""Random numbers of an estimator: used up only by work that comes to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from sklearn.utils import check_random_state


@contextmanager
def drawing(random_state: int | np.random.RandomState | None) -> Iterator[np.random.RandomState]:
    """The generator that a ``random_state`` stands for; what is interrupted or refused leaves it as it was."""
    given = check_random_state(random_state)
    copy = np.random.RandomState()
    copy.set_state(given.get_state())
    yield copy
    given.set_state(copy.get_state())
