"""A simulation along a schedule, watched by a gate, that can be asked to stop after a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from kernpot.dynamics import UncertaintyGate
from kernpot.dynamics.frames import annotated
from kernpot.dynamics.interruption import interruptible
from kernpot.dynamics.records import step_record
from kernpot.dynamics.schedule import Schedule

INTERRUPTED = 130
# Steps with one target temperature: a ramp is a staircase with steps of this length.
_LEG = 100


class Simulation:
    """Dynamics with one potential.

    Parameters
    ----------
    atoms : Atoms
        With calculator and momenta; changed in place.
    schedule : Schedule
    gate : UncertaintyGate
    rng : numpy Generator
    write : callable
        Given frames with their stds and ``info["step"]``, ``info["time_fs"]``.
    every : int
        Steps between frames.
    observe : callable
        Given a record of each frame.

    Attributes
    ----------
    largest_force_std : float
        Of the frames written, eV/A.
    """

    def __init__(
        self,
        atoms: Atoms,
        schedule: Schedule,
        gate: UncertaintyGate,
        rng: np.random.Generator,
        write: Callable[[Atoms], None],
        every: int,
        observe: Callable[[dict[str, Any]], None],
    ) -> None:
        self.atoms, self.schedule, self.gate = atoms, schedule, gate
        self.rng, self.every = rng, every
        self._write, self._observe = write, observe
        self.largest_force_std = 0.0

    def run(self, first: int = 0) -> int:
        """Run to the end of the schedule, or until it is interrupted; the last step is written in any case.

        Parameters
        ----------
        first : int
            Step at which the atoms are; it is written only at 0.

        Returns
        -------
        int
            Steps made.

        Raises
        ------
        GateStopped
            When the gate says so.
        """
        step, written = first, first if first else -1
        memory: dict[str, Any] = {}
        with interruptible() as stopping:
            while step < self.schedule.n_steps and not stopping():
                dynamics = self.schedule(self.atoms, step, self.rng)
                self.schedule.recall(dynamics, memory)
                start, n_steps = step, min(_LEG, self.schedule.stage_end(step) - step)
                for _ in dynamics.irun(n_steps):
                    step = start + dynamics.nsteps
                    if dynamics.nsteps == 0 and start > 0:
                        continue  # the last structure of the leg before
                    if step % self.every == 0:
                        self._frame(step)
                        written = step
                    if step % self.gate.every == 0:
                        self.gate.check(self.atoms, step)
                    if stopping():
                        break
                memory = self.schedule.memory(dynamics)
        if written != step:
            self._frame(step)
        return step

    def _frame(self, step: int) -> None:
        prediction = self.atoms.calc.prediction
        frame = annotated(self.atoms, prediction)
        time_fs = step * self.schedule.stages[0].timestep
        frame.info |= {"step": step, "time_fs": time_fs}
        self._write(frame)
        self.largest_force_std = max(self.largest_force_std, float(prediction.forces.std.max()))
        free = self.schedule.stages[0].ensemble == "nve"
        self._observe(
            step_record(
                self.atoms,
                prediction,
                walker=0,
                step=step,
                n_steps=self.schedule.n_steps,
                time_fs=time_fs,
                target_temperature=None if free else self.schedule.temperature_at(step),
                threshold=self.gate.force_std,
            )
        )
