"""What a gate hands out when it fires."""

from __future__ import annotations

from dataclasses import dataclass

from ase import Atoms

from kernpot.dynamics.reasons import REASONS, Reason
from kernpot.errors import KernpotError
from kernpot.prediction import ClosePair


@dataclass(frozen=True, eq=False)
class GateEvent:
    """One time the gate fired.

    Attributes
    ----------
    step : int
        Step of the dynamics.
    atom : int
        The atom with the most uncertain force component, or with the largest leverage when that is the reason.
    element : str
        Its symbol.
    reason : {"force_std", "energy_std", "stress_std", "novelty"}
        Whose threshold was exceeded; of several the one exceeded by the largest factor.
    value, threshold : float
        What was found and what it was compared with: eV/Angstrom, eV/atom, eV/Angstrom^3, or a leverage.
    atoms : Atoms
        The structure, see :func:`kernpot.dynamics.frames.annotated`; ``info["step"]`` is the step.
    before : tuple of Atoms
        The structures checked in full before it, likewise, oldest first: where a new reference calculation is most
        likely to succeed.
    trusted : Atoms or None
        The last structure that a full check found below all thresholds, with its momenta, to go on from.
    trusted_step : int or None
    closer : ClosePair or None
        Two atoms that are closer than any in the fit, where the potential knows.
    """

    step: int
    atom: int
    element: str
    reason: Reason
    value: float
    threshold: float
    atoms: Atoms
    before: tuple[Atoms, ...]
    trusted: Atoms | None
    trusted_step: int | None
    closer: ClosePair | None = None

    def __str__(self) -> str:
        found = REASONS[self.reason].sentence(self.value, self.atom, self.element)
        closer = "" if self.closer is None else f" ({self.closer})"
        return f"step {self.step}: {found}{closer}, above the gate's {self.threshold:.3g}"


class GateStopped(KernpotError):
    """The gate fired and stopped the dynamics; `event` says where."""

    def __init__(self, event: GateEvent) -> None:
        super().__init__(f"{event}; compute reference labels for event.atoms or event.before and fit again")
        self.event = event
