"""A potential on top of a baseline: learnt is what the baseline leaves of the labels.

The baseline is any surface, or any ASE calculator: physics written down, a cheap quantum-mechanical method, another
potential. It is subtracted from the labels before anything else is, isolated atoms included, and added to every answer
and to every draw. It has no error bar of its own: what it is wrong by is what is learnt, and the learner's error bars
are those of the sum.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from kernpot.backend.answering import AnsweringMixin
from kernpot.backend.known import KnowingMixin
from kernpot.backend.left_over import isolated_atom, left_over, relabelled
from kernpot.backend.on_top import DrawsOnTop, PredictorOnTop, ScreenOnTop
from kernpot.backend.probe import probe, require_same
from kernpot.calculator import KernpotCalculator
from kernpot.errors import KernpotError, NotInFileError
from kernpot.files.container import require_model, restored, write_model
from kernpot.files.parts import reading, require
from kernpot.potential import Chosen, ErrorBars, GivenAgain, KnowsClosest, Linear, Novel, Potential, Screen, Surface
from kernpot.prediction import (
    ClosePair,
    EnergyStd,
    LeftOut,
    Sensitivities,
)
from kernpot.structures.labels import label_structures
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.adapter import CalculatorSurface, surface_name

# Where the tensors of each stand in a file.
_OF_BASELINE, _OF_LEARNER = "baseline.", "learner."


class OnTop(AnsweringMixin, BaseEstimator):
    """A potential that learns what a baseline leaves of the labels, with all that any potential answers.

    Parameters
    ----------
    baseline : Surface or ase.calculators.calculator.Calculator
        What is subtracted from labels and added to answers: a fitted potential, a draw, a surface of one's own, or any
        ASE calculator.
    learner : Potential
        Unfitted; a clone of it learns.
    random_state : int, RandomState or None
        Seed of the learner; None leaves its own.

    Attributes
    ----------
    learner_ : Potential
        Fitted to the remainders.

    Examples
    --------
    >>> from ase.calculators.morse import MorsePotential
    >>> from kernpot import OnTop, SparseGPPotential
    >>> OnTop(MorsePotential(), SparseGPPotential(n_inducing=200)).learner.n_inducing
    200
    """

    def __init__(
        self,
        baseline: Surface | Calculator,
        learner: Potential,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.baseline = baseline
        self.learner = learner
        self.random_state = random_state

    _fitted: _Fitted

    # ------------------------------------------------------------------ learning

    def fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Fit the learner to what the baseline leaves of the labels.

        Parameters
        ----------
        structures, energies, forces, stress
            As of the learner.

        Raises
        ------
        StructureError
            A structure or label cannot be used, or holds elements that the baseline does not know.
        KernpotError
            The baseline fails on a structure.
        """
        surface = _surface_of(self.baseline)
        if not all(hasattr(self.learner, name) for name in ("fit", "get_params", "sample_potentials")):
            raise KernpotError(f"learner: expected an unfitted potential, got {type(self.learner).__name__}.")
        left = left_over(label_structures(structures, energies, forces, stress), surface)
        learner = clone(self.learner)
        if self.random_state is not None:
            learner.set_params(random_state=self.random_state)
        isolated = learner.get_params(deep=False).get("isolated_atoms")
        if isolated:  # what is no energy the learner refuses in its own words
            less = {z: e - isolated_atom(z, surface) if isinstance(e, Real) else e for z, e in isolated.items()}
            learner.set_params(isolated_atoms=less)
        learner.fit(*left)
        self._fitted = _Fitted(surface, learner)
        return self

    def partial_fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from more labelled structures, as the learner does; an unfitted one is fitted."""
        if not self.__sklearn_is_fitted__():
            return self.fit(structures, energies, forces, stress)
        labelled, fitted = label_structures(structures, energies, forces, stress), self._fitted
        learner = _independent(fitted.learner)
        learner.partial_fit(*left_over(labelled, fitted.surface))
        self._fitted = _Fitted(fitted.surface, learner)
        return self

    def update(self, structures: Sequence[Atoms]) -> Self:
        """Learn from more labelled structures, and describe what is new in them, as the learner does."""
        if not self.__sklearn_is_fitted__():
            return self.fit(structures)
        fitted = self._fitted
        learner = _independent(fitted.learner)
        learner.update(relabelled(*left_over(label_structures(structures), fitted.surface)))
        self._fitted = _Fitted(fitted.surface, learner)
        return self

    def calibrate(self, held_out: Sequence[Atoms]) -> Self:
        """Make standard deviations those of errors on structures that the fit has not seen."""
        fitted = self._known()
        learner = _independent(fitted.learner)
        learner.calibrate(relabelled(*left_over(label_structures(held_out), fitted.surface)))
        self._fitted = _Fitted(fitted.surface, learner)
        return self

    # ------------------------------------------------------------------ answering

    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        """Std of the energy over calibrated draws, with its exact derivatives: that of the learner."""
        return self._known().learner.energy_std(atoms, pairs)

    def select(self, structures: Sequence[Atoms], k: int, random_part: float = 0.5) -> Chosen:
        """``k`` structures whose labels would teach the learner most; a part of them drawn at random."""
        learner = self._fitted.learner if self.__sklearn_is_fitted__() else self.learner
        return learner.select(structures, k, random_part)

    def left_out(self) -> list[LeftOut]:
        """Errors on training structures had they been left out: what the baseline adds cancels."""
        return self._known().learner.left_out()

    def sample_potentials(
        self, n: int, random_state: int | np.random.RandomState | None = None, **options: Any
    ) -> DrawsOnTop:
        """Draws of the learner, each on top of the baseline."""
        fitted = self._known()
        return DrawsOnTop(fitted.learner.sample_potentials(n, random_state, **options), fitted.surface)

    def closer_pair(self, atoms: Atoms) -> ClosePair | None:
        """The two atoms furthest below the closest of their elements among what the learner has learnt, if it knows."""
        learner = self._known().learner
        return learner.closer_pair(atoms) if isinstance(learner, KnowsClosest) else None

    def screen(self) -> Screen | None:
        """The learner's bound on force stds, with the mean of the sum."""
        fitted = self._known()
        screen = fitted.learner.screen()
        return None if screen is None else ScreenOnTop(screen, fitted.surface)

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        """ASE calculator; ``atoms.calc.prediction`` holds the full distribution."""
        self._known().learner.calculator(skin)  # refuses what the learner refuses
        return KernpotCalculator(self, skin=skin)

    def novelty(self, structures: Sequence[Atoms] | Atoms) -> list[Any]:
        """How new environments are to the learner.

        Raises
        ------
        KernpotError
            It cannot tell.
        """
        learner = self._known().learner
        if not isinstance(learner, Novel):
            raise KernpotError(f"{type(learner).__name__} has no novelty.")
        return learner.novelty(structures)

    def sensitivities(self, atoms: Atoms, kinds: Collection[str]) -> Sensitivities:
        """How labels answer to the learner's weights, see :class:`kernpot.potential.Linear`.

        Raises
        ------
        KernpotError
            It is not linear in weights.
        """
        learner = self._known().learner
        if not isinstance(learner, Linear):
            raise KernpotError(
                f"{type(learner).__name__} is not linear in Gaussian weights; use propagate, which draws."
            )
        return learner.sensitivities(atoms, kinds)

    @property
    def learner_(self) -> Potential:
        """Fitted to what the baseline leaves."""
        return self._known().learner

    @property
    def elements_(self) -> tuple[int, ...]:
        """Atomic numbers seen in training."""
        return self._known().learner.elements_

    @property
    def summary_(self) -> dict[str, Any]:
        """What the learner saw and found, and the baseline's name."""
        fitted = self._known()
        return fitted.learner.summary_ | {"baseline": surface_name(fitted.surface)}

    @property
    def cutoff(self) -> float:
        """Largest distance at which atoms interact directly; not of baselines that find neighbours themselves."""
        fitted = self._known()
        return max(fitted.learner.cutoff, fitted.surface.cutoff)

    @property
    def given_again(self) -> dict[str, Any]:
        """Parts that no model file holds, as :func:`kernpot.load` takes them."""
        whole = hasattr(self.baseline, "file_contents") and not _given_again(self.baseline)
        of_learner = _given_again(self.learner)
        if isinstance(self.learner, OnTop):
            of_learner = {"learner": of_learner} if of_learner else {}
        return ({} if whole else {"baseline": self.baseline}) | of_learner

    def __sklearn_clone__(self) -> OnTop:
        """An unfitted one; a baseline that is a fitted potential stays fitted, as it is no part that learns."""
        fitted = isinstance(self.baseline, BaseEstimator) and hasattr(self.baseline, "elements_")
        baseline = self.baseline if fitted else clone(self.baseline, safe=False)
        return type(self)(baseline, clone(self.learner), clone(self.random_state, safe=False))

    # ------------------------------------------------------------------ the model file

    def file_contents(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and tensors of the model file: the learner's, and the baseline's name, or itself if it can be stored.

        Raises
        ------
        KernpotError
            The learner cannot be stored.
        """
        fitted = self._known()
        header, tensors = _contents_of(fitted.learner)
        surface = fitted.surface
        told: dict[str, Any] = {"name": surface_name(surface), "probe": probe(surface, fitted.learner.elements_)}
        tensors = {_OF_LEARNER + name: array for name, array in tensors.items()}
        if hasattr(fitted.surface, "file_contents"):
            told["model"], more = _contents_of(fitted.surface)
            tensors |= {_OF_BASELINE + name: array for name, array in more.items()}
        sections = {**header.get("sections", {}), "Baseline": [["Name", told["name"]]]}
        schema = max(2, header.get("schema_version", 1), told.get("model", {}).get("schema_version", 1))
        mine = {"kind": "OnTop", "schema_version": schema, "learner": header["kind"], "baseline": told}
        mine["sections"] = sections
        # What of the learner's own header the sum's takes the place of: a learner may be such a sum itself.
        mine["of_learner"] = {name: header[name] for name in (*mine, "of_learner") if name in header}
        return header | mine, tensors

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file. A baseline that is no model of kernpot's is named in it, and given again at load."""
        write_model(path, *self.file_contents())

    @classmethod
    def from_file_contents(
        cls,
        header: dict[str, Any],
        tensors: dict[str, NDArray[Any]],
        baseline: Surface | Calculator | None = None,
        learner: Mapping[str, Any] | None = None,
        **again: Any,
    ) -> Self:
        """Rebuild a fitted potential from a model file's header and tensors (see :func:`kernpot.load`).

        Parameters
        ----------
        baseline : Surface or Calculator, optional
            The one of the fit, given again, where the file could not hold it.
        learner : mapping, optional
            What the learner wants to be given again, where it is a sum with a baseline itself.
        **again
            The same of any other learner.

        Raises
        ------
        ModelFileError
            The baseline is missing, or gives other energies than that of the fit.
        """
        with reading("baseline"):
            told = header["baseline"]
            if baseline is None:
                if "model" not in told:
                    raise NotInFileError(
                        f"the model stands on the baseline {told['name']}, which no file holds; give it again: "
                        "load(path, baseline=...)"
                    )
                require_model("its baseline", told["model"])
                try:
                    baseline = restored(told["model"], _within(tensors, _OF_BASELINE))
                except NotInFileError as error:
                    raise NotInFileError(
                        f"the baseline {told['name']} cannot be restored alone ({error}); give it again whole: "
                        "load(path, baseline=...)"
                    ) from error
            surface = _surface_of(baseline)
        with reading("learner"):
            apart = {"kind", "schema_version", "learner", "baseline", "sections", "of_learner"}
            inner = {name: value for name, value in header.items() if name not in apart} | dict(header["of_learner"])
            require(inner.get("kind") == header["learner"], "its header is not the learner's")
        require_model("the model", inner)
        if not isinstance(learner, Mapping | None):
            raise NotInFileError(f"learner=: expected a mapping such as {{'baseline': ...}}, got {learner!r}")
        try:
            taught = restored(inner, _within(tensors, _OF_LEARNER), **(learner or {}), **again)
        except NotInFileError as error:
            if inner["kind"] != "OnTop":
                raise
            raise NotInFileError(f"of the learner, as load(path, learner={{'baseline': ...}}): {error}") from error
        with reading("baseline"):
            require_same(surface, told["probe"], told["name"])
        potential = cls(baseline, clone(taught))
        potential._fitted = _Fitted(surface, taught)
        return potential

    # ------------------------------------------------------------------ parts

    @property
    def _predictor(self) -> PredictorOnTop:
        return self._predictor_for(None)

    def _predictor_for(self, error_bars: ErrorBars | None) -> PredictorOnTop:
        return PredictorOnTop(self._fitted.learner, self._fitted.surface, error_bars)

    @property
    def _descriptors(self) -> tuple[()]:
        return ()

    def _known(self) -> _Fitted:
        check_is_fitted(self)
        return self._fitted

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")


@dataclass(frozen=True)
class _Fitted:
    """A surface, and the potential that has learnt what it leaves."""

    surface: Surface
    learner: Potential


def _surface_of(baseline: Any) -> Surface:
    if isinstance(baseline, Calculator) and not hasattr(baseline, "elements_"):
        return CalculatorSurface(baseline)
    if not all(hasattr(baseline, name) for name in ("elements_", "cutoff", "mean", "along_pairs")):
        raise KernpotError(
            f"baseline: expected a fitted potential, a surface or an ASE calculator, got {type(baseline).__name__}."
        )
    surface: Surface = _independent(baseline) if isinstance(baseline, BaseEstimator) else baseline
    return surface


def _independent(potential: Any) -> Any:
    """One that learns on without this one noticing; where all that is known is one frozen state it is shared."""
    shares = isinstance(potential, KnowingMixin | OnTop)
    return copy.copy(potential) if shares else copy.deepcopy(potential)


def _given_again(potential: Any) -> dict[str, Any]:
    return potential.given_again if isinstance(potential, GivenAgain) else {}


def _within(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name[len(prefix) :]: array for name, array in tensors.items() if name.startswith(prefix)}


def _contents_of(potential: Any) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    if not hasattr(potential, "file_contents"):
        raise KernpotError(
            f"{type(potential).__name__} cannot be stored within another model: it has no file_contents."
        )
    contents: tuple[dict[str, Any], dict[str, NDArray[Any]]] = potential.file_contents()
    return contents
