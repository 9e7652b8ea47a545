"""What a run must know to go on as if it had never stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from kernpot.dynamics.run_directory import RunDirectoryError
from kernpot.dynamics.serial import atoms_from_dict, atoms_to_dict, generator_from, generator_state
from kernpot.dynamics.walker import Visit, Walker

_FORMAT = 1


@dataclass
class RunState:
    """State at the end of a round.

    Attributes
    ----------
    walkers : list of Walker
    rng : numpy Generator
        Of choices that no walker makes.
    training, audit : list of int
        Numbers of the labels learnt, in this order, and of those never learnt.
    asked : int
        Structures for which labels were wanted.
    model : int
        How often the model has changed; its file has this number. 0: there is none.
    learnt_at_fit : int
        Labels known at the last fit.
    candidates : list of Visit
        Structures that wait to be chosen from.
    stuck : list of float
        What learning left of the std that made the gate fire, in units of its threshold, for every time it fired since
        a leg came to its end.
    quiet : int
        Legs that came to their end with the present model.
    failures : int
        Structures set aside since the last label.
    trials : int
        Times the gate has stopped a model that had made all steps.
    sizes : dict of str to int
        Sizes of files that grow, bytes.
    """

    walkers: list[Walker]
    rng: np.random.Generator
    training: list[int] = field(default_factory=list)
    audit: list[int] = field(default_factory=list)
    asked: int = 0
    model: int = 0
    learnt_at_fit: int = 0
    candidates: list[Visit] = field(default_factory=list)
    stuck: list[float] = field(default_factory=list)
    quiet: int = 0
    failures: int = 0
    trials: int = 0
    sizes: dict[str, int] = field(default_factory=dict)

    _PLAIN = ("training", "audit", "asked", "model", "learnt_at_fit", "stuck", "quiet", "failures", "trials", "sizes")

    def room(self, max_labels: int | None) -> int | None:
        """How many labels may still be asked for; None for any number."""
        return None if max_labels is None else max(max_labels - len(self.training) - len(self.audit), 0)

    def active(self, n_steps: int) -> list[Walker]:
        """Walkers that have steps to make and wait for no labels."""
        return [walker for walker in self.walkers if not walker.paused and walker.step < n_steps]

    def as_dict(self) -> dict[str, Any]:
        """The state, as JSON."""
        return {name: getattr(self, name) for name in self._PLAIN} | {
            "format": _FORMAT,
            "walkers": [walker.as_dict() for walker in self.walkers],
            "rng": generator_state(self.rng),
            "candidates": [
                {"atoms": atoms_to_dict(v.atoms), "walker": v.walker, "step": v.step, "time_fs": v.time_fs}
                for v in self.candidates
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str) -> Self:
        """The state of :meth:`as_dict`.

        Raises
        ------
        RunDirectoryError
            When it is not one, or of a later version.
        """
        if data.get("format") != _FORMAT:
            raise RunDirectoryError(
                f"{source} has the format {data.get('format')!r}, expected {_FORMAT}: it was written by another "
                "version of kernpot; resume with that one."
            )
        try:
            return cls(
                [Walker.from_dict(walker) for walker in data["walkers"]],
                generator_from(data["rng"]),
                candidates=[Visit(**{**v, "atoms": atoms_from_dict(v["atoms"])}) for v in data["candidates"]],
                # A run that was begun before there were trials has made none.
                **{name: ({"trials": 0} | data)[name] for name in cls._PLAIN},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunDirectoryError(f"{source} is not a state that kernpot wrote ({error!r}); restore it.") from error
