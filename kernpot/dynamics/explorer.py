"""Legs of simulations: a few hundred steps at a time, each made anew from what is on disk, with the gate looking on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from kernpot.dynamics.frames import annotated
from kernpot.dynamics.gate import UncertaintyGate
from kernpot.dynamics.journal import Journal
from kernpot.dynamics.records import step_record
from kernpot.dynamics.schedule import DynamicsFactory, Planned
from kernpot.dynamics.settings import LearnSettings
from kernpot.dynamics.walker import Leg, Visit, Walker
from kernpot.dynamics.watch import Alarm, Watch
from kernpot.errors import KernpotError
from kernpot.structures.checks import check_atoms

if TYPE_CHECKING:
    from kernpot.potential import Potential

# Full checks that take as long as making a screen.
_UNSCREENED = 20


@dataclass(frozen=True, eq=False)
class Explorer:
    """Makes legs of walkers.

    Attributes
    ----------
    dynamics : DynamicsFactory
    settings : LearnSettings
        Steps of the simulation and of a leg, and how often to record and to audit; what drives the dynamics.
    journal : Journal
        Told what happens, and given frames.
    stopping : callable
        Whether to stop after this step.
    """

    dynamics: DynamicsFactory
    settings: LearnSettings
    journal: Journal
    stopping: Callable[[], bool]

    @property
    def n_steps(self) -> int:
        """Of the whole simulation of a walker."""
        assert self.settings.n_steps is not None
        return int(self.settings.n_steps)

    def temperature_at(self, step: int) -> float | None:
        """Target temperature, K, where the dynamics has a plan."""
        return self.dynamics.temperature_at(step) if isinstance(self.dynamics, Planned) else None

    def calculator(self, potential: Potential) -> Calculator:
        """What drives the dynamics."""
        make = self.settings.calculator
        return potential.calculator() if make is None else make(potential)

    def restart(self, walker: Walker) -> None:
        """New momenta at the temperature the walker should have, or has."""
        target = self.temperature_at(walker.step)
        walker.thermalise(walker.atoms.get_temperature() if target is None else target)
        walker.memory = {}

    def go(self, walker: Walker, potential: Potential, gate: UncertaintyGate, screened: bool) -> Leg:
        """Make one leg: the walker ends at its end, or where the gate last had no doubt.

        Parameters
        ----------
        screened : bool
            Whether the gate may use the potential's screen. The first leg with a new potential does not, and is short:
            it may not live long enough to be worth a screen.
        """
        start = walker.step
        end = self._end(start, gate, screened)
        audited = self._audited(walker, end - start)
        audits: list[Visit] = []
        atoms = walker.atoms.copy()
        atoms.calc = self.calculator(potential)
        lookout = _Lookout(
            gate.bound_to(potential, screened).watch,
            gate.bound_to(potential, screened, walker.raised).watch,
            walker.lenient,
        )
        try:
            dynamics = self.dynamics(atoms, start, walker.rng)
            if isinstance(self.dynamics, Planned):
                self.dynamics.recall(dynamics, walker.memory)
            for _ in dynamics.irun(end - start):
                if self.stopping():
                    return Leg([], [], finished=False)
                done = dynamics.nsteps
                here = Visit(atoms, walker.index, start + done, walker.time_fs + done * dynamics.dt / units.fs)
                if done % gate.every == 0:
                    alarm = lookout.look(here, done)
                    if alarm is not None:
                        walker.excess = alarm.value / gate.thresholds[alarm.reason]
                        candidates = self._stopped(walker, alarm, here.time_fs, dynamics.dt / units.fs)
                        # Where the gate had no moment without doubt on this leg, go on from here, once it is learnt.
                        walker.move_to(lookout.safe or candidates[0])
                        walker.memory, walker.lenient = {}, 0
                        return Leg(candidates, audits)
                if done and here.step % self.settings.record_every == 0:
                    self._record(potential, gate, here)
                if done and audited[done - 1]:
                    audits.append(here.kept())
        except (KernpotError, ArithmeticError, np.linalg.LinAlgError) as error:
            if lookout.safe is not None:
                walker.move_to(lookout.safe)
            walker.lenient = 0
            self.restart(walker)
            return Leg([], audits, failure=f"the dynamics could not go on after step {walker.step}: {error}")
        walker.memory = self.dynamics.memory(dynamics) if isinstance(self.dynamics, Planned) else {}
        walker.lenient = max(walker.lenient - (end - start), 0)
        walker.move_to(here)
        return Leg([], audits)

    def _end(self, start: int, gate: UncertaintyGate, screened: bool) -> int:
        """The last step of a leg."""
        length = self.settings.leg if screened else min(self.settings.leg, _UNSCREENED * gate.every)
        end = min(start + length, self.n_steps)
        return min(end, self.dynamics.stage_end(start)) if isinstance(self.dynamics, Planned) else end

    def _audited(self, walker: Walker, steps: int) -> NDArray[np.bool_]:
        """Which steps of this leg the audit keeps: each is as likely as any other, but those that stop the walker."""
        # Numbers are drawn for all steps in any case, so that what follows does not depend on where a leg ends.
        chance = walker.rng.random(steps)
        return chance < (0.0 if self.settings.audit_every is None else 1.0 / self.settings.audit_every)

    def _stopped(self, walker: Walker, alarm: Alarm, time_fs: float, timestep: float) -> list[Visit]:
        """Tell why; the structure, then those checked before it."""
        self.journal.tell(
            {
                "event": "gate",
                "walker": walker.index,
                "step": alarm.checked.step,
                "time_fs": time_fs,
                "atom": alarm.atom,
                "element": alarm.element,
                "reason": alarm.reason,
                "value": float(alarm.value),
                "threshold": float(alarm.threshold),
            }
        )
        return [
            Visit(c.atoms, walker.index, c.step, time_fs - (alarm.checked.step - c.step) * timestep)
            for c in (alarm.checked, *reversed(alarm.before))
        ]

    def _record(self, potential: Potential, gate: UncertaintyGate, visit: Visit) -> None:
        atoms = visit.atoms
        prediction = potential.predict_full([atoms])[0]
        frame = annotated(atoms, prediction)
        frame.info |= {"step": visit.step, "time_fs": visit.time_fs}
        self.journal.write_frame(f"trajectory_{visit.walker}.xyz", frame)
        self.journal.tell(
            step_record(
                atoms,
                prediction,
                walker=visit.walker,
                step=visit.step,
                n_steps=self.n_steps,
                time_fs=visit.time_fs,
                target_temperature=self.temperature_at(visit.step),
                threshold=gate.force_std,
            )
        )


@dataclass
class _Lookout:
    """The gate on one leg: lenient for some steps, strict from then on; and the last structure without doubt."""

    strict: Watch
    lenient: Watch
    n_lenient: int
    safe: Visit | None = None

    def look(self, here: Visit, done: int) -> Alarm | None:
        check_atoms(here.atoms, f"step {here.step}")
        watch = self.strict if done >= self.n_lenient else self.lenient
        alarm = watch.look(here.atoms, here.step)
        if alarm is None and watch is self.strict and not watch.doubtful:
            self.safe = here.kept()
        return alarm
