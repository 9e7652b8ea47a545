"""One simulation, a few hundred steps at a time, each leg made anew from what is on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from kernpot.dynamics.frames import annotated
from kernpot.dynamics.gate import GateEvent, GateStopped, UncertaintyGate
from kernpot.dynamics.records import step_record
from kernpot.dynamics.run_directory import Record
from kernpot.dynamics.schedule import DynamicsFactory, Planned
from kernpot.dynamics.serial import atoms_from_dict, atoms_to_dict, generator_from, generator_state
from kernpot.errors import KernpotError
from kernpot.structures.checks import check_atoms

if TYPE_CHECKING:
    from kernpot.potential import Potential

# Full checks that take as long as making a screen.
_UNSCREENED = 20


@dataclass
class Walker:
    """Where a simulation is.

    Attributes
    ----------
    index : int
    atoms : Atoms
        With momenta, without calculator.
    step : int
        Steps made.
    time_fs : float
        Simulated time.
    rng : numpy Generator
    memory : dict
        What its dynamics knows beside atoms and random numbers.
    lenient : int
        Steps that it will make with the gate's thresholds raised.
    raised : float
        Factor on them.
    excess : float
        What the gate last stopped it with, in units of its threshold.
    paused : bool
        Waits for labels.
    repeats : int
        Times the gate has stopped it since a leg of it came to its end.
    """

    index: int
    atoms: Atoms
    rng: np.random.Generator
    step: int = 0
    time_fs: float = 0.0
    memory: dict[str, Any] = field(default_factory=dict)
    lenient: int = 0
    raised: float = 1.0
    excess: float = 1.0
    paused: bool = False
    repeats: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The walker, as JSON."""
        plain = {
            name: getattr(self, name)
            for name in ("index", "step", "time_fs", "memory", "lenient", "raised", "excess", "paused", "repeats")
        }
        return plain | {"atoms": atoms_to_dict(self.atoms), "rng": generator_state(self.rng)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The walker of :meth:`as_dict`."""
        given = {**data, "atoms": atoms_from_dict(data["atoms"]), "rng": generator_from(data["rng"])}
        return cls(**given)

    def thermalise(self, temperature: float) -> None:
        """Draw momenta from the Maxwell-Boltzmann distribution at a temperature (K)."""
        thermal = np.sqrt(self.atoms.get_masses() * units.kB * temperature)
        self.atoms.set_momenta(thermal[:, None] * self.rng.standard_normal((len(self.atoms), 3)))


@dataclass(frozen=True, eq=False)
class Visit:
    """A structure that a walker has come through.

    Attributes
    ----------
    atoms : Atoms
    walker, step : int
    time_fs : float
    """

    atoms: Atoms
    walker: int
    step: int
    time_fs: float

    def kept(self) -> Visit:
        """The same with a copy of the atoms, which move on."""
        return replace(self, atoms=self.atoms.copy())


@dataclass(frozen=True, eq=False)
class Leg:
    """What came of a leg.

    Attributes
    ----------
    candidates : list of Visit
        The structure at which the gate fired, then those checked before it, the latest first; empty if it did not.
    audits : list of Visit
        Structures met at random times.
    failure : str or None
        Why the dynamics could not go on.
    finished : bool
        False when it was told to stop on the way: the walker is not where it was.
    """

    candidates: list[Visit]
    audits: list[Visit]
    failure: str | None = None
    finished: bool = True


@dataclass(frozen=True, eq=False)
class Explorer:
    """Makes legs of walkers.

    Attributes
    ----------
    dynamics : DynamicsFactory
    n_steps : int
        Of the whole simulation.
    leg : int
        Steps of a leg, at most.
    record_every : int
        Steps between frames written.
    audit_every : int or None
        Mean number of steps between structures met at random.
    calculator : callable
        Calculator that drives the dynamics with a potential.
    tell : callable
        Told records of what happens.
    write : callable
        Told frames to write, and whose.
    stopping : callable
        Whether to stop after this step.
    """

    dynamics: DynamicsFactory
    n_steps: int
    leg: int
    record_every: int
    audit_every: int | None
    calculator: Callable[[Potential], Calculator]
    tell: Callable[[Record], None]
    write: Callable[[int, Atoms], None]
    stopping: Callable[[], bool]

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
        end = min(start + (self.leg if screened else min(self.leg, _UNSCREENED * gate.every)), self.n_steps)
        if isinstance(self.dynamics, Planned):
            end = min(end, self.dynamics.stage_end(start))
        audited = self._audited(walker, end - start)
        audits: list[Visit] = []
        atoms = walker.atoms.copy()
        atoms.calc = self.calculator(potential)
        strict = gate.bound_to(potential, screened)
        lenient = gate.bound_to(potential, screened, walker.raised)
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
                    event = _ask(looking, here)
                    if event is not None:
                        return self._stopped(walker, gate, event, safe, audits, here.time_fs, dynamics.dt / units.fs)
                    if looking is strict and not strict.doubtful:
                        safe = here.kept()
                if done and here.step % self.record_every == 0:
                    self._record(potential, gate, here)
                if done and audited[done - 1]:
                    audits.append(here.kept())
        except (KernpotError, ArithmeticError, np.linalg.LinAlgError) as error:
            if safe is not None:
                self._back(walker, safe)
            walker.lenient = 0
            self.restart(walker)
            return Leg([], audits, failure=f"the dynamics could not go on after step {walker.step}: {error}")
        walker.memory = self.dynamics.memory(dynamics) if isinstance(self.dynamics, Planned) else {}
        walker.lenient = max(walker.lenient - (end - start), 0)
        self._back(walker, here)
        return Leg([], audits)

    def _back(self, walker: Walker, visit: Visit) -> None:
        """Put a walker where it has been."""
        atoms = visit.atoms.copy()
        atoms.calc = None
        atoms.info.clear()
        for name in [name for name in atoms.arrays if name.endswith("_std")]:
            del atoms.arrays[name]
        walker.atoms, walker.step, walker.time_fs = atoms, visit.step, visit.time_fs

    def _audited(self, walker: Walker, steps: int) -> NDArray[np.bool_]:
        """Which steps of this leg the audit keeps: each is as likely as any other, but those that stop the walker."""
        # Numbers are drawn for all steps in any case, so that what follows does not depend on where a leg ends.
        chance = walker.rng.random(steps)
        return chance < (0.0 if self.audit_every is None else 1.0 / self.audit_every)

    def _stopped(
        self,
        walker: Walker,
        gate: UncertaintyGate,
        event: GateEvent,
        safe: Visit | None,
        audits: list[Visit],
        time_fs: float,
        timestep: float,
    ) -> Leg:
        self.tell(
            {
                "event": "gate",
                "walker": walker.index,
                "step": event.step,
                "time_fs": time_fs,
                "atom": event.atom,
                "element": event.element,
                "reason": event.reason,
                "value": float(event.value),
                "threshold": float(event.threshold),
            }
        )
        candidates = []
        for frame in (event.atoms, *reversed(event.before)):
            step = int(frame.info["step"])
            candidates.append(Visit(frame, walker.index, step, time_fs - (event.step - step) * timestep))
        # Where the gate had no moment without doubt on this leg, go on from here, once it has been learnt.
        self._back(walker, candidates[0] if safe is None else safe)
        walker.memory, walker.lenient = {}, 0
        walker.excess = event.value / gate.thresholds[event.reason]
        return Leg(candidates, audits)

    def _record(self, potential: Potential, gate: UncertaintyGate, visit: Visit) -> None:
        atoms = visit.atoms
        prediction = potential.predict_full([atoms])[0]
        frame = annotated(atoms, prediction)
        frame.info |= {"step": visit.step, "time_fs": visit.time_fs}
        self.write(visit.walker, frame)
        self.tell(
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


def _ask(gate: UncertaintyGate, visit: Visit) -> GateEvent | None:
    check_atoms(visit.atoms, f"step {visit.step}")
    try:
        return gate.check(visit.atoms, visit.step)
    except GateStopped as stopped:
        return stopped.event
