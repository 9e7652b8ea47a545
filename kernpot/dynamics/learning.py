"""What a run has learnt: the labels that its model has seen, the model, and the gate that watches with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ase import Atoms

from kernpot.dynamics.bootstrap import bare
from kernpot.dynamics.gate import UncertaintyGate
from kernpot.dynamics.journal import Journal
from kernpot.dynamics.label_store import Entry, LabelStore
from kernpot.dynamics.state import RunState
from kernpot.dynamics.study import Study
from kernpot.potential import Potential
from kernpot.prediction import Prediction

# Growth of the labels at which a fit is worth while that may narrow error bars which learning has left too wide.
_RECALIBRATE = 1.2

GateMaker = Callable[[Potential], UncertaintyGate]


class Learning:
    """Learns, and tells what is known.

    Parameters
    ----------
    study : Study
    gate : UncertaintyGate or callable
        Or what makes it for the potential.
    state : RunState
    labels : LabelStore
    journal : Journal
    """

    def __init__(
        self, study: Study, gate: UncertaintyGate | GateMaker, state: RunState, labels: LabelStore, journal: Journal
    ) -> None:
        self._study, self._gate, self._state, self._journal = study, gate, state, journal
        self.labels = labels
        self._made: tuple[int, UncertaintyGate] | None = None

    @property
    def potential(self) -> Potential:
        """As it is now."""
        return self._study.potential

    @property
    def gate(self) -> UncertaintyGate:
        """Made anew after the potential has learnt where thresholds follow from it."""
        if isinstance(self._gate, UncertaintyGate):
            return self._gate
        if self._made is None or self._made[0] != self._state.model:
            self._made = self._state.model, self._gate(self.potential)
        return self._made[1]

    def prediction(self, atoms: Atoms) -> Prediction | None:
        """Of a structure, once there is a model."""
        return self.potential.predict_full([bare(atoms)])[0] if self._state.model else None

    def knows(self, atoms: Atoms) -> bool:
        """Whether the model has learnt a label of exactly these atoms."""
        entry = self.labels.find(atoms)
        return entry is not None and entry.number in self._state.training

    def note(self, entry: Entry) -> None:
        """Count a label among what the model has seen, from its next change on."""
        if entry.number in self._state.audit:
            self._state.audit.remove(entry.number)
        self._state.training.append(entry.number)

    def learn(self, new: Sequence[Entry], known: Sequence[Atoms]) -> list[float]:
        """Learn labels: from all of them when it is time for it, else at a lower price.

        Parameters
        ----------
        new : sequence of Entry
        known : sequence of Atoms
            Structures that the gate has fired at though they have been learnt.

        Returns
        -------
        list of float
            What the gate still finds in all of these structures, in units of its thresholds.
        """
        state, gate = self._state, self.gate
        for entry in new:
            self.note(entry)
        if self._study.due(len(state.training), state.learnt_at_fit):
            self.fit()
        elif new:
            state.model, state.quiet = state.model + 1, 0
            record = self._study.update([entry.structure for entry in new], state.model)
            self._journal.tell(record | {"labels": len(state.training)})
        learnt = [*known, *(entry.atoms for entry in new)]
        left = self._left(learnt, gate)
        if max(left, default=0) > 1 and len(state.training) >= _RECALIBRATE * state.learnt_at_fit:
            self.fit()
            left = self._left(learnt, gate)
        return left

    def fit(self) -> None:
        """Fit to everything that has been noted."""
        state = self._state
        state.model, state.quiet = state.model + 1, 0
        record = self._study.fit([self.labels[n].structure for n in state.training], state.model)
        state.learnt_at_fit = len(state.training)
        self._journal.tell(record | {"labels": len(state.training)})

    def fit_last(self) -> None:
        """The best model of what there is, at the end."""
        if self._state.model and len(self._state.training) > self._state.learnt_at_fit:
            self.fit()
            self._journal.save(self._state)

    def _left(self, learnt: Sequence[Atoms], gate: UncertaintyGate) -> list[float]:
        """What the gate still finds in structures that have been learnt, in units of its thresholds."""
        watch = gate.bound_to(self.potential, screened=False).watch
        left = []
        for atoms in learnt:
            watch.look(bare(atoms), 0)
            left.append(watch.excess)
        return left
