"""One round of a run: a leg of every walker, labels for what it met, what is learnt from them."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from kernpot.dynamics.bootstrap import bare
from kernpot.dynamics.electronic_state import forget_all_else
from kernpot.dynamics.explorer import Explorer
from kernpot.dynamics.gate import UncertaintyGate
from kernpot.dynamics.journal import Journal
from kernpot.dynamics.label_store import Entry
from kernpot.dynamics.labelling import Labelling
from kernpot.dynamics.learning import Learning
from kernpot.dynamics.outcome import INTERRUPTED, Stop
from kernpot.dynamics.patience import let_go, without_progress
from kernpot.dynamics.settings import LearnSettings
from kernpot.dynamics.state import RunState
from kernpot.dynamics.walker import Leg, Visit, Walker

# Structures set aside in a row, without a label in between, after which the oracle is taken to be broken.
_FAILURES = 10


class Round:
    """Makes rounds.

    Parameters
    ----------
    settings : LearnSettings
    initial : sequence of Atoms
        Where walkers start.
    state : RunState
    explorer : Explorer
    labelling : Labelling
    learning : Learning
    journal : Journal
    """

    def __init__(
        self,
        settings: LearnSettings,
        initial: Sequence[Atoms],
        state: RunState,
        explorer: Explorer,
        labelling: Labelling,
        learning: Learning,
        journal: Journal,
    ) -> None:
        self._settings, self._initial, self._state = settings, initial, state
        self._explorer, self._labelling, self._learning, self._journal = explorer, labelling, learning, journal

    def make(self) -> None:
        """Make one, and have its end on disk.

        Raises
        ------
        Stop
            When the run ends with it.
        """
        state, gate = self._state, self._learning.gate
        audits = self._legs(gate)
        for answered in self._labelling.ask(audits[: state.room(self._settings.max_labels)], "audit"):
            if answered.failed:
                self._labelling.set_aside(answered)
            else:
                state.audit.append(answered.entry.number)
                self._journal.write_frame("audit.xyz", answered.frame)
        if state.candidates and not (self._settings.batch and self._active()):
            self._study_candidates(gate)
        if state.failures >= _FAILURES:
            state.failures = 0  # whoever runs it again has mended something
            self._journal.save(state)
            raise Stop(
                "oracle",
                f"{_FAILURES} structures in a row could not be used; the reasons are in set_aside.xyz and "
                "events.jsonl. Mend the oracle's settings, or lower the temperature or time step, and run it again.",
            )
        self._journal.save(state)

    def _active(self) -> list[Walker]:
        return self._state.active(self._explorer.n_steps)

    def _legs(self, gate: UncertaintyGate) -> list[Visit]:
        """Let every walker that can make a leg; the structures met at random."""
        audits, quiet = [], 0
        screened = self._state.quiet > 0
        for walker in self._active():
            watched = walker.lenient == 0
            leg = self._explorer.go(walker, self._learning.potential, gate, screened)
            if not leg.finished:
                raise Stop(*INTERRUPTED)
            audits += leg.audits
            quiet += self._count(walker, leg, watched)
        self._state.quiet += quiet
        return audits

    def _count(self, walker: Walker, leg: Leg, watched: bool) -> bool:
        """Take note of how a leg ended; whether the gate was quiet to its end."""
        state = self._state
        if leg.failure is not None:
            state.failures += 1
            self._journal.tell({"event": "failed", "label": None, "purpose": "dynamics", "walker": walker.index,
                                "step": walker.step, "reason": leg.failure})  # fmt: skip
        elif leg.candidates:
            walker.paused = True
            walker.repeats += 1
            state.candidates += leg.candidates if self._settings.batch else leg.candidates[:1]
        else:
            if watched:
                walker.repeats = 0
                state.stuck.clear()
            return True
        return False

    def _study_candidates(self, gate: UncertaintyGate) -> None:
        """Label candidates, learn them, and let their walkers go on."""
        state = self._state
        chosen = self._chosen()
        known = [v for v in chosen if self._learning.knows(v.atoms)]
        unknown = [v for v in chosen if v not in known][: state.room(self._settings.max_labels)]
        new: list[Entry] = []
        for visit, answered in zip(unknown, self._labelling.ask(unknown, "query"), strict=True):
            if answered.failed:
                self._labelling.set_aside(answered)
                state.failures += 1
                self._elsewhere(state.walkers[visit.walker], visit)
            else:
                new.append(answered.entry)
                state.failures = 0
        state.stuck += self._learning.learn(new, [visit.atoms for visit in known])
        state.candidates = []
        let_go(state.walkers)
        remaining = without_progress(state.stuck)
        if remaining is not None:
            self._journal.save(state)
            raise Stop(
                "threshold",
                f"the gate still finds {remaining:.2g} times its threshold in structures that have been learnt "
                f"({gate.thresholds}), and more labels do not bring it down: raise the threshold, "
                "or let the potential describe more (cutoff, n_max; n_inducing, or larger networks) in a new run.",
            )

    def _chosen(self) -> list[Visit]:
        """Which candidates to label."""
        candidates, batch = self._state.candidates, self._settings.batch
        if batch is None:
            return candidates
        fresh = [v for v in candidates if not self._learning.knows(v.atoms)]
        if len(fresh) <= batch:
            return fresh or candidates[:1]
        selection = self._learning.potential.select([bare(v.atoms) for v in fresh], batch, 0.0)
        return [fresh[k] for k in selection.indices]

    def _elsewhere(self, walker: Walker, visit: Visit) -> None:
        """Let a walker try again, another way, where the oracle had no answer."""
        if walker.step == visit.step:
            walker.atoms = self._initial[walker.index % len(self._initial)].copy()
            forget_all_else(walker.atoms)
        self._explorer.restart(walker)
