"""The sparse Gaussian process as a scikit-learn estimator of potential-energy surfaces."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import torch
from ase import Atoms
from dscribe.descriptors import SOAP
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from kernpot.gp import model_file
from kernpot.gp.answering import AnsweringMixin
from kernpot.gp.calibration import calibrate as rescale
from kernpot.gp.compress import compress
from kernpot.gp.described import describe_training
from kernpot.gp.draws import PARTS, Draws, Part, PosteriorName, sample_draws
from kernpot.gp.energy_std import energy_std
from kernpot.gp.environments import enlarge
from kernpot.gp.evidence import Evidence
from kernpot.gp.extend import extend
from kernpot.gp.hyperparameters import Hyperparameters, kind_of, starting_noise, warn_unseen
from kernpot.gp.learning import learn_hyperparameters
from kernpot.gp.left_out import left_out_forces
from kernpot.gp.mean import MeanPotential
from kernpot.gp.misfit import Misfit, draw_scale
from kernpot.gp.novelty import Novelty, NoveltyMeter
from kernpot.gp.posterior import Posterior
from kernpot.gp.predictor import Predictor
from kernpot.gp.screen import ForceScreen, force_screen
from kernpot.gp.selection import Selection, select
from kernpot.gp.setup import require_described, require_fitted
from kernpot.gp.summary import data_hash, describe_data
from kernpot.gp.training_data import require_training
from kernpot.gp.update import update
from kernpot.kernels import SOAPKernel
from kernpot.prediction import EnergyStd, LeftOut
from kernpot.progress import Report, reporting
from kernpot.structures.labels import LabelledStructure, label_structures, require_any_energy, require_any_label
from kernpot.structures.neighbours import Pairs
from kernpot.structures.noise import NoiseModel
from kernpot.structures.reference import by_least_squares


class SparseGPPotential(AnsweringMixin, BaseEstimator):
    """Sparse Gaussian process potential on SOAP environments, trained on energies, forces and stress.

    Parameters
    ----------
    descriptor : dscribe.descriptors.SOAP or list of them, optional
        Several descriptors (a short and a long cutoff, say) make a sum of kernels, each with inducing environments and
        amplitudes of its own. None chooses :func:`kernpot.descriptors.default_descriptor` for the elements present.
    n_inducing : int, default=1000
        Inducing environments in all; split evenly over descriptors, and over elements by the root of their abundance.
        Where the structures hold fewer, those of slightly displaced copies make up for it
        (:mod:`kernpot.gp.displaced`).
    kernel : SOAPKernel or list of SOAPKernel, optional
        One for all descriptors, or one each; the default is ``SOAPKernel(zeta=2)``.
    noise : dict or NoiseModel, optional
        Misfit levels ``energy`` (eV/atom), ``forces`` (eV/A), ``stress`` (eV/A^3), and ``config_type`` overrides.
        Levels given stay fixed; the others are optimised. ``atoms.info["noise_scale"]`` multiplies those of one
        structure.
    optimize : bool, default=True
        Maximise the variational evidence (Titsias, AISTATS 2009) over noise levels and amplitudes, then weigh energies
        against forces by closed-form leave-one-structure-out errors (:mod:`kernpot.gp.leave_one_out`). Otherwise noise
        levels that are not given are 5 % of the labels' spread, and amplitudes are the kernel's.
    inducing : {"fps", "cur", "leverage", "random"} or list of ase.Atoms, default="fps"
        How inducing environments are chosen; or structures whose environments, and no others, are used
        (``arrays["inducing"]`` masks atoms).
    n_components : int, optional
        Directions of the feature space that the inducing environments of an element lie in, learnt from the training
        environments (:mod:`kernpot.gp.projection`); fewer if they span no more. Fits and predictions with error bars
        cost that much less. None takes all.
    isolated_atoms : dict, optional
        Energy in eV of isolated atoms by symbol or atomic number; single-atom frames among the structures take
        precedence, and elements with neither are found by least squares over compositions.
    n_jobs : int, optional
        Processes for the training rows (joblib).
    random_state : int, RandomState or None
        Seed of the choice of inducing environments.
    progress : bool or callable, optional
        True shows bars; a callable gets ``(stage, done, total)``.

    Attributes
    ----------
    elements_ : tuple of int
        Atomic numbers seen in training.
    isolated_atoms_ : dict of int to float
        Isolated-atom energies used, eV.
    kernels_ : list of SOAPKernel
        Fitted kernels, one per descriptor.
    noise_ : dict of str to float
        Noise per group, which weighs the labels.
    misfit_ : dict of str to Misfit
        Misfit of ``energy`` (eV/atom), ``forces`` (eV/A) and ``stress`` (eV/A^3) labels in predictions: a factor on
        the parameter variance, a constant where residuals ask for one, and their tails, from leave-one-structure-out
        errors (:mod:`kernpot.gp.misfit`); the noise alone when ``optimize=False`` or structures are few.
    draw_scale_ : float
        Factor on the parameter part of calibrated draws.
    log_evidence_ : float
        Variational lower bound of the log marginal likelihood of all labels learnt.
    n_inducing_ : int
        Inducing environments in use.
    summary_ : dict
        What the fit saw and found.

    Examples
    --------
    >>> from kernpot import SparseGPPotential, read_structures
    >>> gp = SparseGPPotential(n_inducing=40, random_state=0).fit(read_structures("train.xyz"))
    >>> energy, std = gp.predict(read_structures("test.xyz"), return_std=True)
    >>> energy.shape, std.shape
    ((2,), (2,))
    """

    def __init__(
        self,
        descriptor: SOAP | Sequence[SOAP] | None = None,
        n_inducing: int = 1000,
        kernel: SOAPKernel | Sequence[SOAPKernel] | None = None,
        noise: Mapping[str, Any] | NoiseModel | None = None,
        optimize: bool = True,
        inducing: str | Sequence[Atoms] = "fps",
        n_components: int | None = None,
        isolated_atoms: Mapping[int | str, float] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        progress: bool | Report | None = None,
    ) -> None:
        self.descriptor = descriptor
        self.n_inducing = n_inducing
        self.kernel = kernel
        self.noise = noise
        self.optimize = optimize
        self.inducing = inducing
        self.n_components = n_components
        self.isolated_atoms = isolated_atoms
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.progress = progress

    _predictor: Predictor

    # ------------------------------------------------------------------ learning

    def fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Fit to labelled structures.

        Parameters
        ----------
        structures : list of ase.Atoms
            Labels are read from their calculators unless given.
        energies : array-like of shape (n,), optional
            Total energies, eV; overrides the structures' own. None entries are missing labels.
        forces : list of array-like of shape (n_atoms, 3) or None, optional
            eV/A.
        stress : list of array-like of shape (6,) or None, optional
            eV/A^3, ASE sign and Voigt order.

        Raises
        ------
        StructureError
            Before any work, naming the frame, when a structure or label cannot be used.
        DescriptorError
            When the descriptor does not fit the structures or is not smooth.
        """
        labelled = label_structures(structures, energies, forces, stress)
        require_any_energy(labelled)
        warn_unseen(labelled)
        with reporting(self.progress) as report:
            rng = check_random_state(self.random_state)
            data = describe_training(labelled, self.get_params(deep=False), rng, report)
        # Nothing is touched up to here: a refused refit leaves a fitted estimator as it was.
        self._features, self._whitening, self._maker, self._factors = (
            data.features,
            data.whitening,
            data.maker,
            data.factors,
        )
        self.isolated_atoms_, self.kernels_, self.elements_ = data.isolated, data.kernels, data.elements
        self._hyperparameters = Hyperparameters(data.whitening.blocks, data.kernels)
        start = starting_noise(labelled, data.noise, data.isolated)
        self.summary_: dict[str, Any] = {
            "data": describe_data(labelled),
            "data_hash": data_hash(labelled),
            "fitted_isolated_atoms": by_least_squares(labelled, self.isolated_atoms),
            "n_components": [b.environments.shape[1] for b in data.whitening.blocks],
            "n_displaced": data.n_displaced,
            "updates": [],
        }
        self.noise_, self.misfit_, self.summary_["hyperparameters"] = learn_hyperparameters(
            data.factors, data.whitening.block, data.kept, self._hyperparameters, start, data.noise.fixed, self.optimize
        )
        self._training: list[LabelledStructure] | None = labelled
        self._condition()
        return self

    def partial_fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from more structures exactly, without going back to the old ones.

        Inducing environments, noise and amplitudes stay as they are, so the result is that of one fit to all structures
        with them. An unfitted estimator is fitted. Parameters and errors are those of :meth:`fit`.
        """
        if not hasattr(self, "elements_"):
            return self.fit(structures, energies, forces, stress)
        labelled = label_structures(structures, energies, forces, stress)
        require_any_label(labelled)
        for s in labelled:
            require_fitted(s.atoms, self.elements_, s.source)
        require_described(labelled, self._features)
        with reporting(self.progress) as report:
            new = compress(labelled, self._maker, n_jobs=self.n_jobs, progress=report).factors
        start = starting_noise(labelled, self._maker.noise, self.isolated_atoms_)
        known = {kind_of(group) for group in self._factors}
        for group, factor in new.items():
            if group in self._factors:
                self._factors[group].merge(factor)
            else:
                self._factors[group] = factor
                self.noise_[group] = start[group]
                if kind_of(group) not in known:
                    self.misfit_[kind_of(group)] = Misfit(start[group])
        self.summary_["updates"].append({"data": describe_data(labelled), "data_hash": data_hash(labelled)})
        self._training = None if self._training is None else [*self._training, *labelled]
        self._condition()
        return self

    def add_inducing(self, inducing: Sequence[Atoms]) -> Self:
        """Describe more kinds of environments: the model a fit with them would give, without that fit.

        Noise, amplitudes and misfit stay; directions that the new ones need join ``n_components``. Each costs about as
        much as the mean of all training structures, and at most as much as their rows (:mod:`kernpot.gp.extend`).

        Parameters
        ----------
        inducing : list of ase.Atoms
            Structures whose environments become inducing unless they are already (``arrays["inducing"]`` masks atoms).

        Raises
        ------
        StructureError
            When a structure cannot be used or holds elements that were not in the fit.
        KernpotError
            When the model was loaded from a file that does not hold its training structures.
        """
        check_is_fitted(self)
        blocks = enlarge(self._whitening.blocks, inducing, self._features, self.elements_)
        added = blocks[-1].columns.stop - self.n_inducing_
        if not added:
            return self
        changed = copy(self)  # so that nothing is touched when anything fails
        scale = {group: self._hyperparameters.amplitudes() / self.noise_[group] for group in self._factors}
        training = require_training(
            self._training, "adding inducing environments", "Fit again with inducing=[...], or add them before saving."
        )
        with reporting(self.progress) as report:
            changed._factors, changed._maker = extend(
                self._factors, self._maker, blocks, training, scale, self.n_jobs, report
            )
        changed._whitening = changed._maker.whitening
        changed.summary_ = self.summary_ | {"updates": [*self.summary_["updates"], {"inducing": added}]}
        changed._condition()
        self.__dict__.update(changed.__dict__)
        return self

    def update(self, structures: Sequence[Atoms]) -> Self:
        """Learn from more labelled structures as :meth:`partial_fit` does, and describe what is new in them.

        Environments whose energies the inducing ones cannot represent to the misfit of energies become inducing as
        :meth:`add_inducing` makes them, the newest first, while there are fewer than ``n_inducing``, those of displaced
        copies not counted (:mod:`kernpot.gp.update`). Noise, amplitudes and misfit stay. An unfitted estimator is
        fitted.

        Parameters
        ----------
        structures : list of ase.Atoms
            Labels are read from their calculators.

        Raises
        ------
        StructureError
            Before any work, when a structure or label cannot be used or holds elements that were not in the fit.
        """
        update(self, structures)
        return self

    def calibrate(self, held_out: Sequence[Atoms]) -> Self:
        """Scale the misfit of labels by what structures that the fit has not seen say (:mod:`kernpot.gp.calibration`).

        A fit is calibrated already, by structures left out of it; more data of the kind to be predicted make it
        sharper. Means and epistemic standard deviations stay.

        Parameters
        ----------
        held_out : list of ase.Atoms
            Labelled structures, at least five, none of them seen in the fit.

        Raises
        ------
        StructureError
            When a structure or label cannot be used or was in the fit, or there are too few.
        """
        check_is_fitted(self)
        labelled = label_structures(held_out)
        self._frames([s.atoms for s in labelled])
        self.misfit_, found = rescale(self._predictor, labelled, self.misfit_, self._training or [])
        self.summary_["updates"].append({"calibration": found, "data_hash": data_hash(labelled)})
        self._condition()
        return self

    # ------------------------------------------------------------------ answering

    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        """Std of the energy over calibrated draws, with its exact derivatives (:mod:`kernpot.gp.energy_std`).

        At least 1 meV, so that the derivatives stay finite where nothing is unknown.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within :attr:`cutoff`, when the caller keeps a neighbour list.
        """
        check_is_fitted(self)
        require_fitted(atoms, self.elements_, "structure")
        return energy_std(atoms, self._features, self._whitening, self._posterior, self.draw_scale_, pairs)

    def novelty(self, structures: Sequence[Atoms] | Atoms) -> list[Novelty]:
        """How new environments are to the model: leverage, distances and D-optimal gain, without unit.

        Costs a small part of :meth:`predict_full` (:mod:`kernpot.gp.novelty`); for errors in eV and eV/A ask that.
        """
        return [self._novelty(a) for a in self._frames(structures)]

    _screen: ForceScreen | None

    def screen(self) -> ForceScreen | None:
        """What tells at every step of dynamics whether error bars are worth computing (:mod:`kernpot.gp.screen`).

        Made at the first call after every change of the model, from exact standard deviations of up to 20 structures.
        """
        check_is_fitted(self)
        if self._screen is None:
            self._screen = force_screen(self)
        return self._screen

    def select(self, structures: Sequence[Atoms], k: int, random_part: float = 0.5) -> Selection:
        """``k`` structures to label: those that would teach most together, and some at random.

        Labels are not needed and not looked at (:mod:`kernpot.gp.selection`). A fitted model chooses what it does not
        know yet; before any fit the parameters of the estimator decide, with inducing environments from the structures
        themselves, and noise of 1 meV/atom, 0.1 eV/A and 1e-3 eV/A^3 where none is given. The estimator stays as it is.

        Parameters
        ----------
        structures : list of ase.Atoms
            To choose from.
        k : int
        random_part : float, default=0.5
            Part of the choices that is drawn at random; 0 is the greedy D-optimal batch. Random structures keep the
            model good where most structures are.

        Returns
        -------
        Selection
            ``indices`` in order of choice, and their ``gains``.
        """
        return select(self, structures, k, random_part)

    def left_out(self) -> list[LeftOut]:
        """Force errors on every training structure, had it been left out, and their standard deviations.

        In closed form at the fitted hyperparameters; costs as much as the rows of all training structures
        (:mod:`kernpot.gp.left_out`).

        Raises
        ------
        KernpotError
            When the model was loaded from a file that does not hold its training structures.
        """
        check_is_fitted(self)
        training = require_training(self._training, "leaving structures out", "Fit again.")
        amplitudes = self._hyperparameters.amplitudes()
        return left_out_forces(training, self._maker, self._posterior, self.noise_, amplitudes, self.misfit_["forces"])

    def sample_potentials(
        self,
        n: int,
        random_state: int | np.random.RandomState | None = None,
        parts: Sequence[Part] = PARTS,
        posterior: PosteriorName = "calibrated",
    ) -> Draws:
        """Draws from the posterior, each a potential with an ASE calculator (:mod:`kernpot.gp.draws`).

        Parameters
        ----------
        n : int
            Number of draws. Each holds ``n_features^2`` numbers per descriptor and element for ``zeta = 2``.
        random_state : int, RandomState or None
            Seed; the first draws of many are those of few.
        parts : sequence of {"parameter", "unrepresented"}
            What draws carry: the weights' uncertainty, and that of what the inducing environments cannot represent.
        posterior : {"calibrated", "bayes", "pops"}
            Scaled to reproduce errors on structures left out (``draw_scale_``); as inferred, its covariances being the
            epistemic ones of :meth:`predict_full`; or from pointwise optimal corrections (:mod:`kernpot.gp.pops`).

        Raises
        ------
        KernpotError
            When an argument is out of range, or ``"pops"`` finds no training structures in the model's file.
        """
        check_is_fitted(self)
        return sample_draws(self, n, random_state, parts, posterior)

    @property
    def cutoff(self) -> float:
        """Largest cutoff of the descriptors, Angstrom."""
        check_is_fitted(self)
        return max(f.cutoff for f in self._features)

    # ------------------------------------------------------------------ the model file

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file: safetensors with a JSON header, nothing executable."""
        check_is_fitted(self)
        model_file.save(self, path)

    @classmethod
    def from_file_contents(cls, header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Self:
        """Rebuild a fitted estimator from a model file's header and tensors (see :func:`kernpot.load`)."""
        estimator = cls()
        model_file.restore(estimator, header, tensors)
        estimator._condition()
        return estimator

    # ------------------------------------------------------------------ parts

    def _condition(self) -> None:
        """Posterior, mean and predictor from the factors and hyperparameters."""
        amplitudes = self._hyperparameters.amplitudes()
        self._posterior = Posterior(self._factors, self._whitening.block, self.noise_, amplitudes)
        weights = self._whitening.weights(self._posterior.whitened_weights * self._posterior.scale)
        self._mean = MeanPotential(self._features, self._whitening.blocks, weights, self.isolated_atoms_)
        self._predictor = Predictor(
            self._features, self._whitening, self._posterior, amplitudes, self.misfit_, self._mean
        )
        self.draw_scale_ = draw_scale(self.misfit_, {kind_of(group) for group in self._factors})
        self._screen = None
        self._novelty = NoveltyMeter(self._features, self._whitening, self._posterior, self.noise_)
        self.n_inducing_ = len(self._whitening.block)
        evidence = Evidence(self._factors, self._whitening.block)
        noise = torch.tensor([self.noise_[group] for group in evidence.groups], dtype=torch.float64)
        self.log_evidence_ = float(evidence(noise.log(), amplitudes.log()))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_posterior")
