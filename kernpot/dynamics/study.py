"""The potential of a run: fitted now and then, updated in between, and always the one that is on disk."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

from ase import Atoms
from sklearn.base import clone

from kernpot.dynamics.run_directory import Record, RunDirectory, RunDirectoryError, write_atomically
from kernpot.errors import InducingWarning, KernpotError
from kernpot.files.container import load
from kernpot.potential import GivenAgain, Potential

# Fewer labelled structures than this are no start: their spread could not be told.
FEWEST = 2


class Study:
    """Learns.

    Parameters
    ----------
    prototype : Potential
        Unfitted; every fit starts from a clone of it.
    directory : RunDirectory
    refit_growth : float
        How many times the labels of the last fit there must be for the next.
    """

    def __init__(self, prototype: Potential, directory: RunDirectory, refit_growth: float) -> None:
        self._prototype, self._directory, self._growth = prototype, directory, refit_growth
        self._potential: Potential | None = None

    @property
    def potential(self) -> Potential:
        """The potential as it is now."""
        assert self._potential is not None
        return self._potential

    def load(self, number: int) -> None:
        """Take up a model of the run.

        Raises
        ------
        RunDirectoryError
            When its file is gone.
        """
        path = self._directory.model_file(number)
        if not path.exists():
            raise RunDirectoryError(f"{path} is missing, and the run cannot go on without it; restore it.")
        again = self._prototype.given_again if isinstance(self._prototype, GivenAgain) else {}
        self._potential = load(path, **again)

    def due(self, n_labels: int, at_fit: int) -> bool:
        """Whether it is time to fit again."""
        return self._potential is None or n_labels >= self._growth * at_fit

    def fit(self, structures: Sequence[Atoms], number: int) -> Record:
        """Fit to everything: all that a fit finds, calibration included, anew."""
        if len(structures) < FEWEST:
            raise KernpotError(
                f"there are {len(structures)} labelled structures to fit to, expected at least {FEWEST}: the oracle "
                "failed on the others (their reasons are in set_aside.xyz)."
            )
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InducingWarning)  # few structures have few environments: it grows
            self._potential = clone(self._prototype).fit(list(structures))
        return self._keep("fit", number, start)

    def update(self, structures: Sequence[Atoms], number: int) -> Record:
        """Learn more structures with everything else as it is."""
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InducingWarning)
            self.potential.update(list(structures))
        return self._keep("update", number, start)

    def _keep(self, kind: str, number: int, start: float) -> Record:
        numbered = self._directory.model_file(number)
        self.potential.save(numbered)
        # Its bytes rather than a link to them: whoever writes into one of the two files must not change the other.
        write_atomically(self._directory.path / "model.kernpot", numbered.read_bytes())
        told: dict[str, Any] = {"event": "learn", "kind": kind, "seconds": time.perf_counter() - start}
        if size := self.potential.summary_.get("size"):
            told["size"] = size
        if hasattr(self.potential, "n_inducing_"):
            told["n_inducing"] = self.potential.n_inducing_
        return told
