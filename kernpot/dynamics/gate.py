"""Watch a running simulation and speak up where the potential no longer knows what it does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.errors import KernpotError

if TYPE_CHECKING:
    from kernpot.potential import Potential
    from kernpot.prediction import Prediction


@dataclass(frozen=True, eq=False)
class GateEvent:
    """One time the gate fired.

    Attributes
    ----------
    step : int
        Step of the dynamics.
    atom : int
        Index of the atom with the most uncertain force component.
    force_std : float
        Standard deviation of that component, eV/Angstrom.
    threshold : float
        What it was compared with, eV/Angstrom.
    atoms : Atoms
        The structure, labelled with the predicted energy and forces.
    before : tuple of Atoms
        The structures checked before it, oldest first: where a new reference calculation is most likely to succeed.
    """

    step: int
    atom: int
    force_std: float
    threshold: float
    atoms: Atoms
    before: tuple[Atoms, ...]

    def __str__(self) -> str:
        return (
            f"step {self.step}: force on atom {self.atom} ({self.atoms.symbols[self.atom]}) has a std of "
            f"{self.force_std:.3f} eV/Å, above the gate's {self.threshold:.3f} eV/Å"
        )


class GateStopped(KernpotError):
    """The gate fired and stopped the dynamics; `event` says where."""

    def __init__(self, event: GateEvent) -> None:
        super().__init__(f"{event}; compute reference labels for event.atoms or event.before and fit again")
        self.event = event


class UncertaintyGate:
    """Stop, or take note, when a force component of a simulation becomes too uncertain.

    The largest `std` (misfit of the labels included, not only its epistemic part) over all force components is compared
    with a threshold in eV/Angstrom; the gate fires after `patience` checks in a row above it.

    Parameters
    ----------
    potential : Potential
        The fitted potential that drives the dynamics.
    force_std : float, default=0.15
        Threshold, eV/Angstrom.
    patience : int, default=1
        Number of checks in a row above the threshold before the gate fires.
    every : int, default=1
        Check every that many steps: a check costs more than a step of dynamics.
    action : {"stop", "record"}, default="stop"
        Raise `GateStopped`, or only append to `events` (once for each stay above the threshold).
    n_keep : int, default=10
        Number of checked structures before the event that are kept.

    Attributes
    ----------
    events : list of GateEvent
        Each time the gate fired.
    last_force_std : float or None
        Largest force std at the last check, eV/Angstrom.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> gate = UncertaintyGate(potential, force_std=0.2, every=10)  # doctest: +SKIP
    >>> gate.attach_to(dynamics)  # doctest: +SKIP
    >>> dynamics.run(100_000)  # doctest: +SKIP
    """

    def __init__(
        self,
        potential: Potential,
        force_std: float = 0.15,
        patience: int = 1,
        every: int = 1,
        action: Literal["stop", "record"] = "stop",
        n_keep: int = 10,
    ) -> None:
        if not (np.isfinite(force_std) and force_std > 0):
            raise ValueError(f"force_std must be a positive number in eV/Å, got {force_std!r}")
        for name, value, least in (("patience", patience, 1), ("every", every, 1), ("n_keep", n_keep, 0)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value!r}")
        if action not in ("stop", "record"):
            raise ValueError(f"action must be 'stop' or 'record', got {action!r}")
        self.potential = potential
        self.force_std = float(force_std)
        self.patience = patience
        self.every = every
        self.action = action
        self.events: list[GateEvent] = []
        self.last_force_std: float | None = None
        self._frames: deque[Atoms] = deque(maxlen=n_keep)
        self._n_above = 0

    def attach_to(self, dynamics: Any) -> None:
        """Check the atoms of an ASE dynamics (or optimiser) every `every` steps from its next run on."""
        dynamics.attach(lambda: self.check(dynamics.atoms, dynamics.nsteps), interval=self.every)

    def check(self, atoms: Atoms, step: int = 0) -> None:
        """Judge one structure.

        Raises
        ------
        GateStopped
            If the gate fires and its action is ``"stop"``.
        """
        prediction = self.potential.predict_full([atoms])[0]
        stds = prediction.forces.std
        atom = int(np.unravel_index(np.argmax(stds), stds.shape)[0])
        self.last_force_std = float(stds.max())
        frame = _labelled(atoms, prediction)
        self._n_above = self._n_above + 1 if self.last_force_std > self.force_std else 0
        if self._n_above == self.patience:
            event = GateEvent(step, atom, self.last_force_std, self.force_std, frame, tuple(self._frames))
            self.events.append(event)
            if self.action == "stop":
                self._n_above = 0
                raise GateStopped(event)
        self._frames.append(frame)


def _labelled(atoms: Atoms, prediction: Prediction) -> Atoms:
    frame = atoms.copy()
    frame.calc = SinglePointCalculator(frame, energy=float(prediction.energy.mean), forces=prediction.forces.mean)
    return frame
