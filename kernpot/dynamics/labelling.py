"""Labels for structures, from disk or the oracle, each told and judged by what was predicted before it was known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ase import Atoms

from kernpot.dynamics.bootstrap import bare
from kernpot.dynamics.frames import beside_labels
from kernpot.dynamics.journal import Journal
from kernpot.dynamics.judgement import judge
from kernpot.dynamics.label_store import Entry
from kernpot.dynamics.learning import Learning
from kernpot.dynamics.oracles import Labels, Oracle, OracleFailure
from kernpot.dynamics.outcome import INTERRUPTED, Stop
from kernpot.dynamics.run_directory import Record
from kernpot.dynamics.state import RunState
from kernpot.dynamics.walker import Visit
from kernpot.prediction import Prediction


@dataclass(frozen=True, eq=False)
class Answered:
    """What an oracle said of a structure.

    Attributes
    ----------
    entry : Entry
    prediction : Prediction or None
        Made before; None where there was no model yet.
    """

    entry: Entry
    prediction: Prediction | None

    @property
    def failed(self) -> bool:
        """Whether there are no labels."""
        return isinstance(self.entry.answer, OracleFailure)

    @property
    def frame(self) -> Atoms:
        """The structure with its labels, if any, and what was predicted, to write."""
        entry = self.entry
        if isinstance(entry.answer, Labels):
            return beside_labels(entry.structure, self.prediction)
        frame = beside_labels(entry.atoms.copy(), self.prediction)
        frame.info["reason"] = entry.answer.reason
        return frame


class Labelling:
    """Asks.

    Parameters
    ----------
    oracle : Oracle
    learning : Learning
    state : RunState
    journal : Journal
    stopping : callable
        Whether to stop after this label.
    """

    def __init__(
        self, oracle: Oracle, learning: Learning, state: RunState, journal: Journal, stopping: Callable[[], bool]
    ) -> None:
        self._oracle, self._learning, self._state = oracle, learning, state
        self._journal, self._stopping = journal, stopping

    def ask(self, visits: Sequence[Visit], purpose: str) -> list[Answered]:
        """Answers for structures, in their order; each is on disk before it is used.

        Raises
        ------
        Stop
            When it is told to stop before all are there.
        """
        labels = self._learning.labels
        found: dict[int, Answered] = {}
        for k, visit in enumerate(visits):
            entry = labels.find(visit.atoms)
            if entry is not None:
                found[k] = self._answered(visit, entry, purpose)
        asked = [k for k in range(len(visits)) if k not in found]
        # Numbers follow from the state, whatever answers a run that was killed has left.
        first, start = self._state.asked + 1, time.perf_counter()
        self._state.asked += len(visits)
        if asked:
            answers = self._oracle.answers([bare(visits[k].atoms) for k in asked])
            with ExitStack() as stack:
                if hasattr(answers, "close"):
                    stack.callback(answers.close)  # a generator stops its work
                for place, answer in answers:
                    visit = visits[asked[place]]
                    number = labels.free(first + asked[place])
                    entry = Entry(number, bare(visit.atoms), answer, time.perf_counter() - start)
                    start = time.perf_counter()
                    labels.add(entry)
                    found[asked[place]] = self._answered(visit, entry, purpose)
                    if self._stopping() and len(found) < len(visits):
                        raise Stop(*INTERRUPTED)
        return [found[k] for k in range(len(visits))]

    def set_aside(self, answered: Answered) -> None:
        """Write down a structure that the oracle failed on, with its reason."""
        self._journal.write_frame("set_aside.xyz", answered.frame)

    def _answered(self, visit: Visit, entry: Entry, purpose: str) -> Answered:
        """The answer, told."""
        prediction = self._learning.prediction(visit.atoms)
        where = {"purpose": purpose, "walker": visit.walker if visit.walker >= 0 else None, "step": visit.step,
                 "time_fs": visit.time_fs, "label": entry.number}  # fmt: skip
        if isinstance(entry.answer, OracleFailure):
            self._journal.tell({"event": "failed", **where, "reason": entry.answer.reason})
        else:
            told: Record = {"event": "label", **where, "seconds": entry.seconds}
            if prediction is not None:
                told |= judge(prediction, entry.answer, self._learning.gate.force_std)
            self._journal.tell(told)
        return Answered(entry, prediction)
