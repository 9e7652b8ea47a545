"""The fits of a search: each is made once, and the best one need not be made again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

from ase import Atoms
from dscribe.descriptors import SOAP
from sklearn.base import clone

from kernpot.calibration.residuals import MIN_STRUCTURES
from kernpot.errors import DescriptorError, KernpotError, MemoryLimitError
from kernpot.gp.estimator import SparseGPPotential
from kernpot.tuning.candidates import Settings
from kernpot.tuning.record import Journal
from kernpot.tuning.trial import Request, Trial


class Fits:
    """Makes the fits of requests, or finds them in the journal; keeps the best one to all structures.

    Parameters
    ----------
    parts : mapping of int to list of ase.Atoms
        The sample and all structures, by their number; one where they are the same.
    estimator : SparseGPPotential
        Unfitted.
    base : dscribe.descriptors.SOAP
        The descriptor that settings are applied to.
    random_state : int
    journal : Journal
    observe : callable, optional
        Called with every trial that is made.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        parts: Mapping[int, list[Atoms]],
        estimator: SparseGPPotential,
        base: SOAP,
        random_state: int,
        journal: Journal,
        observe: Callable[[Trial], None] | None,
        clock: Callable[[], float],
    ) -> None:
        self._parts, self._estimator, self._base, self._random_state = parts, estimator, base, random_state
        self._journal, self._observe, self._clock = journal, observe, clock
        self._kept: tuple[Trial, SparseGPPotential, list[warnings.WarningMessage]] | None = None

    def __call__(self, request: Request) -> Trial:
        """What came of a request."""
        found = self._journal.find(request)
        if found is None:
            found = self._made(request)
            self._journal.add(found)
            if self._observe is not None:
                self._observe(found)
        return found

    def work(self, request: Request) -> float:
        """What a fit costs: its rows, and their factorisation."""
        n_atoms = sum(len(atoms) for atoms in self._parts[request.n_structures])
        n_features = request.settings.applied(self._base).get_number_of_features()
        return float(n_atoms * request.n_inducing * (request.n_inducing + n_features))

    def fitted(self, request: Request) -> SparseGPPotential:
        """The potential of a request, with the warnings of its fit."""
        if self._kept is None or self._kept[0].request != request:
            return self._unfitted(request).fit(self._parts[request.n_structures])
        for caught in self._kept[2]:
            warnings.warn(caught.message, caught.category, stacklevel=4)
        return self._kept[1]

    def _made(self, request: Request) -> Trial:
        began = self._clock()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                potential = self._unfitted(request).fit(self._parts[request.n_structures])
        except (DescriptorError, MemoryLimitError) as error:
            if request.settings == Settings.of(self._base) and request.n_structures == min(self._parts):
                raise  # what it starts from cannot be fitted: there is nothing to compare with
            return Trial(request, {}, self._clock() - began, str(error))
        trial = Trial(request, _errors(potential), self._clock() - began)
        whole = request.n_structures == max(self._parts)
        if whole and (self._kept is None or trial.score < self._kept[0].score):
            self._kept = trial, potential, caught
        return trial

    def _unfitted(self, request: Request) -> SparseGPPotential:
        found: SparseGPPotential = clone(self._estimator)
        return found.set_params(
            descriptor=request.settings.applied(self._base),
            n_inducing=request.n_inducing,
            random_state=self._random_state,
        )


def _errors(potential: SparseGPPotential) -> dict[str, float]:
    """Mean absolute errors on structures left out, by kind of label."""
    found = potential.summary_["hyperparameters"].get("leave_one_out")
    if found is None:
        raise KernpotError(
            f"a fit left no structures out, expected at least {MIN_STRUCTURES} beside isolated atoms that are small "
            "enough to be kept: there is nothing to choose by. Give more structures, or fit without tuning."
        )
    return dict(found["mae"])
