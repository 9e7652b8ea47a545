"""What a simulation does when: stages of constant energy, constant temperature or constant pressure, with ramps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from kernpot.errors import KernpotError
from kernpot.parameters import is_real, is_whole

Ensemble = Literal["nve", "langevin", "npt"]
# Period of the cell's fluctuations in units of the time in which the thermostat forgets, as ASE proposes.
_BAROSTAT = 20.0
# What a dynamics at constant pressure knows of the cell.
OF_THE_CELL = ("p_eps", "force_eps")


class DynamicsFactory(Protocol):
    """Makes the dynamics of the next few steps; called again and again as a simulation goes on."""

    def __call__(self, atoms: Atoms, step: int, rng: np.random.Generator) -> MolecularDynamics:
        """Dynamics for atoms that have a calculator and momenta, from this step of the whole simulation on.

        It must not remember anything between two calls: what counts are the atoms and the random numbers.
        """


@runtime_checkable
class Planned(Protocol):
    """A factory that knows its plan, as `Schedule` does; others are asked nothing but the dynamics."""

    n_steps: int

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure that the plan makes no sense for."""

    def temperature_at(self, step: int) -> float:
        """Target temperature, K."""

    def stage_end(self, step: int) -> int:
        """First step of the next stage."""

    def memory(self, dynamics: MolecularDynamics) -> dict[str, Any]:
        """What a dynamics knows beside atoms and random numbers, as JSON."""

    def recall(self, dynamics: MolecularDynamics, memory: Mapping[str, Any]) -> None:
        """Give a new dynamics the memory of the one before it."""


@dataclass(frozen=True)
class Stage:
    """One part of a simulation.

    Attributes
    ----------
    ensemble : {"nve", "langevin", "npt"}
        Constant energy; Langevin thermostat; or thermostat and a barostat that scales the cell (Quigley and Probert,
        J. Chem. Phys. 120, 11432 (2004), as in ASE's ``LangevinBAOAB``).
    steps : int
    temperature : float or pair of floats
        K; a pair is a linear ramp. With ``"nve"`` only the start of a simulation looks at it.
    timestep : float, default=1.0
        fs.
    friction : float, default=10.0
        Of the thermostat, 1/ps.
    pressure : float or pair of floats, default=0.0
        GPa, with ``"npt"``; a pair is a linear ramp.
    """

    ensemble: Ensemble
    steps: int
    temperature: float | tuple[float, float] = 300.0
    timestep: float = 1.0
    friction: float = 10.0
    pressure: float | tuple[float, float] = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.ensemble, str) or self.ensemble not in get_args(Ensemble):
            raise KernpotError(f"ensemble: expected one of {', '.join(get_args(Ensemble))}, got {self.ensemble!r}.")
        if not is_whole(self.steps, 1):
            raise KernpotError(f"steps: expected a positive whole number, got {self.steps!r}.")
        if len(self.ramp) != 2 or not all(is_real(t, 0) for t in self.ramp):
            raise KernpotError(
                f"temperature: expected one or two numbers in K, not negative, got {self.temperature!r}."
            )
        for name, unit in (("timestep", "fs"), ("friction", "1/ps")):
            value = getattr(self, name)
            if not (is_real(value) and value > 0):
                raise KernpotError(f"{name}: expected a positive number in {unit}, got {value!r}.")
        if len(self.pressures) != 2 or not all(is_real(p, -1e6, 1e6) for p in self.pressures):
            raise KernpotError(f"pressure: expected one or two numbers in GPa, got {self.pressure!r}.")

    @property
    def ramp(self) -> tuple[float, ...]:
        """Temperatures at the start and at the end, K."""
        return _pair(self.temperature)

    @property
    def pressures(self) -> tuple[float, ...]:
        """Pressures at the start and at the end, GPa."""
        return _pair(self.pressure)


def _pair(value: float | Sequence[float]) -> tuple[float, ...]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(value)
    return (float(value), float(value)) if is_real(value) else ()


class Schedule:
    """Stages one after another: a `DynamicsFactory` with a plan.

    Parameters
    ----------
    stages : sequence of Stage

    Attributes
    ----------
    n_steps : int
        Of all stages.

    Raises
    ------
    KernpotError
        When there are no stages.

    Examples
    --------
    >>> from kernpot.dynamics import Schedule, Stage
    >>> Schedule([Stage("langevin", 2000, (300, 600)), Stage("nve", 1000)]).n_steps
    3000
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        listed = isinstance(stages, Sequence) and not isinstance(stages, str)
        if not listed or not stages or not all(isinstance(stage, Stage) for stage in stages):
            got = "an empty list" if listed and not stages else repr(stages)
            raise KernpotError(f"stages: expected at least one Stage, got {got}.")
        self.stages = list(stages)
        self._ends = np.cumsum([stage.steps for stage in self.stages]).tolist()
        self.n_steps = int(self._ends[-1])

    def _find(self, step: int) -> tuple[Stage, int]:
        """The stage of a step and how many steps of it have been made; the last one goes on for ever."""
        k = min(int(np.searchsorted(self._ends, step, side="right")), len(self.stages) - 1)
        return self.stages[k], step - (self._ends[k] - self.stages[k].steps)

    def stage_end(self, step: int) -> int:
        """First step of the next stage, or the last of all."""
        return next((end for end in self._ends if end > step), max(self.n_steps, step))

    def temperature_at(self, step: int) -> float:
        """Target temperature, K."""
        stage, done = self._find(step)
        return _along(stage.ramp, done / stage.steps)

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure for which a stage makes no sense.

        Raises
        ------
        KernpotError
            When a cell that is not periodic in three directions is to have a pressure.
        """
        if any(stage.ensemble == "npt" for stage in self.stages) and not atoms.pbc.all():
            raise KernpotError(
                "npt: expected a structure periodic in three directions, "
                f"got pbc = {atoms.pbc.tolist()}; use langevin, or set cell and pbc."
            )

    def __call__(self, atoms: Atoms, step: int, rng: np.random.Generator) -> MolecularDynamics:
        """Dynamics of the stage that a step belongs to, at the temperature that its ramp has there."""
        stage, done = self._find(step)
        timestep, temperature = stage.timestep * units.fs, self.temperature_at(step)
        if stage.ensemble == "nve":
            return VelocityVerlet(atoms, timestep)
        friction = stage.friction / (1000 * units.fs)
        if stage.ensemble == "langevin":
            # fixcm would hold the centre of mass of a slab or wire whose atoms are partly fixed.
            return Langevin(atoms, timestep, temperature_K=temperature, friction=friction, rng=rng, fixcm=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it announces its own heuristic for the cell's mass
            return LangevinBAOAB(
                atoms,
                timestep,
                temperature_K=temperature,
                externalstress=-_along(stage.pressures, done / stage.steps) * units.GPa,
                hydrostatic=True,
                T_tau=1 / friction,
                P_tau=_BAROSTAT / friction,
                rng=rng,
            )

    def memory(self, dynamics: MolecularDynamics) -> dict[str, Any]:
        """Momentum of the cell and the force on it, where there are any."""
        return {name: float(getattr(dynamics, name)) for name in OF_THE_CELL if hasattr(dynamics, name)}

    def recall(self, dynamics: MolecularDynamics, memory: Mapping[str, Any]) -> None:
        """Give a new dynamics what the one before it knew of the cell."""
        for name in OF_THE_CELL:
            if hasattr(dynamics, name) and name in memory:
                setattr(dynamics, name, memory[name])


def _along(ramp: Sequence[float], part: float) -> float:
    first, last = ramp
    return float(first + (last - first) * min(part, 1.0))
