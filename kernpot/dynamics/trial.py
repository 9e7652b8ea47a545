"""Whether a model holds: the last part of the simulation once more from its start, without the gate stopping it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units

from kernpot.dynamics.electronic_state import forget_all_else
from kernpot.dynamics.explorer import Explorer
from kernpot.dynamics.gate import UncertaintyGate
from kernpot.dynamics.outcome import INTERRUPTED, Stop
from kernpot.dynamics.reasons import REASONS
from kernpot.dynamics.run_directory import Record
from kernpot.dynamics.schedule import Planned
from kernpot.dynamics.state import RunState
from kernpot.dynamics.walker import Walker
from kernpot.errors import KernpotError
from kernpot.potential import Potential

# Trials that a model may fail before the run ends without having been shown to hold.
MOST = 5


@dataclass(frozen=True)
class Trial:
    """How a trial ended.

    Attributes
    ----------
    steps : int
        It was to make.
    time_fs : float
        Simulated by each walker that it made to its end.
    temperature : float or None
        Highest target temperature, K, where there is a plan.
    stopped : str or None
        What stopped a walker, in words, and at which step.
    """

    steps: int
    time_fs: float
    temperature: float | None
    stopped: str | None

    def __str__(self) -> str:
        hot = "" if self.temperature is None else f" at up to {self.temperature:.0f} K"
        what = f"a trial of {self.steps} steps{hot}, from the first structures with new momenta,"
        if self.stopped is None:
            return f"{what} came to its end ({self.time_fs / 1000:.3g} ps) without the gate stopping it"
        return f"{what} was stopped {self.stopped}"

    def as_record(self) -> Record:
        """The trial as an event."""
        return {"event": "trial", "held": self.stopped is None, "steps": self.steps, "message": f"{self}."}


def trial_walkers(explorer: Explorer, state: RunState, initial: Sequence[Atoms]) -> list[Walker]:
    """Walkers at the first structures with new momenta, as long before the end of the simulation as a trial takes.

    They follow from the model and the number of trials before: a run that was killed makes the same ones again.
    """
    seed = explorer.settings.random_state
    seeds = np.random.SeedSequence([seed, state.model, state.trials]).spawn(len(state.walkers))
    walkers = []
    for k, (one, before) in enumerate(zip(seeds, state.walkers, strict=True)):
        atoms = initial[k % len(initial)].copy()
        forget_all_else(atoms)
        step = max(explorer.n_steps - explorer.settings.trial, 0)
        walkers.append(Walker(k, atoms, np.random.Generator(np.random.PCG64(one)), step, before.time_fs))
        if explorer.temperature_at(step) is not None or "momenta" not in atoms.arrays:
            explorer.restart(walkers[-1])
    return walkers


def made_trial(
    explorer: Explorer, potential: Potential, gate: UncertaintyGate, state: RunState, initial: Sequence[Atoms]
) -> Trial:
    """Try the potential as it is; nothing is asked of the oracle, and nothing but the event is written.

    Raises
    ------
    Stop
        When it is told to stop before it has come to an end.
    """
    n_steps = explorer.n_steps
    steps, time_fs, stopped = min(n_steps, explorer.settings.trial), 0.0, None
    targets = [explorer.temperature_at(step) for step in range(n_steps - steps, n_steps + 1)]
    temperature = max((target for target in targets if target is not None), default=None)
    for walker in trial_walkers(explorer, state, initial):
        begun = walker.time_fs
        try:
            stopped = _stopped(explorer, walker, potential, gate)
        except (KernpotError, ArithmeticError, np.linalg.LinAlgError) as error:
            stopped = f"at step {walker.step - (n_steps - steps)}: {error}"
        if stopped is not None:
            break
        time_fs = walker.time_fs - begun
    return Trial(steps, time_fs, temperature, stopped)


def _stopped(explorer: Explorer, walker: Walker, potential: Potential, gate: UncertaintyGate) -> str | None:
    """What stops a walker before the end; None if nothing does."""
    begun, plan, atoms = walker.step, explorer.dynamics, walker.atoms
    atoms.calc = explorer.calculator(potential)
    watch = gate.bound_to(potential).watch
    while walker.step < explorer.n_steps:
        dynamics = plan(atoms, walker.step, walker.rng)
        end = min(walker.step + explorer.settings.leg, explorer.n_steps)
        if isinstance(plan, Planned):
            plan.recall(dynamics, walker.memory)
            end = min(end, plan.stage_end(walker.step))
        start, timestep = walker.step, dynamics.dt / units.fs
        for _ in dynamics.irun(end - start):
            if explorer.stopping():
                raise Stop(*INTERRUPTED)
            done = dynamics.nsteps
            if done == 0 and start > begun:
                continue  # the last structure of the leg before
            walker.step = start + done
            walker.time_fs += timestep if done else 0.0
            if (walker.step - begun) % gate.every == 0:
                alarm = watch.look(atoms, walker.step)
                if alarm is not None:
                    found = REASONS[alarm.reason].sentence(alarm.value, alarm.atom, alarm.element)
                    return f"at step {walker.step - begun}: {found}, above the gate's {alarm.threshold:.3g}"
        walker.memory = plan.memory(dynamics) if isinstance(plan, Planned) else {}
    return None
