"""What every fitted potential answers in the same way, once it has a predictor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from kernpot.calculator import KernpotCalculator
from kernpot.descriptors import Features, GivenFeatures
from kernpot.descriptors.demands import require_any_geometry, require_forces
from kernpot.errors import StructureError
from kernpot.potential import ErrorBars, Share, require_error_bars
from kernpot.prediction import FloatArray, MeanPrediction, PairPrediction, Prediction
from kernpot.structures.checks import check_atoms, require_elements, require_fitted
from kernpot.structures.labels import label_structures, require_any_energy, source_of
from kernpot.structures.neighbours import Pairs


class Predicting(Protocol):
    """Predictions for one structure."""

    @property
    def mean(self) -> Callable[..., MeanPrediction]:
        """Mean energy, atomic energies, forces and stress of a structure and, optionally, its pairs."""

    def __call__(self, atoms: Atoms, covariance: bool = False) -> Prediction:
        """Distributions of everything."""

    def energy_mean(self, atoms: Atoms) -> float:
        """Mean of the total energy alone, eV."""

    def energy(self, atoms: Atoms) -> tuple[float, float]:
        """Mean and standard deviation of the total energy, eV."""

    def force_std(self, atoms: Atoms, share: Share | None, pairs: Pairs | None = None) -> FloatArray:
        """Standard deviations (n_atoms, 3) of the forces."""

    def along_pairs(self, numbers: Tensor, pairs: Pairs, n_centres: int, std: bool) -> PairPrediction:
        """Energies of centres with their slopes along pairs, see :meth:`kernpot.potential.Surface.along_pairs`."""


class AnsweringMixin(RegressorMixin):
    """Predictions, score and calculator of an estimator with a `Predicting` as ``_predictor`` when fitted."""

    @property
    @abstractmethod
    def elements_(self) -> tuple[int, ...]:
        """Atomic numbers seen in training."""

    @property
    @abstractmethod
    def _predictor(self) -> Predicting:
        """What predicts."""

    def _predictor_for(self, error_bars: ErrorBars | None) -> Predicting:
        """What predicts with error bars of that kind."""
        if error_bars is not None:
            require_error_bars(error_bars)
        return self._predictor

    @property
    @abstractmethod
    def _descriptors(self) -> Sequence[Features]:
        """Descriptors of the structures."""

    def predict(
        self, structures: Sequence[Atoms] | Atoms, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Total energies.

        Parameters
        ----------
        structures : list of ase.Atoms
        return_std : bool
            Also return standard deviations, the misfit of labels included.

        Returns
        -------
        energies : ndarray of shape (n,), eV
        std : ndarray of shape (n,), eV
            Only with ``return_std``.
        """
        frames = self._frames(structures)
        if not return_std:
            return np.array([self._predictor.energy_mean(a) for a in frames])
        pairs = np.array([self._predictor.energy(a) for a in frames]).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def predict_full(
        self, structures: Sequence[Atoms] | Atoms, covariance: bool = False, error_bars: ErrorBars | None = None
    ) -> list[Prediction]:
        """Distributions of energy, atomic energies, forces and stress.

        Parameters
        ----------
        structures : list of ase.Atoms
        covariance : bool
            Also the joint covariance of energy, forces and stress of each structure.
        error_bars : {"exact", "draws"}, optional
            From the whole posterior, or from the scatter of a fixed set of draws, at about the cost of the mean: each
            calibrated on its own. None is the potential's parameter of that name. Potentials whose exact ones cost no
            more have one way for both.

        Raises
        ------
        KernpotError
            The features were given without Jacobians: only energies are known, by :meth:`predict`.
        """
        frames = self._frames(structures)
        require_forces(self._descriptors)
        predictor = self._predictor_for(error_bars)
        return [predictor(a, covariance) for a in frames]

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Mean energy, atomic energies, forces and stress of one structure, without error bars.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within the cutoff, when the caller keeps a neighbour list.
        """
        check_is_fitted(self)
        require_fitted(atoms, self.elements_, "structure")
        require_forces(self._descriptors)
        return self._predictor.mean(atoms, pairs)

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
            Also the standard deviations of the centres' energies, as of ``Prediction.energies``.

        Raises
        ------
        StructureError
            An element is unknown to the potential.
        """
        check_is_fitted(self)
        require_elements(numbers, self.elements_, "the atoms")
        require_forces(self._descriptors)
        return self._predictor.along_pairs(torch.from_numpy(numbers), pairs, n_centres, std)

    def force_std(
        self,
        atoms: Atoms,
        share: Share | None = None,
        error_bars: ErrorBars | None = None,
        pairs: Pairs | None = None,
    ) -> NDArray[np.float64]:
        """Standard deviations of the forces alone.

        Parameters
        ----------
        atoms : ase.Atoms
        share : Share, optional
            Of a process among several that compute them together, each a part.
        error_bars : {"exact", "draws"}, optional
            As of :meth:`predict_full`.
        pairs : Pairs, optional
            All pairs within :attr:`cutoff`, when the caller keeps a neighbour list; the structure is then not checked.

        Returns
        -------
        ndarray of shape (n_atoms, 3), eV/Angstrom
            ``predict_full([atoms])[0].forces.std``.
        """
        if pairs is None:
            self._frames(atoms)
        else:
            check_is_fitted(self)
            require_fitted(atoms, self.elements_, "structure")
        require_forces(self._descriptors)
        return self._predictor_for(error_bars).force_std(atoms, share, pairs)

    def score(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        sample_weight: Sequence[float] | NDArray[np.float64] | None = None,
    ) -> float:
        """R^2 of energies per atom, as scikit-learn's regressors score."""
        labelled = label_structures(structures, energies)
        require_any_energy(labelled)
        kept = [s for s in labelled if s.energy is not None]
        weights = None if sample_weight is None else np.asarray(sample_weight)[[s.energy is not None for s in labelled]]
        sizes = np.array([len(s.atoms) for s in kept])
        found = np.asarray(self.predict([s.atoms for s in kept]))
        return float(r2_score([s.energy for s in kept] / sizes, found / sizes, sample_weight=weights))

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        """ASE calculator; ``atoms.calc.prediction`` holds the full distribution.

        Raises
        ------
        KernpotError
            Features that are arrays on the atoms do not follow them, and those without Jacobians know no forces.
        """
        check_is_fitted(self)
        require_forces(self._descriptors)
        require_any_geometry(self._descriptors)
        return KernpotCalculator(self, skin=skin)

    @property
    def given_again(self) -> dict[str, Any]:
        """Parts that no model file holds, as :func:`kernpot.load` takes them: a descriptor with a function in it."""
        descriptor = getattr(self, "descriptor", None)
        parts = descriptor if isinstance(descriptor, Sequence) else [descriptor]
        functions = any(isinstance(f, GivenFeatures) and f.describes_anything for f in parts)
        return {"descriptor": descriptor} if functions else {}

    def _frames(self, structures: Sequence[Atoms] | Atoms) -> list[Atoms]:
        """Structures to answer for, checked."""
        check_is_fitted(self)
        if not isinstance(structures, Iterable) or isinstance(structures, str | bytes | Mapping):
            raise StructureError(f"structures: expected a list of ase.Atoms, or one, got {structures!r}.")
        frames = [structures] if isinstance(structures, Atoms) else list(structures)
        for index, atoms in enumerate(frames):
            source = source_of(atoms, index)
            check_atoms(atoms, source)
            require_fitted(atoms, self.elements_, source)
        return frames
