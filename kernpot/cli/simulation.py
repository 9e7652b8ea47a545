"""A simulation along a schedule, watched by a gate, that can be asked to stop after a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from kernpot.dynamics import GateStopped, UncertaintyGate
from kernpot.dynamics.frames import annotated
from kernpot.dynamics.gate_event import GateEvent
from kernpot.dynamics.interruption import interruptible
from kernpot.dynamics.records import step_record
from kernpot.dynamics.schedule import Schedule

INTERRUPTED = 130
# Steps with one target temperature: a ramp is a staircase with steps of this length.
_LEG = 100


@dataclass(frozen=True)
class Place:
    """Where a run is that goes on.

    Attributes
    ----------
    step : int
        The structure of this step has been written.
    memory : dict
        What its dynamics knew of the cell.
    """

    step: int
    memory: dict[str, float]


class Simulation:
    """Dynamics with one potential.

    Parameters
    ----------
    atoms : Atoms
        With calculator and momenta; changed in place.
    schedule : Schedule
    n_steps : int
        Steps in all, those made before included.
    gate : UncertaintyGate
    rng : numpy Generator
    write : callable
        Given frames with their stds and ``info["step"]``, ``info["time_fs"]``; at constant pressure what the dynamics
        knows of the cell, too.
    every : int
        Steps between frames.
    observe : callable
        Given a record of each frame.
    note : callable
        Given each event of the gate, at once.

    Attributes
    ----------
    largest_force_std : float
        Of the frames written, eV/A.
    """

    def __init__(
        self,
        atoms: Atoms,
        schedule: Schedule,
        n_steps: int,
        gate: UncertaintyGate,
        rng: np.random.Generator,
        write: Callable[[Atoms], None],
        every: int,
        observe: Callable[[dict[str, Any]], None],
        note: Callable[[GateEvent], None],
    ) -> None:
        self.atoms, self.schedule, self.n_steps, self.gate = atoms, schedule, n_steps, gate
        self.rng, self.every = rng, every
        self._write, self._observe, self._note = write, observe, note
        self.largest_force_std = 0.0

    def run(self, place: Place | None = None) -> int:
        """Run to the end, or until it is interrupted; the last step is written in any case.

        Parameters
        ----------
        place : Place, optional
            Where the atoms are, in a run that goes on.

        Returns
        -------
        int
            Steps made.

        Raises
        ------
        GateStopped
            When the gate says so.
        """
        first, known = (None, {}) if place is None else (place.step, place.memory)
        begin, written = first or 0, first
        step = begin
        with interruptible() as stopping:
            while step < self.n_steps and not stopping():
                dynamics = self.schedule(self.atoms, step, self.rng)
                self.schedule.recall(dynamics, known)
                start, end = step, min(step + _LEG, self.schedule.stage_end(step), self.n_steps)
                for _ in dynamics.irun(end - start):
                    step = start + dynamics.nsteps
                    if dynamics.nsteps == 0 and start > begin:
                        continue  # the last structure of the leg before
                    known = self.schedule.memory(dynamics)
                    if step % self.every == 0 and step != first:
                        self._frame(step, known)
                        written = step
                    if step % self.gate.every == 0:
                        self._look(step)
                    if stopping():
                        break
        if written != step:
            self._frame(step, known)
        return step

    def _look(self, step: int) -> None:
        try:
            event = self.gate.check(self.atoms, step)
        except GateStopped as stopped:
            self._note(stopped.event)
            raise
        if event is not None:
            self._note(event)

    def _frame(self, step: int, memory: dict[str, Any]) -> None:
        prediction = self.atoms.calc.prediction
        frame = annotated(self.atoms, prediction)
        time_fs = step * self.schedule.stages[0].timestep
        frame.info |= {"step": step, "time_fs": time_fs} | memory
        self._write(frame)
        self.largest_force_std = max(self.largest_force_std, float(prediction.forces.std.max()))
        free = self.schedule.stages[0].ensemble == "nve"
        self._observe(
            step_record(
                self.atoms,
                prediction,
                walker=0,
                step=step,
                n_steps=self.n_steps,
                time_fs=time_fs,
                target_temperature=None if free else self.schedule.temperature_at(step),
                threshold=self.gate.force_std,
            )
        )
