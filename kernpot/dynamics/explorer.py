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
from kernpot.dynamics.watch import Alarm
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
        end = min(
            start + (self.settings.leg if screened else min(self.settings.leg, _UNSCREENED * gate.every)), self.n_steps
        )
        if isinstance(self.dynamics, Planned):
            end = min(end, self.dynamics.stage_end(start))
        audited = self._audited(walker, end - start)
        audits: list[Visit] = []
        atoms = walker.atoms.copy()
        atoms.calc = (self.settings.calculator or _own_calculator)(potential)
        strict = gate.bound_to(potential, screened).watch
        lenient = gate.bound_to(potential, screened, walker.raised).watch
        safe: Visit | None = None
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
                    looking = strict if done >= walker.lenient else lenient
                    check_atoms(atoms, f"step {here.step}")
                    alarm = looking.look(atoms, here.step)
                    if alarm is not None:
                        return self._stopped(walker, gate, alarm, safe, audits, here.time_fs, dynamics.dt / units.fs)
                    if looking is strict and not strict.doubtful:
                        safe = here.kept()
                if done and here.step % self.settings.record_every == 0:
                    self._record(potential, gate, here)
                if done and audited[done - 1]:
                    audits.append(here.kept())
        except (KernpotError, ArithmeticError, np.linalg.LinAlgError) as error:
            if safe is not None:
                walker.move_to(safe)
            walker.lenient = 0
            self.restart(walker)
            return Leg([], audits, failure=f"the dynamics could not go on after step {walker.step}: {error}")
        walker.memory = self.dynamics.memory(dynamics) if isinstance(self.dynamics, Planned) else {}
        walker.lenient = max(walker.lenient - (end - start), 0)
        walker.move_to(here)
        return Leg([], audits)

    def _audited(self, walker: Walker, steps: int) -> NDArray[np.bool_]:
        """Which steps of this leg the audit keeps: each is as likely as any other, but those that stop the walker."""
        # Numbers are drawn for all steps in any case, so that what follows does not depend on where a leg ends.
        chance = walker.rng.random(steps)
        return chance < (0.0 if self.settings.audit_every is None else 1.0 / self.settings.audit_every)

    def _stopped(
        self,
        walker: Walker,
        gate: UncertaintyGate,
        alarm: Alarm,
        safe: Visit | None,
        audits: list[Visit],
        time_fs: float,
        timestep: float,
    ) -> Leg:
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
        candidates = []
        for checked in (alarm.checked, *reversed(alarm.before)):
            earlier = time_fs - (alarm.checked.step - checked.step) * timestep
            candidates.append(Visit(checked.atoms, walker.index, checked.step, earlier))
        # Where the gate had no moment without doubt on this leg, go on from here, once it has been learnt.
        walker.move_to(candidates[0] if safe is None else safe)
        walker.memory, walker.lenient = {}, 0
        walker.excess = alarm.value / gate.thresholds[alarm.reason]
        return Leg(candidates, audits)

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


def _own_calculator(potential: Potential) -> Calculator:
    return potential.calculator()
