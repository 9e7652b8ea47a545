"""What a run of on-the-fly learning is told beside its potential, oracle, dynamics, gate and first structures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from ase import Atoms
from ase.calculators.calculator import Calculator

from kernpot.dynamics.bootstrap import Bootstrap
from kernpot.dynamics.run_directory import Record
from kernpot.dynamics.study import FEWEST
from kernpot.errors import KernpotError
from kernpot.parameters import is_real, is_whole
from kernpot.potential import Potential

_NEEDED = ("n_steps", "n_walkers", "record_every", "leg", "trial")
_OPTIONAL = ("audit_every", "batch", "max_labels")


class LearnKeywords(TypedDict, total=False):
    """The attributes of `LearnSettings` as keywords."""

    n_steps: int | None
    n_walkers: int
    bootstrap: Bootstrap | None
    data: Sequence[Atoms]
    refit_growth: float
    audit_every: int | None
    record_every: int
    leg: int
    trial: int
    batch: int | None
    calculator: Callable[[Potential], Calculator] | None
    max_labels: int | None
    random_state: int
    observe: Callable[[Record], None] | None


@dataclass(frozen=True, eq=False)
class LearnSettings:
    """Settings of a run.

    Attributes
    ----------
    n_steps : int
        Steps of every walker; a schedule knows.
    n_walkers : int, default=1
    bootstrap : Bootstrap, optional
        The first frames to label.
    data : sequence of Atoms, optional
        Labelled structures to begin with, beside the bootstrap.
    refit_growth : float, default=1.3
        The potential is fitted anew, and calibrated, when there are this many times the labels of the last time; in
        between it is updated.
    audit_every : int, optional
        Mean number of steps (of all walkers) between structures that are labelled at random, whatever the gate says,
        and never learnt: they measure how true the error bars are. None: no audit.
    record_every : int, default=50
        Steps between the frames written to ``trajectory_*.xyz``, with all their stds.
    leg : int, default=100
        Steps between two states on disk.
    trial : int, default=1000
        Steps that the gate must let the final model make: the last of the simulation (all, where it has fewer) once
        more from the first structures, with new momenta. Otherwise these steps are made again, with labels.
    batch : int, optional
        Walkers that were stopped wait until all have been; of the structures they have come through so many are
        labelled that teach most together. None: each structure that stops a walker is labelled at once.
    calculator : callable, optional
        Makes the calculator that drives the dynamics from the potential, e.g. one with a bias
        (:mod:`kernpot.dynamics.bias`).
    max_labels : int, optional
        Ask for no more labels than these, the audit's included.
    random_state : int, default=0
        Seed of everything random.
    observe : callable, optional
        Called with every record that is written to ``events.jsonl``.

    Raises
    ------
    KernpotError
        When a setting makes no sense.
    """

    n_steps: int | None = None
    n_walkers: int = 1
    bootstrap: Bootstrap | None = None
    data: Sequence[Atoms] = ()
    refit_growth: float = 1.3
    audit_every: int | None = None
    record_every: int = 50
    leg: int = 100
    trial: int = 1000
    batch: int | None = None
    calculator: Callable[[Potential], Calculator] | None = None
    max_labels: int | None = None
    random_state: int = 0
    observe: Callable[[Record], None] | None = None

    def __post_init__(self) -> None:
        for name in (*_NEEDED, *(name for name in _OPTIONAL if getattr(self, name) is not None)):
            if not is_whole(value := getattr(self, name), 1):
                raise KernpotError(f"{name}: expected a positive whole number, got {value!r}.")
        if self.max_labels is not None and self.max_labels < FEWEST:
            raise KernpotError(f"max_labels: expected at least {FEWEST}, which a fit needs, got {self.max_labels}.")
        if not is_whole(self.random_state, 0, 2**32 - 1):
            raise KernpotError(
                f"random_state: expected a whole number from 0 to 4294967295, got {self.random_state!r}."
            )
        if not (is_real(self.refit_growth) and self.refit_growth > 1):
            raise KernpotError(f"refit_growth: expected a number above 1, got {self.refit_growth!r}.")
        if self.bootstrap is not None and not isinstance(self.bootstrap, Bootstrap):
            raise KernpotError(f"bootstrap: expected None or a Bootstrap(number=...), got {self.bootstrap!r}.")
        if not isinstance(self.data, Sequence) or isinstance(self.data, str | bytes):
            raise KernpotError(f"data: expected a list of labelled ase.Atoms, got {self.data!r}.")
        for name in ("calculator", "observe"):
            if not (getattr(self, name) is None or callable(getattr(self, name))):
                raise KernpotError(f"{name}: expected None or a callable, got {getattr(self, name)!r}.")
