"""Watch a running simulation and speak up where the potential no longer knows what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Literal, Self

from ase import Atoms

from kernpot.dynamics.checked import GateCheck
from kernpot.dynamics.gate_event import GateEvent, GateStopped
from kernpot.dynamics.reasons import DEFAULT_FORCE_STD, checked_thresholds
from kernpot.dynamics.tolerance import threshold_for
from kernpot.dynamics.watch import Alarm, Watch
from kernpot.errors import ParameterError
from kernpot.parameters import is_whole
from kernpot.potential import KnowsClosest, Potential

Action = Literal["stop", "query", "record"]


class UncertaintyGate:
    """Stop, ask, or take note when a simulation becomes too uncertain.

    It fires after `patience` looks in a row above any of its thresholds. Standard deviations are calibrated `std`, the
    misfit of labels included, not only their epistemic part.

    A full check costs tens of steps of dynamics. Potentials with a screen (:mod:`kernpot.gp.predicting.screen`) need
    few: at each look the screen, corrected by the last full checks (:mod:`kernpot.dynamics.screening`), bounds the
    largest force std from above for a part of a step. A full check is made at the first look, where the bound exceeds
    `force_std`, while a stay above the threshold lasts, and every `recheck` looks, sooner at first. A gate with
    thresholds other than `force_std`, or on a potential without a screen, checks in full at every look: then look at
    every hundredth step or so. ``docs/gate.md`` has the measured costs.

    A full check computes force stds, and all else of a prediction only for thresholds on energy or stress. Structures
    that an event hands out are predicted completely when it is made.

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
    watch : Watch
        What looks (:mod:`kernpot.dynamics.watch`); it tells more, and hands out no frames.

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
        force_std: float | None = DEFAULT_FORCE_STD,
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
        self.thresholds = checked_thresholds(
            {"force_std": force_std, "energy_std": energy_std, "stress_std": stress_std, "novelty": novelty}
        )
        for name, number, least in (
            ("patience", patience, 1),
            ("every", every, 1),
            ("n_keep", n_keep, 0),
            ("recheck", recheck, 1),
        ):
            if not is_whole(number):
                raise ParameterError(f"{name} must be a whole number, got {number!r}")
            if number < least:
                raise ParameterError(f"{name} must be at least {least}, got {number!r}")
        if not isinstance(action, str) or action not in ("stop", "query", "record"):
            raise ParameterError(f"action must be 'stop', 'query' or 'record', got {action!r}")
        if callable(query) != (action == "query") or not (query is None or callable(query)):
            raise ParameterError(f"action='query' and a callable query go together, got {action!r} and {query!r}")
        self.potential = potential
        self.force_std, self.patience, self.every = force_std, patience, every
        self.action, self.n_keep, self.query, self.recheck = action, n_keep, query, recheck
        self.events: list[GateEvent] = []
        self.watch = self._new_watch()

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
    def last(self) -> GateCheck | None:
        """What the last full check found."""
        return self.watch.last

    @property
    def n_looks(self) -> int:
        """Number of looks."""
        return self.watch.n_looks

    @property
    def n_checks(self) -> int:
        """Number of full checks."""
        return self.watch.n_checks

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
        fresh = copy(self)
        fresh.potential = potential
        fresh.thresholds = {reason: raised * threshold for reason, threshold in self.thresholds.items()}
        fresh.force_std = fresh.thresholds.get("force_std")
        fresh.recheck = self.recheck if screened else 1
        fresh.events, fresh.watch = [], fresh._new_watch()
        return fresh

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
        alarm = self.watch.look(getattr(atoms, "atoms", atoms), step)
        if alarm is None:
            return None
        event = self._event(alarm)
        self.events.append(event)
        if self.action == "stop":
            self.watch.start_over()
            raise GateStopped(event)
        self.watch.go_on(alarm)
        if self.query is not None:
            self.query(event)
        return event

    def _new_watch(self) -> Watch:
        return Watch(self.potential, self.thresholds, self.patience, self.n_keep, self.recheck)

    def _event(self, alarm: Alarm) -> GateEvent:
        """The alarm with frames to hand out; the potential is asked now, before it may learn from them."""
        atoms, *before = (checked.frame(self.potential) for checked in (alarm.checked, *alarm.before))
        return GateEvent(
            alarm.checked.step,
            alarm.atom,
            alarm.element,
            alarm.reason,
            alarm.value,
            alarm.threshold,
            atoms,
            tuple(before),
            alarm.trusted,
            alarm.trusted_step,
            self.potential.closer_pair(alarm.checked.atoms) if isinstance(self.potential, KnowsClosest) else None,
        )
