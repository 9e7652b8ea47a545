"""What the learner asks of an oracle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from ase import Atoms

from kernpot.dynamics.oracles.labels import Labels
from kernpot.errors import OracleFailure


@runtime_checkable
class Oracle(Protocol):
    """Who computes labels: a quantum code, somebody's queue, in tests a cheap potential."""

    def answers(self, frames: Sequence[Atoms]) -> Iterator[tuple[int, Labels | OracleFailure]]:
        """Label frames.

        Parameters
        ----------
        frames : sequence of ase.Atoms
            Not changed.

        Yields
        ------
        tuple of (int, Labels or OracleFailure)
            Index of the frame and its answer, in any order, as they come; each frame exactly once. A frame that cannot
            be labelled has a failure for an answer, after the retries. Closing the iterator stops the work.
        """

    def describe(self) -> dict[str, Any]:
        """What computes, with which settings and versions, in types that JSON knows."""
