"""The contract of a potential with error bars: what every backend answers, and what the rest of kernpot relies on.

:func:`kernpot.testing.check_potential` tells whether a backend keeps it. Beyond it a backend may offer more, which is
asked for where it is needed and never by the name of a class: ``novelty`` for a gate with a threshold on it, and the
linear weights of a Gaussian process for :func:`kernpot.uncertainty.linear.linearise`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple, Protocol, Self, get_args, overload, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from kernpot.errors import KernpotError
from kernpot.prediction import (
    ClosePair,
    DrawPredictions,
    EnergyStd,
    LeftOut,
    MeanPrediction,
    PairPrediction,
    Prediction,
    Sensitivities,
)
from kernpot.structures.neighbours import Pairs

ErrorBars = Literal["exact", "draws"]
"""Where error bars come from: the whole posterior, or the scatter of a fixed set of draws."""

ERROR_BARS: tuple[str, ...] = get_args(ErrorBars)


def require_error_bars(error_bars: Any) -> None:
    """Raise KernpotError unless it names a kind of error bars."""
    if error_bars not in ERROR_BARS:
        raise KernpotError(f"error_bars must be one of {', '.join(map(repr, ERROR_BARS))}, got {error_bars!r}.")


class Share(NamedTuple):
    """The part of a piece of work that one of several processes does.

    Attributes
    ----------
    rank, size : int
        Which process this is, counted from 0, and of how many.
    total : callable
        Sums an array over all processes; every one of them gets the sum.
    """

    rank: int
    size: int
    total: Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Screen(Protocol):
    """Tells, at hardly more than the cost of a mean, whether error bars are worth computing."""

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, NDArray[np.float64]]:
        """Mean, and a number per atom (n_atoms,) in eV/A that the std of its force should not exceed.

        The largest of a structure counts; it may be several times too large.
        """


class Surface(Protocol):
    """What the ASE calculator asks of a potential; a single draw of a posterior gives no more.

    Attributes
    ----------
    elements_ : tuple of int
        Atomic numbers the potential knows.
    """

    @property
    def elements_(self) -> tuple[int, ...]:
        """Atomic numbers the potential knows."""

    @property
    def cutoff(self) -> float:
        """Largest distance (Angstrom) at which atoms interact directly."""

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress."""

    def along_pairs(
        self, numbers: NDArray[np.int64], pairs: Pairs, n_centres: int, std: bool = False
    ) -> PairPrediction:
        """Energies of the first `n_centres` atoms and their slopes along pairs: what other simulators ask for.

        Parameters
        ----------
        numbers : ndarray of shape (n_atoms,)
            Atomic numbers, of the centres first; the others are neighbours only.
        pairs : Pairs
            Those of the centres with all atoms within the cutoff, sorted by centre; ``shifts`` are not looked at.
        n_centres : int
        std : bool
            Also the standard deviations of the centres' energies, or an error that says why there are none.
        """

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> list[Prediction]:
        """Distributions, or an error that says why there are none."""


class Draw(Surface, Protocol):
    """One potential-energy surface out of a distribution of them: conservative, and the same for every structure.

    Its ``predict_full`` raises :class:`kernpot.errors.KernpotError`: one surface has no error bars.
    """

    def calculator(self, skin: float = 0.5) -> Calculator:
        """An ASE calculator."""


class PotentialDraws(Protocol):
    """Draws from the distribution of potentials, in order."""

    @property
    def mean_potential(self) -> Draw:
        """What the draws scatter about: the potential's mean."""

    def __len__(self) -> int:
        """Number of draws."""

    @overload
    def __getitem__(self, index: int) -> Draw: ...
    @overload
    def __getitem__(self, index: slice) -> PotentialDraws: ...
    def __getitem__(self, index: int | slice) -> Draw | PotentialDraws:
        """One draw, or some."""

    def evaluate(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """Answers of all draws for one structure; ``evaluate(atoms)[k]`` is that of ``self[k].mean(atoms)``."""


@runtime_checkable
class GivenAgain(Protocol):
    """Potentials that know which of their parts no model file holds."""

    @property
    def given_again(self) -> dict[str, Any]:
        """Those parts by name, as :func:`kernpot.load` takes them; of unfitted potentials as well."""


@runtime_checkable
class Linear(Protocol):
    """A potential whose answers are linear in weights with a Gaussian posterior."""

    def sensitivities(self, atoms: Atoms, kinds: Collection[str]) -> Sensitivities:
        """Changes of a structure's labels along independent unit normal directions of the posterior.

        Those of calibrated draws, but for what the model does not represent.

        Parameters
        ----------
        atoms : Atoms
        kinds : collection of str
            Of ``"forces"`` and ``"stress"``, what to compute beside the energy.
        """


@runtime_checkable
class Novel(Protocol):
    """A potential that tells how far structures lie from what it knows."""

    def novelty(self, structures: Sequence[Atoms] | Atoms) -> list[Any]:
        """Per structure, numbers without unit: ``leverage`` (n_atoms,) and others."""


class Ghosts(Protocol):
    """Values of atoms that stand for others: periodic images, or atoms of other processes. Own atoms come first."""

    def add(self, forces: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Rows of the own atoms (n_own, c), those of their ghosts added, from rows of all (n_atoms, c)."""

    def tell(self, values: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Rows of all atoms (n_atoms, c) from those of the own ones (n_own, c)."""


class OfPart(Protocol):
    """Error bars of a part of a structure, from its own atoms and the ghosts around them."""

    def own_force_std(
        self, numbers: NDArray[np.int64], pairs: Pairs, n_own: int, ghosts: Ghosts
    ) -> NDArray[np.float64]:
        """Standard deviations (n_own, 3) of the forces on the own atoms, eV/Angstrom.

        Parameters
        ----------
        numbers : ndarray of shape (n_atoms,)
            Atomic numbers of the own atoms, then of the ghosts.
        pairs : Pairs
            Of the own atoms with all within the cutoff.
        n_own : int
        ghosts : Ghosts
        """


@runtime_checkable
class Parted(Protocol):
    """A potential whose error bars of forces may be had part by part."""

    def of_part(self) -> OfPart | None:
        """What gives them; None where it takes the whole structure."""


@runtime_checkable
class KnowsClosest(Protocol):
    """A potential that knows how close atoms came in its fit."""

    def closer_pair(self, atoms: Atoms) -> ClosePair | None:
        """The two atoms furthest below the closest distance of their elements in the fit; None where none are below.

        Nothing in the fit tells how strongly they repel one another.
        """


class Chosen(Protocol):
    """Structures chosen for labelling."""

    @property
    def indices(self) -> NDArray[np.int64]:
        """Places (k,) in the list given, in order of choice."""

    @property
    def random(self) -> NDArray[np.bool_]:
        """Which of them (k,) were drawn at random."""


@runtime_checkable
class Potential(Protocol):
    """A fitted (or yet unfitted) potential-energy surface whose predictions are distributions.

    Units are eV, Angstrom, eV/Angstrom and eV/Angstrom^3 (ASE sign and Voigt order). It is an estimator as scikit-learn
    understands it (``sklearn.base.clone`` works, an unfitted one raises ``NotFittedError`` when asked) with a parameter
    ``random_state``, and checks all it is given before any work: what it refuses leaves it as it was, and
    :class:`kernpot.errors.StructureError` names the structure by its place in the list.

    Attributes
    ----------
    elements_ : tuple of int
        Atomic numbers the potential knows.
    summary_ : dict
        What the fit saw and found, in JSON-able form: ``data`` (numbers of structures, atoms, ``energies``,
        ``force_components``, ``stress_components`` and ``config_types``), ``data_hash``, ``updates`` (what was learnt
        or calibrated with later) and, if the backend has one to tell, its ``size``, such as ``{"networks": 8}``.
    """

    @property
    def elements_(self) -> tuple[int, ...]:
        """Atomic numbers the potential knows."""

    @property
    def summary_(self) -> dict[str, Any]:
        """What the fit saw and found."""

    @property
    def cutoff(self) -> float:
        """Largest distance (Angstrom) at which atoms interact directly."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters as they were given, as of scikit-learn's estimators."""

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters."""

    def fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from labelled structures, and calibrate."""

    def partial_fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from more labelled structures, at less than the cost of a fit; some may have forces only.

        Works in place. An unfitted potential is fitted.
        """

    def update(self, structures: Sequence[Atoms]) -> Self:
        """Learn from more labelled structures, and describe what is new in them, as cheaply as the potential can.

        This is what a running simulation calls for every few labels; a fit to everything, which also calibrates, is for
        once in a while. Works in place. An unfitted potential is fitted.
        """

    def calibrate(self, held_out: Sequence[Atoms]) -> Self:
        """Make standard deviations those of errors on at least five labelled structures that the fit has not seen.

        Means stay as they are.
        """

    def score(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        sample_weight: Sequence[float] | NDArray[np.float64] | None = None,
    ) -> float:
        """R^2 of energies per atom."""

    def predict(
        self, structures: Sequence[Atoms] | Atoms, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Total energies (n,), with their standard deviations on request."""

    def predict_full(
        self, structures: Sequence[Atoms] | Atoms, covariance: bool = False, error_bars: ErrorBars | None = None
    ) -> list[Prediction]:
        """Distributions of energy, atomic energies, forces and stress."""

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Mean energy, forces and stress only, as fast as the potential can."""

    def along_pairs(
        self, numbers: NDArray[np.int64], pairs: Pairs, n_centres: int, std: bool = False
    ) -> PairPrediction:
        """Energies of centres and their slopes along pairs, see :meth:`Surface.along_pairs`."""

    def force_std(
        self,
        atoms: Atoms,
        share: Share | None = None,
        error_bars: ErrorBars | None = None,
        pairs: Pairs | None = None,
    ) -> NDArray[np.float64]:
        """Standard deviations (n_atoms, 3) of the forces alone, eV/Angstrom; processes may share the work."""

    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        """Std of the energy over draws with its exact derivatives; smooth, also where nothing is unknown."""

    def select(self, structures: Sequence[Atoms], k: int, random_part: float = 0.5) -> Chosen:
        """``k`` of the structures whose labels would teach most together; a part of them drawn at random.

        Labels are not looked at. Structures the potential has learnt, and copies of one another, are not chosen.
        """

    def sample_potentials(self, n: int, random_state: int | np.random.RandomState | None = None) -> PotentialDraws:
        """``n`` potentials whose scatter shows what the potential does not know, coherent over structures.

        The first draws of many are those of few with the same seed.
        """

    def left_out(self) -> list[LeftOut]:
        """Errors on training structures had they been left out, with the error bars they would have had.

        Raises :class:`kernpot.errors.KernpotError` where the potential cannot tell any more.
        """

    def screen(self) -> Screen | None:
        """A cheap bound on force stds, or None where the potential has none."""

    def calculator(self, skin: float = 0.5) -> Calculator:
        """An ASE calculator."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file."""
