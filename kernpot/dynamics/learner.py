"""Molecular dynamics that asks an oracle where its potential no longer knows, learns, and goes on.

A run is a sequence of rounds (:mod:`kernpot.dynamics.round`). In a round every walker makes a leg of at most a few
hundred steps, which ends early when the gate fires; the structures where it fired (or the best of them, in batches) and
those met at random for the audit go to the oracle; what comes back is learnt; walkers that were stopped go back to the
last structure the gate trusted. The state is on disk at the end of every round, every label as soon as it is there. All
that happens in a round follows from the state, so a run that was killed repeats the round, finds the labels it had
already asked for, and ends where it would have ended. When all steps are made, the model is tried
(:mod:`kernpot.dynamics.trial`); where its gate stops it, rounds go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ase import Atoms
from sklearn.base import clone
from sklearn.utils import check_random_state

from kernpot.dynamics.beginning import first_model, keep_provenance, new_state, state_on_disk, tell_beginning
from kernpot.dynamics.bootstrap import Bootstrap
from kernpot.dynamics.explorer import Explorer
from kernpot.dynamics.gate import UncertaintyGate
from kernpot.dynamics.interruption import interruptible
from kernpot.dynamics.journal import Journal
from kernpot.dynamics.label_store import LabelStore
from kernpot.dynamics.labelling import Labelling
from kernpot.dynamics.learning import GateMaker, Learning
from kernpot.dynamics.oracles import Oracle, OracleFailure, OraclePending
from kernpot.dynamics.outcome import Outcome, Stop
from kernpot.dynamics.round import Round
from kernpot.dynamics.run_directory import RunDirectory
from kernpot.dynamics.schedule import DynamicsFactory, Planned
from kernpot.dynamics.settings import LearnKeywords, LearnSettings
from kernpot.dynamics.state import RunState
from kernpot.dynamics.study import FEWEST, Study
from kernpot.dynamics.trial import MOST, made_trial, trial_walkers
from kernpot.errors import KernpotError
from kernpot.potential import Potential
from kernpot.structures.checks import check_atoms
from kernpot.structures.labels import label_structures, require_any_energy


class OnTheFlyLearner:
    """Learn a potential while it is simulated with, from one structure and an oracle.

    Everything is kept in a directory (:class:`kernpot.dynamics.run_directory.RunDirectory`): a learner with the same
    arguments goes on with the run it finds there, however that ended.

    Parameters
    ----------
    potential : Potential
        Unfitted. Without a ``random_state`` of its own it gets that of the run.
    oracle : Oracle
    dynamics : DynamicsFactory
        A :class:`kernpot.dynamics.schedule.Schedule`, or a callable ``(atoms, step, rng)`` that returns an ASE
        dynamics; called at the start of every leg.
    gate : UncertaintyGate or callable
        Its thresholds count, not its potential. A callable makes a gate for a fitted potential, after each time it has
        learnt, e.g. ``lambda potential: UncertaintyGate.for_tolerance(potential, 0.3, 0.01)``.
    initial : Atoms or sequence of Atoms
        Where walkers start, in turn. Momenta are drawn at the schedule's temperature unless there are some.
    directory : path-like
        Of the run; made if it is not there.
    **settings
        The attributes of :class:`kernpot.dynamics.settings.LearnSettings`: ``n_steps``, ``n_walkers``, ``bootstrap``,
        ``data``, ``refit_growth``, ``audit_every``, ``record_every``, ``leg``, ``trial``, ``batch``,
        ``calculator``, ``max_labels``, ``random_state``, ``observe``.

    Raises
    ------
    KernpotError
        When arguments make no sense, before anything is asked or written.

    Examples
    --------
    >>> from ase.calculators.emt import EMT
    >>> from kernpot import SparseGPPotential
    >>> from kernpot.dynamics import OnTheFlyLearner, Schedule, Stage, UncertaintyGate
    >>> from kernpot.dynamics.oracles import CalculatorOracle
    >>> learner = OnTheFlyLearner(
    ...     SparseGPPotential(n_inducing=40),
    ...     CalculatorOracle(EMT),
    ...     Schedule([Stage("langevin", 10, 300.0)]),
    ...     UncertaintyGate(potential, force_std=0.5),
    ...     initial=atoms,
    ...     directory="copper",
    ...     max_labels=12,
    ... )
    >>> learner.run().labels <= 12
    True
    """

    def __init__(
        self,
        potential: Potential,
        oracle: Oracle,
        dynamics: DynamicsFactory,
        gate: UncertaintyGate | GateMaker,
        initial: Atoms | Sequence[Atoms],
        directory: str | Path,
        **settings: Unpack[LearnKeywords],
    ) -> None:
        if settings.get("n_steps") is None and isinstance(dynamics, Planned):
            settings["n_steps"] = dynamics.n_steps
        self._settings = LearnSettings(**settings)
        self._initial = [initial] if isinstance(initial, Atoms) else list(initial)
        if not self._initial:
            raise KernpotError("initial: expected at least one structure to start from, got an empty list.")
        for k, atoms in enumerate(self._initial):
            check_atoms(atoms, f"initial[{k}]")
            if isinstance(dynamics, Planned):
                dynamics.check(atoms)
        self._data = label_structures(self._settings.data) if len(self._settings.data) else []
        if self._data:
            require_any_energy(self._data)
        number = (self._settings.bootstrap or Bootstrap()).number
        if max(number, len(self._initial)) + len(self._data) < FEWEST:
            raise KernpotError(
                f"bootstrap number: expected {FEWEST} structures or more to label first, which a fit needs, got "
                f"{number}."
            )
        self._oracle, self._dynamics, self._gate = oracle, dynamics, gate
        self._directory = RunDirectory(Path(directory))
        prototype = clone(potential)
        seed = prototype.get_params().get("random_state", 0)
        if seed is None:
            prototype.set_params(random_state=self._settings.random_state)
        else:
            _require_seed(seed)
        self._study = Study(prototype, self._directory, self._settings.refit_growth)

    @property
    def potential(self) -> Potential:
        """The potential as it is now; it must have been learnt."""
        return self._study.potential

    def run(self) -> Outcome:
        """Run until all walkers have made their steps with a model that holds, or something ends it.

        A model holds when the gate lets it make the last ``trial`` steps of the simulation once more from the first
        structures, with new momenta. Where the gate stops it, these steps are made again, with labels. A run that has
        ended goes on when it is run again.

        Raises
        ------
        RunDirectoryError
            When another process runs there, files were damaged, or the disk refuses them.
        """
        journal = Journal(self._directory, self._settings.observe)
        with self._directory.locked(), interruptible() as stopping:
            explorer = Explorer(self._dynamics, self._settings, journal, stopping)
            labels = LabelStore(self._directory.path / "labels")
            state = self._take_up(labels, explorer, journal)
            learning = Learning(self._study, self._gate, state, labels, journal)
            labelling = Labelling(self._oracle, learning, state, journal, stopping)
            try:
                stop = self._until_stopped(state, explorer, labelling, learning, journal)
            except Stop as reached:
                stop = reached
            except OraclePending as pending:
                stop = Stop("waiting", f"{pending}")
            if stop.reason not in ("interrupted", "waiting"):
                learning.fit_last()
            outcome = Outcome(
                stop.reason,
                stop.message,
                len(state.training),
                len(state.audit),
                sum(isinstance(labels[number].answer, OracleFailure) for number in labels),
                self._directory.path / "model.kernpot",
            )
            journal.tell({"event": "end", "reason": stop.reason, "message": stop.message})
            return outcome

    def _take_up(self, labels: LabelStore, explorer: Explorer, journal: Journal) -> RunState:
        """State from disk, or a new one."""
        found = state_on_disk(self._directory, self._settings.n_walkers, labels)
        resumed = found is not None
        state = new_state(self._settings, self._initial, explorer) if found is None else found
        self._directory.cut_back(state.sizes)
        if state.model:
            self._study.load(state.model)
        keep_provenance(self._directory, self._settings, self._initial, self._oracle, resumed)
        tell_beginning(journal, state, explorer.n_steps, resumed)
        return state

    def _until_stopped(
        self, state: RunState, explorer: Explorer, labelling: Labelling, learning: Learning, journal: Journal
    ) -> Stop:
        """Rounds until all steps are made or all labels asked for."""
        settings, initial = self._settings, self._initial
        if not state.model:
            first_model(settings, initial, self._data, state, labelling, learning)
            journal.save(state)
        rounds = Round(settings, initial, state, explorer, labelling, learning, journal)
        while True:
            while (state.active(explorer.n_steps) or state.candidates) and state.room(settings.max_labels) != 0:
                rounds.make()
            learning.fit_last()
            trial = made_trial(explorer, learning.potential, learning.gate, state, initial)
            journal.tell(trial.as_record())
            if state.room(settings.max_labels) == 0:
                return Stop("max_labels", f"{settings.max_labels} labels are made; {trial}.")
            if trial.stopped is None:
                return Stop("finished", f"all {explorer.n_steps} steps are made; {trial}.")
            state.walkers = trial_walkers(explorer, state, initial)
            state.trials += 1
            journal.save(state)
            if state.trials % MOST == 0:
                return Stop("unsettled", f"all {explorer.n_steps} steps are made, but {trial}; run it again to go on.")


def _require_seed(seed: object) -> None:
    """Refuse what a fit would, which comes after labels have been paid for."""
    try:
        check_random_state(seed)
    except ValueError as error:
        raise KernpotError(f"the potential's random_state: {error}") from None
