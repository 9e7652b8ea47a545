"""Molecular dynamics that asks an oracle where its potential no longer knows, learns, and goes on.

A run is a sequence of rounds. In a round every walker makes a leg of at most a few hundred steps, which ends early when
the gate fires; the structures where it fired (or the best of them, in batches) and those met at random for the audit go
to the oracle; what comes back is learnt; walkers that were stopped go back to the last structure the gate trusted.
The state is on disk at the end of every round, every label as soon as it is there. All that happens in a round follows
from the state, so a run that was killed repeats the round, finds the labels it had already asked for, and ends where it
would have ended.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import write
from sklearn.base import clone

from kernpot.dynamics.bootstrap import Bootstrap, bare
from kernpot.dynamics.frames import annotated
from kernpot.dynamics.gate import GateStopped, UncertaintyGate
from kernpot.dynamics.interruption import interruptible
from kernpot.dynamics.judgement import judge
from kernpot.dynamics.label_store import Entry, LabelStore
from kernpot.dynamics.oracles import Labels, Oracle, OracleFailure, OraclePending
from kernpot.dynamics.run_directory import Record, RunDirectory, RunDirectoryError, read_json, write_atomically
from kernpot.dynamics.schedule import DynamicsFactory, Planned
from kernpot.dynamics.state import RunState
from kernpot.dynamics.study import FEWEST, Study
from kernpot.dynamics.walker import Explorer, Visit, Walker
from kernpot.errors import KernpotError, StructureError
from kernpot.potential import Potential
from kernpot.storage import library_versions
from kernpot.structures.checks import check_atoms
from kernpot.structures.labels import label_structures, require_any_energy

# Where the gate stops a walker again and again, its next structures would be alike, and teach little: thresholds are
# raised for so many steps, twice as many each further time, to some more than what it was stopped with.
_GRACE, _LONGEST_GRACE = 10, 160
_RAISED, _RAISED_ABOVE = 3.0, 1.5
# Growth of the labels at which a fit is worth while that may narrow error bars which learning has left too wide.
_RECALIBRATE = 1.2
# Structures set aside in a row, without a label in between, after which the oracle is taken to be broken.
_FAILURES = 10
# Times the gate may fire without any leg coming to its end before it is asked whether labels still help, and by how
# much the std that they leave must then have fallen.
_STUCK, _PROGRESS = 40, 0.97

GateMaker = Callable[[Potential], UncertaintyGate]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    reason : {"finished", "max_labels", "interrupted", "waiting", "oracle", "threshold"}
    message : str
        In words, with what to do next.
    labels, audited, failed : int
        Structures learnt, labelled for the audit only, and set aside.
    model : Path
        The model file.
    """

    reason: str
    message: str
    labels: int
    audited: int
    failed: int
    model: Path


class _Stop(Exception):
    """The run ends here."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


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
    n_steps : int, optional
        Steps of every walker; a schedule knows.
    n_walkers : int, default=1
    bootstrap : Bootstrap, optional
        The first frames to label.
    data : sequence of Atoms, optional
        Labelled structures to begin with, beside the bootstrap.
    refit_growth : float, default=1.3
        The potential is fitted anew, and calibrated, when there are this many times the labels of the last time; in
        between it is updated.
    audit_every : int, optional
        Mean number of steps (of all walkers) between structures that are labelled at random, whatever the gate says,
        and never learnt: they measure how true the error bars are. None: no audit.
    record_every : int, default=50
        Steps between the frames written to ``trajectory_*.xyz``, with all their stds.
    leg : int, default=100
        Steps between two states on disk.
    batch : int, optional
        Walkers that were stopped wait until all have been; of the structures they have come through so many are
        labelled that teach most together. None: each structure that stops a walker is labelled at once.
    calculator : callable, optional
        Makes the calculator that drives the dynamics from the potential, e.g. one with a bias
        (:mod:`kernpot.dynamics.bias`).
    max_labels : int, optional
        Ask for no more labels than these, the audit's included.
    random_state : int, default=0
        Seed of everything random.
    observe : callable, optional
        Called with every record that is written to ``events.jsonl``.

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
        *,
        n_steps: int | None = None,
        n_walkers: int = 1,
        bootstrap: Bootstrap | None = None,
        data: Sequence[Atoms] = (),
        refit_growth: float = 1.3,
        audit_every: int | None = None,
        record_every: int = 50,
        leg: int = 100,
        batch: int | None = None,
        calculator: Callable[[Potential], Calculator] | None = None,
        max_labels: int | None = None,
        random_state: int = 0,
        observe: Callable[[Record], None] | None = None,
    ) -> None:
        self._initial = [initial] if isinstance(initial, Atoms) else list(initial)
        if n_steps is None and isinstance(dynamics, Planned):
            n_steps = dynamics.n_steps
        counts = {"n_steps": n_steps, "n_walkers": n_walkers, "record_every": record_every, "leg": leg}
        optional = {"audit_every": audit_every, "batch": batch, "max_labels": max_labels}
        counts |= {name: value for name, value in optional.items() if value is not None}
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise KernpotError(f"{name}: expected a positive whole number, got {value!r}.")
        if max_labels is not None and max_labels < FEWEST:
            raise KernpotError(f"max_labels: expected at least {FEWEST}, which a fit needs, got {max_labels}.")
        if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer) or random_state < 0:
            raise KernpotError(f"random_state: expected a whole number, 0 or more, got {random_state!r}.")
        if not (math.isfinite(refit_growth) and refit_growth > 1):
            raise KernpotError(f"refit_growth: expected a number above 1, got {refit_growth!r}.")
        if not self._initial:
            raise KernpotError("initial: expected at least one structure to start from, got an empty list.")
        for k, atoms in enumerate(self._initial):
            check_atoms(atoms, f"initial[{k}]")
            if isinstance(dynamics, Planned):
                dynamics.check(atoms)
        self._bootstrap = Bootstrap() if bootstrap is None else bootstrap
        self._data = label_structures(data) if len(data) else []
        if self._data:
            require_any_energy(self._data)
        self._oracle, self._gate, self._batch, self._max_labels = oracle, gate, batch, max_labels
        self._random_state, self._n_walkers, self._observe = random_state, n_walkers, observe
        self._made: tuple[int, UncertaintyGate] | None = None
        self._stopping: Callable[[], bool] = lambda: False
        self._directory = RunDirectory(Path(directory))
        prototype = clone(potential)
        if prototype.get_params().get("random_state", 0) is None:
            prototype.set_params(random_state=random_state)
        self._study = Study(prototype, self._directory, refit_growth)
        self._explorer = Explorer(
            dynamics,
            int(n_steps or 0),
            leg,
            record_every,
            audit_every,
            calculator or (lambda fitted: fitted.calculator()),
            self._tell,
            self._write_frame,
            lambda: self._stopping(),
        )

    @property
    def potential(self) -> Potential:
        """The potential as it is now; it must have been learnt."""
        return self._study.potential

    def run(self) -> Outcome:
        """Run until all walkers have made their steps, or something ends it; then run again to go on.

        Raises
        ------
        RunDirectoryError
            When another process runs there, files were damaged, or the disk refuses them.
        """
        self._started = time.perf_counter()
        with self._directory.locked(), interruptible() as self._stopping:
            self._resume()
            try:
                self._begin()
                while self._active() or self._state.candidates:
                    if self._room() == 0:
                        raise _Stop("max_labels", f"{self._max_labels} labels are made.")
                    self._round()
                stop = _Stop("finished", f"all {self._explorer.n_steps} steps are made.")
            except _Stop as reached:
                stop = reached
            except OraclePending as pending:
                stop = _Stop("waiting", f"{pending}")
            if stop.reason not in ("interrupted", "waiting"):
                self._fit_last()
            outcome = Outcome(
                stop.reason,
                stop.message,
                len(self._state.training),
                len(self._state.audit),
                sum(isinstance(self._labels[number].answer, OracleFailure) for number in self._labels),
                self._directory.path / "model.kernpot",
            )
            self._tell({"event": "end", "reason": stop.reason, "message": stop.message})
            return outcome

    # ------------------------------------------------------------------ beginning

    def _resume(self) -> None:
        """State from disk, or a new one."""
        self._labels = LabelStore(self._directory.path / "labels")
        resumed = self._directory.state_file.exists()
        if resumed:
            self._state = RunState.from_dict(read_json(self._directory.state_file), str(self._directory.state_file))
            if len(self._state.walkers) != self._n_walkers:
                raise KernpotError(
                    f"n_walkers: the run in {self._directory.path} has {len(self._state.walkers)}, got "
                    f"{self._n_walkers}; resume with as many, or start a new run in another directory."
                )
            missing = [n for n in (*self._state.training, *self._state.audit) if n not in self._labels]
            if missing:
                raise RunDirectoryError(
                    f"{self._directory.path / 'labels'} lacks the labels {missing[:5]} that the run has "
                    "learnt; restore them."
                )
        else:
            self._state = self._new_state()
        self._directory.cut_back(self._state.sizes)
        if self._state.model:
            self._study.load(self._state.model)
        provenance = {
            "versions": library_versions(),
            "oracle": self._oracle.describe(),
            "initial": [str(atoms.symbols) for atoms in self._initial],
            "random_state": self._random_state,
        }
        if not resumed:
            write_atomically(self._directory.path / "run.json", json.dumps(provenance, indent=1))
        else:
            self._require_the_same(read_json(self._directory.path / "run.json"), provenance)
        self._tell(
            {
                "event": "resume" if resumed else "start",
                "version": library_versions()["kernpot"],
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "n_steps": self._explorer.n_steps,
                "n_walkers": self._n_walkers,
                "labels": len(self._state.training),
            }
        )

    def _require_the_same(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """Refuse to go on with another system or seed in the run's directory."""
        for name in ("initial", "random_state"):
            if before.get(name) != now[name]:
                raise KernpotError(
                    f"{name}: the run in {self._directory.path} has {before.get(name)}, got {now[name]}; resume with "
                    "the same, or start a new run in another directory."
                )

    def _new_state(self) -> RunState:
        seeds = np.random.SeedSequence(self._random_state).spawn(self._n_walkers + 1)
        walkers = []
        for k, seed in enumerate(seeds[1:]):
            atoms = self._initial[k % len(self._initial)].copy()
            atoms.info.clear()
            walkers.append(Walker(k, atoms, np.random.Generator(np.random.PCG64(seed))))
            if "momenta" not in atoms.arrays:
                self._explorer.restart(walkers[-1])
        return RunState(walkers, np.random.Generator(np.random.PCG64(seeds[0])))

    def _begin(self) -> None:
        """Label the first frames and fit, unless that was done."""
        state = self._state
        if state.model:
            return
        for given in self._data:
            if given.energy is None or given.forces is None:
                raise StructureError(f"{given.source}: expected energy and forces among the data to begin with.")
            if self._labels.find(given.atoms) is None:
                answer = Labels(given.energy, given.forces, given.stress)
                self._labels.add(Entry(self._labels.free(state.asked + 1), given.atoms, answer, 0.0))
            state.asked += 1
            self._learnt(self._labels.find(given.atoms))
        frames = self._bootstrap.frames(self._initial, state.rng)[: self._room()]
        for entry in self._ask([Visit(atoms, -1, 0, 0.0) for atoms in frames], "bootstrap"):
            if isinstance(entry.answer, Labels):
                self._learnt(entry)
            else:
                self._set_aside(entry)
        if len(state.training) < FEWEST:
            # Nothing has been built on these failures: the next run asks again, of an oracle that may have been mended.
            self._labels.forget_failures()
        self._fit()
        self._save()

    # ------------------------------------------------------------------ rounds

    def _room(self) -> int | None:
        """How many labels may still be asked for; None for any number."""
        made = len(self._state.training) + len(self._state.audit)
        return None if self._max_labels is None else max(self._max_labels - made, 0)

    def _active(self) -> list[Walker]:
        return [w for w in self._state.walkers if not w.paused and w.step < self._explorer.n_steps]

    def _round(self) -> None:
        state = self._state
        gate, audits, quiet = self._gate_now(), [], 0
        for walker in self._active():
            watched = walker.lenient == 0
            leg = self._explorer.go(walker, self.potential, gate, screened=state.quiet > 0)
            if not leg.finished:
                raise _Stop("interrupted", "stopped on request; run it again to go on.")
            audits += leg.audits
            if leg.failure is not None:
                state.failures += 1
                self._tell({"event": "failed", "label": None, "purpose": "dynamics", "walker": walker.index,
                            "step": walker.step, "reason": leg.failure})  # fmt: skip
            elif leg.candidates:
                walker.paused = True
                walker.repeats += 1
                state.candidates += leg.candidates if self._batch else leg.candidates[:1]
            else:
                quiet += 1
                if watched:
                    walker.repeats = 0
                    state.stuck.clear()
        for entry in self._ask(audits[: self._room()], "audit"):
            if isinstance(entry.answer, Labels):
                state.audit.append(entry.number)
                self._directory.append("audit.xyz", partial(_append, frame=self._with_stds(entry.structure)))
            else:
                self._set_aside(entry)
        state.quiet += quiet
        if state.candidates and not (self._batch and self._active()):
            self._study_candidates(gate)
        if state.failures >= _FAILURES:
            state.failures = 0  # whoever runs it again has mended something
            self._save()
            raise _Stop(
                "oracle",
                f"{_FAILURES} structures in a row could not be used; the reasons are in set_aside.xyz and "
                "events.jsonl. Mend the oracle's settings, or lower the temperature or time step, and run it again.",
            )
        self._save()

    def _study_candidates(self, gate: UncertaintyGate) -> None:
        """Label candidates, learn them, and let their walkers go on."""
        state = self._state
        chosen = self._chosen()
        known = [v for v in chosen if self._is_learnt(v)]
        chosen = known + [v for v in chosen if v not in known][: self._room()]
        new: list[Entry] = []
        for visit, entry in zip(
            unknown := [v for v in chosen if v not in known], self._ask(unknown, "query"), strict=True
        ):
            if isinstance(entry.answer, Labels):
                new.append(entry)
                state.failures = 0
            else:
                self._set_aside(entry)
                state.failures += 1
                self._elsewhere(state.walkers[visit.walker], visit)
        for entry in new:
            self._learnt(entry)
        if self._study.due(len(state.training), state.learnt_at_fit):
            self._fit()
        elif new:
            state.model, state.quiet = state.model + 1, 0
            record = self._study.update([entry.structure for entry in new], state.model)
            self._tell(record | {"labels": len(state.training)})
        learnt = [visit.atoms for visit in known] + [entry.atoms for entry in new]
        left = self._left(learnt, gate)
        if max(left, default=0) > 1 and len(state.training) >= _RECALIBRATE * state.learnt_at_fit:
            self._fit()
            left = self._left(learnt, gate)
        state.stuck += left
        state.candidates = []
        for walker in state.walkers:
            if walker.paused and walker.repeats > 1:
                walker.lenient = min(_GRACE * 2 ** (walker.repeats - 2), _LONGEST_GRACE)
                walker.raised = max(_RAISED, _RAISED_ABOVE * walker.excess)
            walker.paused = False
        recent, earlier = state.stuck[-_STUCK // 2 :], state.stuck[-_STUCK : -_STUCK // 2]
        if len(state.stuck) >= _STUCK and min(recent) > 1 and np.mean(recent) > _PROGRESS * np.mean(earlier):
            self._save()
            raise _Stop(
                "threshold",
                f"the gate still finds {np.mean(recent):.2g} times its threshold in structures that have been learnt "
                f"({gate.thresholds}), and more labels do not bring it down: raise the threshold, "
                "or let the potential describe more (cutoff, n_max; n_inducing, or larger networks) in a new run.",
            )

    def _left(self, learnt: Sequence[Atoms], gate: UncertaintyGate) -> list[float]:
        """What the gate still finds in structures that have been learnt, in units of its thresholds."""
        looking = gate.bound_to(self.potential, screened=False)
        found = []
        for atoms in learnt:
            with suppress(GateStopped):
                looking.check(bare(atoms))
            last = looking.last
            levels = [getattr(last, name) / threshold for name, threshold in looking.thresholds.items()]
            found.append(float(max(levels)))
        return found

    def _chosen(self) -> list[Visit]:
        """Which candidates to label."""
        candidates = self._state.candidates
        if self._batch is None:
            return candidates
        fresh = [v for v in candidates if not self._is_learnt(v)]
        if len(fresh) <= self._batch:
            return fresh or candidates[:1]
        selection = self.potential.select([bare(v.atoms) for v in fresh], self._batch, 0.0)
        return [fresh[k] for k in selection.indices]

    def _is_learnt(self, visit: Visit) -> bool:
        entry = self._labels.find(visit.atoms)
        return entry is not None and entry.number in self._state.training

    def _elsewhere(self, walker: Walker, visit: Visit) -> None:
        """Let a walker try again, another way, where the oracle had no answer."""
        if walker.step == visit.step:
            walker.atoms = self._initial[walker.index % len(self._initial)].copy()
            walker.atoms.info.clear()
        self._explorer.restart(walker)

    # ------------------------------------------------------------------ labels and learning

    def _ask(self, visits: Sequence[Visit], purpose: str) -> list[Entry]:
        """Labels of structures, from disk or the oracle; each is on disk before it is used."""
        found: dict[int, Entry] = {}
        for k, visit in enumerate(visits):
            entry = self._labels.find(visit.atoms)
            if entry is not None:
                found[k] = entry
                self._tell_label(visit, entry, purpose)
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
                    number = self._labels.free(first + asked[place])
                    entry = Entry(number, bare(visit.atoms), answer, time.perf_counter() - start)
                    start = time.perf_counter()
                    self._labels.add(entry)
                    found[asked[place]] = entry
                    self._tell_label(visit, entry, purpose)
                    if self._stopping() and len(found) < len(visits):
                        raise _Stop("interrupted", "stopped on request; run it again to go on.")
        return [found[k] for k in range(len(visits))]

    def _tell_label(self, visit: Visit, entry: Entry, purpose: str) -> None:
        where = {"purpose": purpose, "walker": visit.walker if visit.walker >= 0 else None, "step": visit.step,
                 "time_fs": visit.time_fs, "label": entry.number}  # fmt: skip
        if isinstance(entry.answer, OracleFailure):
            self._tell({"event": "failed", **where, "reason": entry.answer.reason})
            return
        told: Record = {"event": "label", **where, "seconds": entry.seconds}
        if self._state.model:
            prediction = self.potential.predict_full([bare(visit.atoms)])[0]
            told |= judge(prediction, entry.answer, self._gate_now().force_std)
        self._tell(told)

    def _learnt(self, entry: Entry | None) -> None:
        """From now on among what the model has seen."""
        assert entry is not None
        if entry.number in self._state.audit:
            self._state.audit.remove(entry.number)
        self._state.training.append(entry.number)

    def _fit(self) -> None:
        state = self._state
        state.model, state.quiet = state.model + 1, 0
        record = self._study.fit([self._labels[n].structure for n in state.training], state.model)
        state.learnt_at_fit = len(state.training)
        self._tell(record | {"labels": len(state.training)})

    def _fit_last(self) -> None:
        """The best model of what there is, at the end."""
        if self._state.model and len(self._state.training) > self._state.learnt_at_fit:
            self._fit()
            self._save()

    def _gate_now(self) -> UncertaintyGate:
        """The gate, made anew after the potential has learnt where thresholds follow from it."""
        if isinstance(self._gate, UncertaintyGate):
            return self._gate
        if self._made is None or self._made[0] != self._state.model:
            self._made = self._state.model, self._gate(self.potential)
        return self._made[1]

    # ------------------------------------------------------------------ files

    def _set_aside(self, entry: Entry) -> None:
        frame = self._with_stds(entry.atoms.copy())
        if isinstance(entry.answer, OracleFailure):
            frame.info["reason"] = entry.answer.reason
        self._directory.append("set_aside.xyz", partial(_append, frame=frame))

    def _with_stds(self, frame: Atoms) -> Atoms:
        """The frame with predicted forces and all stds beside what it holds, once there is a potential."""
        if not self._state.model:
            return frame
        predicted = annotated(frame, self.potential.predict_full([bare(frame)])[0])
        calculator, frame = frame.calc, predicted
        frame.arrays["forces_predicted"] = predicted.get_forces(apply_constraint=False)
        frame.info["energy_predicted"] = predicted.get_potential_energy()
        frame.calc = calculator
        return frame

    def _write_frame(self, walker: int, frame: Atoms) -> None:
        self._directory.append(f"trajectory_{walker}.xyz", partial(_append, frame=frame))

    def _tell(self, record: Record) -> None:
        """Write a record, with the seconds since this process took the run up."""
        record = record | {"elapsed": time.perf_counter() - self._started}
        self._directory.log(record)
        if self._observe is not None:
            self._observe(record)

    def _save(self) -> None:
        self._state.sizes = self._directory.sizes()
        write_atomically(self._directory.state_file, json.dumps(self._state.as_dict()))
        self._directory.keep_models(self._state.model)


def _append(path: Path, frame: Atoms) -> None:
    write(path, frame, format="extxyz", append=True)
