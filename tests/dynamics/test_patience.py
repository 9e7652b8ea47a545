"""Where the gate fires again and again: head starts grow, and a run without progress is told so."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from kernpot.dynamics.patience import let_go, without_progress
from kernpot.dynamics.walker import Walker


def stopped(repeats: int, excess: float = 1.0, paused: bool = True) -> Walker:
    return Walker(0, Atoms("Ar"), np.random.default_rng(0), paused=paused, repeats=repeats, excess=excess)


@pytest.mark.parametrize(("repeats", "steps"), [(1, 0), (2, 10), (3, 20), (6, 160), (9, 160)])
def test_head_starts_double_to_a_limit(repeats: int, steps: int) -> None:
    walker = stopped(repeats)
    let_go([walker])
    assert walker.lenient == steps and not walker.paused


def test_thresholds_are_raised_to_more_than_what_the_walker_was_stopped_with() -> None:
    mild, wild, waiting_for_nothing = stopped(2, 1.2), stopped(2, 4.0), stopped(2, paused=False)
    let_go([mild, wild, waiting_for_nothing])
    assert (mild.raised, wild.raised) == (3.0, 6.0)
    assert waiting_for_nothing.lenient == 0 and waiting_for_nothing.raised == 1.0


@pytest.mark.parametrize(
    ("stuck", "remaining"),
    [
        ([2.0] * 39, None),  # not often enough
        ([2.0] * 40, 2.0),
        ([9.0] * 10 + [2.0] * 40, 2.0),  # what was long ago does not count
        ([2.0] * 20 + [1.9] * 20, None),  # labels help
        ([2.0] * 39 + [0.9], None),  # and here they reached the threshold
    ],
)
def test_labels_that_no_longer_help_are_noticed(stuck: list[float], remaining: float | None) -> None:
    assert without_progress(stuck) == remaining
