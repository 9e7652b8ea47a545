"""Where a simulation is, the structures it has come through, and what came of a leg of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from ase import Atoms, units

from kernpot.dynamics.electronic_state import forget_all_else
from kernpot.dynamics.serial import atoms_from_dict, atoms_to_dict, generator_from, generator_state


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

    def move_to(self, visit: Visit) -> None:
        """Be where it has been."""
        atoms = visit.atoms.copy()
        atoms.calc = None
        forget_all_else(atoms)
        for name in [name for name in atoms.arrays if name.endswith("_std")]:
            del atoms.arrays[name]
        self.atoms, self.step, self.time_fs = atoms, visit.step, visit.time_fs

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
