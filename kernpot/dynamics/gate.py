"""Watch a running simulation and speak up where the potential no longer knows what it does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.dynamics.frames import annotated
from kernpot.dynamics.screening import Screening
from kernpot.dynamics.tolerance import threshold_for
from kernpot.errors import KernpotError

if TYPE_CHECKING:
    from kernpot.potential import Potential
    from kernpot.prediction import Prediction

Reason = Literal["force_std", "energy_std", "stress_std", "novelty"]
Action = Literal["stop", "query", "record"]

# Looks from the first full check to the second, and by how much more each time until there are `recheck` of them: the
# first structure often is a special one, such as a perfect crystal.
_WAIT = 4

_SAYS: dict[Reason, str] = {
    "force_std": "a force component on atom {atom} ({element}) has a std of {value:.3g} eV/Å",
    "energy_std": "the energy has a std of {value:.3g} eV/atom (largest force std: atom {atom}, {element})",
    "stress_std": "a stress component has a std of {value:.3g} eV/Å³ (largest force std: atom {atom}, {element})",
    "novelty": "atom {atom} ({element}) has a leverage of {value:.3g}",
}


@dataclass(frozen=True)
class GateCheck:
    """What one full check found.

    Attributes
    ----------
    step : int
    atom : int
        With the largest std of a force component.
    element : str
        Its symbol.
    force_std : float
        That std, eV/Angstrom.
    energy_std : float
        Of the total energy divided by the number of atoms, eV/atom.
    stress_std : float or None
        Largest of a component, eV/Angstrom^3; None unless periodic in three directions.
    novelty : float or None
        Largest leverage of an atom; None when the gate has no threshold on it.
    """

    step: int
    atom: int
    element: str
    force_std: float
    energy_std: float
    stress_std: float | None = None
    novelty: float | None = None


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

    def __str__(self) -> str:
        found = _SAYS[self.reason].format(atom=self.atom, element=self.element, value=self.value)
        return f"step {self.step}: {found}, above the gate's {self.threshold:.3g}"


class GateStopped(KernpotError):
    """The gate fired and stopped the dynamics; `event` says where."""

    def __init__(self, event: GateEvent) -> None:
        super().__init__(f"{event}; compute reference labels for event.atoms or event.before and fit again")
        self.event = event


class UncertaintyGate:
    """Stop, ask, or take note when a simulation becomes too uncertain.

    It fires after `patience` looks in a row above any of its thresholds. Standard deviations are calibrated `std`, the
    misfit of labels included, not only their epistemic part.

    A full check costs tens of steps of dynamics. Potentials with a screen (:mod:`kernpot.gp.screen`) need few: at each
    look the screen, corrected by the last full checks (:mod:`kernpot.dynamics.screening`), bounds the largest force std
    from above for a part of a step. A full check is made at the first look, where the bound exceeds `force_std`, while
    a stay above the threshold lasts, and every `recheck` looks, sooner at first. A gate with thresholds other than
    `force_std`, or on a potential without a screen, checks in full at every look: then look at every hundredth step or
    so. ``docs/gate.md`` has the measured costs.

    Parameters
    ----------
    potential : Potential
        The fitted potential that drives the dynamics.
    force_std : float or None, default=0.15
        Threshold on the largest std of a force component, eV/Angstrom.
    energy_std : float, optional
        On the std of the total energy divided by the number of atoms, eV/atom.
    stress_std : float, optional
        On the largest std of a stress component, eV/Angstrom^3. For structures periodic in three directions.
    novelty : float, optional
        On the largest leverage of an atom (``potential.novelty``), without unit. Compare with training structures.
    patience : int, default=1
        Number of looks in a row above a threshold before the gate fires.
    every : int, default=1
        Look every that many steps.
    action : {"stop", "query", "record"}, default="stop"
        Raise `GateStopped`; or call `query` and go on; or go on. The last two once for each stay above a threshold.
    n_keep : int, default=10
        Number of structures before the event that are kept.
    query : callable, optional
        Called with the `GateEvent` when the action is ``"query"``.
    recheck : int, default=100
        Largest number of looks from one full check to the next; 1 checks in full at every look.

    Attributes
    ----------
    events : list of GateEvent
        Each time the gate fired.
    last : GateCheck or None
        What the last full check found.
    n_looks, n_checks : int
        Number of looks, and of full checks among them.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> from ase.md.verlet import VelocityVerlet
    >>> from kernpot.dynamics import UncertaintyGate
    >>> atoms.calc = potential.calculator()
    >>> dynamics = VelocityVerlet(atoms, timestep=1.0)
    >>> gate = UncertaintyGate(potential, force_std=1e-4)  # eV/A; so low that any structure stops the run
    >>> gate.attach_to(dynamics)
    >>> dynamics.run(1000)
    Traceback (most recent call last):
        ...
    GateStopped: ...
    >>> len(gate.events)
    1
    """

    def __init__(
        self,
        potential: Potential,
        force_std: float | None = 0.15,
        energy_std: float | None = None,
        stress_std: float | None = None,
        novelty: float | None = None,
        *,
        patience: int = 1,
        every: int = 1,
        action: Action = "stop",
        n_keep: int = 10,
        query: Callable[[GateEvent], Any] | None = None,
        recheck: int = 100,
    ) -> None:
        self.thresholds = _thresholds(
            {"force_std": force_std, "energy_std": energy_std, "stress_std": stress_std, "novelty": novelty}
        )
        for name, number, least in (
            ("patience", patience, 1),
            ("every", every, 1),
            ("n_keep", n_keep, 0),
            ("recheck", recheck, 1),
        ):
            if isinstance(number, bool) or not isinstance(number, int | np.integer):
                raise ValueError(f"{name} must be a whole number, got {number!r}")
            if number < least:
                raise ValueError(f"{name} must be at least {least}, got {number!r}")
        if action not in ("stop", "query", "record"):
            raise ValueError(f"action must be 'stop', 'query' or 'record', got {action!r}")
        if callable(query) != (action == "query"):
            raise ValueError(f"action='query' and a callable query go together, got {action!r} and {query!r}")
        if novelty is not None and not hasattr(potential, "novelty"):
            raise ValueError("this potential has no novelty to put a threshold on: leave novelty=None")
        self.potential = potential
        self.force_std, self.patience, self.every = force_std, patience, every
        self.action, self.n_keep, self.query, self.recheck = action, n_keep, query, recheck
        self.events: list[GateEvent] = []
        self.last: GateCheck | None = None
        self.n_looks, self.n_checks = 0, 0
        self._frames: deque[Atoms] = deque(maxlen=n_keep)
        self._trusted: tuple[Atoms, int] | None = None
        self._n_above, self._n_skipped, self._wait = 0, 0, 1

    @classmethod
    def for_tolerance(
        cls,
        potential: Potential,
        max_force_error: float = 0.3,
        missed: float = 0.01,
        calibration: Sequence[Atoms] | None = None,
        **other: Any,
    ) -> Self:
        """A gate whose `force_std` follows from a tolerance (:mod:`kernpot.dynamics.tolerance`).

        Parameters
        ----------
        potential : Potential
        max_force_error : float, default=0.3
            Error of a force component that a simulation can live with, eV/Angstrom.
        missed : float, default=0.01
            Part of the structures let through that may hold a component with a larger error.
        calibration : sequence of Atoms, optional
            Labelled structures the potential has not seen; None takes its training structures, left out in turn.
        **other
            Parameters of the gate.

        Raises
        ------
        KernpotError
            As of :func:`kernpot.dynamics.tolerance.threshold_for`.
        """
        return cls(potential, threshold_for(potential, max_force_error, missed, calibration), **other)

    @property
    def doubtful(self) -> bool:
        """Whether the last look found something above a threshold, be it that patience is not at its end."""
        return self._n_above > 0

    def bound_to(self, potential: Potential, screened: bool = True, raised: float = 1.0) -> Self:
        """A gate with the same settings for another potential, without any memory of this one's looks.

        Parameters
        ----------
        potential : Potential
        screened : bool, default=True
            False checks in full at every look: a screen takes as long to make as some twenty full checks.
        raised : float, default=1.0
            Factor on all thresholds.
        """
        level = {reason: raised * threshold for reason, threshold in self.thresholds.items()}
        return type(self)(
            potential,
            level.get("force_std"),
            level.get("energy_std"),
            level.get("stress_std"),
            level.get("novelty"),
            patience=self.patience,
            every=self.every,
            action=self.action,
            n_keep=self.n_keep,
            query=self.query,
            recheck=self.recheck if screened else 1,
        )

    def attach_to(self, dynamics: Any) -> None:
        """Look at the atoms of an ASE dynamics or optimiser every `every` steps from its next run on."""
        dynamics.attach(lambda: self.check(dynamics.atoms, dynamics.nsteps), interval=self.every)

    def check(self, atoms: Atoms, step: int = 0) -> GateEvent | None:
        """Look at one structure; the event if the gate fires.

        Parameters
        ----------
        atoms : Atoms
            Or an ASE filter around them.
        step : int

        Raises
        ------
        GateStopped
            If the gate fires and its action is ``"stop"``.
        KernpotError
            If there is a threshold on the stress of a structure that has none.
        """
        atoms = getattr(atoms, "atoms", atoms)
        self.n_looks += 1
        screening = self._screening
        rough = None if screening is None else screening.rough(atoms)
        if screening is not None and rough is not None and self._passes(screening.bound(atoms, rough)):
            self._n_skipped += 1
            return None
        self.n_checks += 1
        self._n_skipped, self._wait = 0, min(self.recheck, _WAIT * self._wait)
        prediction = self.potential.predict_full([atoms])[0]
        self.last, where = self._measure(atoms, prediction, step)
        if screening is not None and rough is not None:
            screening.learn(atoms, rough, prediction.forces.std.max(axis=1))
        frame = annotated(atoms, prediction)
        frame.info["step"] = step
        excess = {r: value / self.thresholds[r] for r, (value, _) in where.items()}
        reason = max(excess, key=lambda r: excess[r])
        self._n_above = self._n_above + 1 if excess[reason] > 1 else 0
        event = None
        if self._n_above == self.patience:
            event = self._event(step, reason, *where[reason], frame)
            self.events.append(event)
            if self.action == "stop":
                self._n_above = 0
                raise GateStopped(event)
        if self._n_above == 0:
            self._trusted = atoms.copy(), step
        self._frames.append(frame)
        if event is not None and self.query is not None:
            self.query(event)
        return event

    @cached_property
    def _screening(self) -> Screening | None:
        """Made at the first look: a gate may be set up before its potential is fitted."""
        screen = self.potential.screen() if self.recheck > 1 and set(self.thresholds) == {"force_std"} else None
        return None if screen is None else Screening(self.potential, screen)

    def _passes(self, bound: float) -> bool:
        """Whether a look needs no full check."""
        return not self._n_above and self._n_skipped + 1 < self._wait and bound < self.thresholds["force_std"]

    def _measure(
        self, atoms: Atoms, prediction: Prediction, step: int
    ) -> tuple[GateCheck, dict[Reason, tuple[float, int]]]:
        """What is compared with the thresholds, and value and atom for each of them."""
        stds = prediction.forces.std
        atom = int(np.unravel_index(np.argmax(stds), stds.shape)[0])
        found: dict[Reason, tuple[float, int]] = {
            "force_std": (float(stds.max()), atom),
            "energy_std": (float(prediction.energy.std) / len(atoms), atom),
        }
        if prediction.stress is not None:
            found["stress_std"] = float(prediction.stress.std.max()), atom
        elif "stress_std" in self.thresholds:
            raise KernpotError(
                f"the gate has a threshold on the stress, which needs a structure periodic in three directions, got "
                f"pbc = {atoms.pbc.tolist()}; leave stress_std=None"
            )
        if "novelty" in self.thresholds:
            leverage: NDArray[np.float64] = getattr(self.potential, "novelty")([atoms])[0].leverage  # noqa: B009
            found["novelty"] = float(leverage.max()), int(leverage.argmax())
        last = GateCheck(step, atom, atoms.symbols[atom], **{name: value for name, (value, _) in found.items()})
        return last, {name: found[name] for name in self.thresholds}

    def _event(self, step: int, reason: Reason, value: float, atom: int, frame: Atoms) -> GateEvent:
        trusted, trusted_step = (None, None) if self._trusted is None else self._trusted
        threshold, before = self.thresholds[reason], tuple(self._frames)
        element = frame.symbols[atom]
        return GateEvent(step, atom, element, reason, value, threshold, frame, before, trusted, trusted_step)


def _thresholds(given: Mapping[Reason, float | None]) -> dict[Reason, float]:
    units = {"force_std": "eV/Å", "energy_std": "eV/atom", "stress_std": "eV/Å³", "novelty": "units of leverage"}
    for name, value in given.items():
        numeric = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if value is not None and not (numeric and np.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number in {units[name]}, got {value!r}")
    found = {name: float(value) for name, value in given.items() if value is not None}
    if not found:
        raise ValueError(f"at least one of {', '.join(given)} must be given: a gate without a threshold never fires")
    return found
