"""The sparse Gaussian process as a scikit-learn estimator of potential-energy surfaces."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from kernpot.backend.answering import AnsweringMixin
from kernpot.backend.known import KnowingMixin
from kernpot.backend.on_top import DrawsOnTop
from kernpot.backend.randomness import Drawing
from kernpot.backend.selection import Selection
from kernpot.calibration.spread import Spread
from kernpot.descriptors import Features
from kernpot.descriptors.demands import require_forces
from kernpot.errors import KernpotError, KernpotWarning
from kernpot.files.container import write_model
from kernpot.gp import model_file
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.fit import fit_gp
from kernpot.gp.learning.more import with_inducing, with_labels, with_new_environments, with_note
from kernpot.gp.learning.size import room_for
from kernpot.gp.predicting.calibrated import with_misfit_of
from kernpot.gp.predicting.draws import PosteriorName, sample_draws
from kernpot.gp.predicting.energy_std import energy_std
from kernpot.gp.predicting.left_out import left_out_forces
from kernpot.gp.predicting.novelty import Novelty, novelty_meter
from kernpot.gp.predicting.predictor import Predictor, predictor_of
from kernpot.gp.predicting.screen import ForceScreen, force_screen
from kernpot.gp.predicting.selection import select
from kernpot.gp.predicting.sensitivities import sensitivities
from kernpot.gp.predicting.shared_draws import NO_DRAWS, require_all, sampled, spread_of, with_growth
from kernpot.gp.settings import AUTO
from kernpot.kernels import CosineKernel
from kernpot.potential import ErrorBars, require_error_bars
from kernpot.prediction import ClosePair, EnergyStd, LeftOut, Quantity, Sensitivities
from kernpot.progress import Report, reporting
from kernpot.structures.checks import require_fitted
from kernpot.structures.labels import label_structures, require_any_energy, require_any_label
from kernpot.structures.missing import warn_of_missing
from kernpot.structures.neighbours import Pairs, find_pairs
from kernpot.structures.noise import NoiseModel
from kernpot.surfaces.draws import PARTS, Draws, Part
from kernpot.surfaces.potentials import Potentials
from kernpot.surfaces.variances import KernelVariance


class SparseGPPotential(KnowingMixin, AnsweringMixin, BaseEstimator):
    """Sparse Gaussian process potential on SOAP environments, trained on energies, forces and stress.

    Parameters
    ----------
    descriptor : dscribe.descriptors.SOAP, Features, or list of them, optional
        Several descriptors (a short and a long cutoff, say) make a sum of kernels, each with inducing environments and
        amplitudes of its own. None chooses :func:`kernpot.descriptors.default_descriptor` for the elements present. A
        :class:`kernpot.descriptors.Features` is a descriptor of one's own, or features that come with the structures
        (:class:`kernpot.descriptors.GivenFeatures`).
    n_inducing : int or "auto", default="auto"
        Inducing environments in all. ``"auto"`` takes twice as many, from 1000 on, while that makes errors on
        structures left out smaller, within some ten minutes on two cores and 8 GB (:mod:`kernpot.gp.learning.size`);
        ``summary_["growth"]`` says why it stopped. They are split evenly over descriptors and the functions of their
        kernels, and over elements by the root of their abundance. Where the structures hold fewer, those of slightly
        displaced copies make up for it (:mod:`kernpot.gp.inducing.displaced`). With ``zeta=2`` the mean is then sought
        beyond them, among all quadratic forms of the features, where that makes errors on structures left out smaller
        (:mod:`kernpot.gp.learning.whole_space`); ``summary_["hyperparameters"]["whole_space"]`` says by how much.
    kernel : CosineKernel or list of CosineKernel, optional
        One for all descriptors, or one each; the default is ``SOAPKernel(zeta=2)``.
    noise : dict or NoiseModel, optional
        Misfit levels ``energy`` (eV/atom), ``forces`` (eV/A), ``stress`` (eV/A^3), and ``config_type`` overrides.
        Levels given stay fixed; the others are optimised. ``atoms.info["noise_scale"]`` multiplies those of one
        structure.
    optimize : bool, default=True
        Maximise the variational evidence (Titsias, AISTATS 2009) over noise levels and amplitudes, then weigh energies
        against forces, and scale all noise, by closed-form leave-one-structure-out errors
        (:mod:`kernpot.gp.learning.leave_one_out`, :mod:`kernpot.gp.learning.noise_scale`).
        Otherwise noise levels that are not given are 5 % of the labels' spread, and amplitudes are the kernel's.
    inducing : {"auto", "fps", "cur", "leverage", "random"} or list of ase.Atoms, default="auto"
        How inducing environments are chosen (:func:`kernpot.gp.inducing.sampling.select_environments`); ``"auto"`` is
        ``"fps"``, or ``"leverage"`` where ``n_inducing="auto"`` and errors on structures left out are smaller with it.
        Or structures whose environments, and no others, are used (``arrays["inducing"]`` masks atoms).
    n_components : int, optional
        Directions of the feature space that the inducing environments of an element lie in, learnt from the training
        environments (:mod:`kernpot.gp.inducing.directions`); fewer if they span no more. Fits and predictions with
        error bars cost that much less. None takes all.
    n_draws : int, default=16
        Draws for ``error_bars="draws"``, whose scatter makes error bars at about the cost of the mean
        (:mod:`kernpot.gp.predicting.shared_draws`); 0 makes none, and saves their part of the fit.
    error_bars : {"exact", "draws"}, default="exact"
        Where standard deviations come from: the whole posterior, or `n_draws` draws. Both are calibrated. May be
        changed after the fit (``set_params``), and holds for all that asks the potential: calculators, gates, engines.
    isolated_atoms : dict, optional
        Energy in eV of isolated atoms by symbol or atomic number; single-atom frames among the structures take
        precedence, and elements with neither are found by least squares over compositions.
    n_jobs : int, optional
        Processes for the training rows (joblib). Any number from two on gives the same bits; None and 1 sum in another
        order and agree to rounding.
    random_state : int, RandomState or None
        Seed of the choice of inducing environments.
    progress : bool or callable, optional
        True shows bars; a callable gets ``(stage, done, total)``.
    trust_labels : bool, default=False
        Fit labels that contradict one another all the same, with a warning; else they are refused, with the likely
        cause.

    Attributes
    ----------
    fitted_ : FittedGP
        All that the fit knows; frozen.
    elements_ : tuple of int
        Atomic numbers seen in training.
    isolated_atoms_ : dict of int to float
        Isolated-atom energies used, eV.
    kernels_ : list of CosineKernel
        Fitted kernels, one per descriptor.
    noise_ : dict of str to float
        Noise per group, which weighs the labels.
    misfit_ : dict of str to Misfit
        Misfit of ``energy`` (eV/atom), ``forces`` (eV/A) and ``stress`` (eV/A^3) labels in predictions: a factor on
        the parameter variance, a constant where residuals ask for one, and their tails, from leave-one-structure-out
        errors (:mod:`kernpot.calibration.misfit`); the noise alone when ``optimize=False`` or structures are few.
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
        descriptor: SOAP | Features | Sequence[SOAP | Features] | None = None,
        n_inducing: int | str = AUTO,
        kernel: CosineKernel | Sequence[CosineKernel] | None = None,
        noise: Mapping[str, Any] | NoiseModel | None = None,
        optimize: bool = True,
        inducing: str | Sequence[Atoms] = AUTO,
        n_components: int | None = None,
        n_draws: int = 16,
        error_bars: ErrorBars = "exact",
        isolated_atoms: Mapping[int | str, float] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        progress: bool | Report | None = None,
        trust_labels: bool = False,
    ) -> None:
        self.descriptor = descriptor
        self.n_inducing = n_inducing
        self.kernel = kernel
        self.noise = noise
        self.optimize = optimize
        self.inducing = inducing
        self.n_components = n_components
        self.n_draws = n_draws
        self.error_bars = error_bars
        self.isolated_atoms = isolated_atoms
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.progress = progress
        self.trust_labels = trust_labels

    _fitted: FittedGP

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
        warn_of_missing([(s.source, s.atoms, s.kinds) for s in labelled])
        drawing = Drawing(self.random_state)
        with reporting(self.progress) as report:
            fitted = fit_gp(labelled, self.get_params(deep=False), drawing.rng, report)
        fitted = with_growth(fitted, np.random.RandomState(0))
        if self._of_draws and fitted.shared is None:
            warnings.warn(NO_DRAWS, KernpotWarning, stacklevel=2)
        drawing.keep()
        self._fitted = fitted
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
        if not self.__sklearn_is_fitted__():
            return self.fit(structures, energies, forces, stress)
        labelled = label_structures(structures, energies, forces, stress)
        require_any_label(labelled)
        with reporting(self.progress) as report:
            fitted = with_labels(self._fitted, labelled, self.n_jobs, report)
        self._fitted = fitted
        return self

    def add_inducing(self, inducing: Sequence[Atoms]) -> Self:
        """Describe more kinds of environments: the model a fit with them would give, without that fit.

        Noise, amplitudes and misfit stay; directions that the new ones need join ``n_components``. Each costs about as
        much as the mean of all training structures, and at most as much as their rows (:mod:`kernpot.gp.rows.columns`).

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
        with reporting(self.progress) as report:
            fitted = with_inducing(self._fitted, inducing, self.n_jobs, report)
        self._fitted = fitted
        return self

    def update(self, structures: Sequence[Atoms]) -> Self:
        """Learn from more labelled structures as :meth:`partial_fit` does, and describe what is new in them.

        Environments whose energies the inducing ones cannot represent to the misfit of energies become inducing as
        :meth:`add_inducing` makes them, the newest first, while there are fewer than ``n_inducing``, those of displaced
        copies not counted (:mod:`kernpot.gp.inducing.unrepresented`). Noise, amplitudes and misfit stay. An unfitted
        estimator is fitted.

        Parameters
        ----------
        structures : list of ase.Atoms
            Labels are read from their calculators.

        Raises
        ------
        StructureError
            Before any work, when a structure or label cannot be used or holds elements that were not in the fit.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(structures)
        labelled = label_structures(structures)
        require_any_label(labelled)
        with reporting(self.progress) as report:
            learnt = with_labels(self._fitted, labelled, self.n_jobs, report)
            most = room_for(self.n_inducing, learnt.n_inducing)
            fitted = with_new_environments(learnt, labelled, most, self.n_jobs, report)
        self._fitted = fitted
        return self

    def calibrate(self, held_out: Sequence[Atoms]) -> Self:
        """Scale the misfit of labels by what structures say that the fit has not seen.

        See :mod:`kernpot.calibration.held_out`.

        A fit is calibrated already, by structures left out of it; more data of the kind to be predicted make it
        sharper. Means stay; groups (``config_type``) of five structures or more have a factor on all stds.

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
        self._fitted = with_misfit_of(self._fitted, labelled)
        return self

    def note(self, name: str, told: Any) -> Self:
        """Add to ``summary_``, which the model file holds, how this fit came about.

        Parameters
        ----------
        name : str
            Not in the summary yet.
        told : plain data as JSON has it

        Raises
        ------
        KernpotError
            There is such an entry, or it is no plain data.
        """
        self._fitted = with_note(self.fitted_, name, told)
        return self

    # ------------------------------------------------------------------ answering

    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        """Std of the energy over calibrated draws, with its exact derivatives.

        See :mod:`kernpot.gp.predicting.energy_std`.

        At least 1 meV, so that the derivatives stay finite where nothing is unknown.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within :attr:`cutoff`, when the caller keeps a neighbour list.
        """
        require_fitted(atoms, self.fitted_.elements, "structure")
        require_forces(self._descriptors)
        if self._of_draws:
            return self._fitted.once(spread_of).energy_std(atoms, 1.0, pairs)
        return energy_std(self._fitted, atoms, pairs)

    def predict_label(self, structures: Sequence[Atoms] | Atoms, kind: str) -> list[Quantity]:
        """Labels of a kind beside energy, forces and stress, with their standard deviations.

        Parameters
        ----------
        structures : list of ase.Atoms
        kind : str
            Name of a kind that is registered (:mod:`kernpot.structures.kinds`) and was among the labels of the fit.

        Raises
        ------
        KernpotError
            It was not.
        """
        frames = self._frames(structures)
        others = sorted(self._fitted.kinds - {"energy", "forces", "stress"})
        if kind not in others:
            raise KernpotError(
                f"kind: expected one of the further kinds of labels in the fit ({', '.join(others) or 'none'}), got "
                f"{kind!r}; energy, forces and stress are in predict_full."
            )
        predictor = self._fitted.once(predictor_of)
        return [predictor.other(atoms, kind) for atoms in frames]

    def novelty(self, structures: Sequence[Atoms] | Atoms) -> list[Novelty]:
        """How new environments are to the model: leverage, distances and D-optimal gain, without unit.

        Costs a small part of :meth:`predict_full` (:mod:`kernpot.gp.predicting.novelty`); for errors in eV and eV/A ask
        that.
        """
        frames = self._frames(structures)
        meter = self._fitted.once(novelty_meter)
        return [meter(a) for a in frames]

    def of_part(self) -> Spread | None:
        """What gives stds of forces on a part of a structure; None where they are exact, which takes the whole."""
        return self.fitted_.once(spread_of) if self._of_draws else None

    def collapsed_mean(self) -> Potentials:
        """The mean as a sum of atomic energies, whose size does not depend on the number of inducing environments."""
        return self.fitted_.mean.potentials

    def shared_spread(self) -> Spread | None:
        """Error bars of shared draws, whichever ``error_bars`` are asked for; None where the model has none."""
        return None if self.fitted_.shared is None else self.fitted_.once(spread_of)

    def closer_pair(self, atoms: Atoms) -> ClosePair | None:
        """The two atoms furthest below the closest of their elements in the fit; None where none are, or none is known.

        What they add to error bars: :mod:`kernpot.calibration.unseen_pairs`.
        """
        known = self.fitted_.unseen_pairs
        return None if known is None else known.closer(atoms.numbers, find_pairs(atoms, known.cutoff))

    def screen(self) -> ForceScreen | None:
        """What tells at every step of dynamics whether error bars are worth computing; None where they are of draws.

        See :mod:`kernpot.gp.predicting.screen`.

        Made at the first call after every change of the model, from exact standard deviations of up to 20 structures.
        """
        return None if self._of_draws else self.fitted_.once(force_screen)

    def select(self, structures: Sequence[Atoms], k: int, random_part: float = 0.5) -> Selection:
        """``k`` structures to label: those that would teach most together, and some at random.

        Labels are not needed and not looked at (:mod:`kernpot.backend.selection`). A fitted model chooses what it does
        not know yet; before any fit the parameters of the estimator decide, with inducing environments from the
        structures themselves, and noise of 1 meV/atom, 0.1 eV/A and 1e-3 eV/A^3 where none is given. The estimator
        stays as it is.

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
        return select(getattr(self, "_fitted", None), self.get_params(deep=False), structures, k, random_part)

    def left_out(self) -> list[LeftOut]:
        """Force errors on every training structure, had it been left out, and their standard deviations.

        In closed form at the fitted hyperparameters; costs as much as the rows of all training structures
        (:mod:`kernpot.gp.predicting.left_out`). A fit that found its mean in the whole space of quadratic forms
        (``n_inducing="auto"``) gives those structures that it left out itself.

        Raises
        ------
        KernpotError
            When the model was loaded from a file that does not hold its training structures.
        """
        return left_out_forces(self.fitted_)

    def sample_potentials(
        self,
        n: int,
        random_state: int | np.random.RandomState | None = None,
        parts: Sequence[Part] = PARTS,
        posterior: PosteriorName = "calibrated",
    ) -> Draws | DrawsOnTop:
        """Draws from the posterior, each a potential with an ASE calculator (:mod:`kernpot.gp.predicting.draws`).

        With ``error_bars="draws"`` they deviate from the mean as shared draws do, and twenty together cost about two
        means (:mod:`kernpot.gp.predicting.shared_draws`); all `parts` and the calibrated posterior are then what there
        is.

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
            epistemic ones of :meth:`predict_full`; or from pointwise optimal corrections
            (:mod:`kernpot.regression.pops`).

        Raises
        ------
        KernpotError
            When an argument is out of range, or ``"pops"`` finds no training structures in the model's file.
        """
        require_forces(self.fitted_.features)
        if self._of_draws:
            require_all(parts, posterior)
            return sampled(self.fitted_, n, random_state)
        return sample_draws(self.fitted_, n, random_state, parts, posterior)

    def sensitivities(self, atoms: Atoms, kinds: Collection[str]) -> Sensitivities:
        """How labels of a structure answer to the weights, see :class:`kernpot.potential.Linear`."""
        return sensitivities(self.fitted_, atoms, kinds)

    def energy_variance(self) -> KernelVariance:
        """Variances of energies as numbers, see :class:`kernpot.surfaces.variances.Exportable`."""
        fitted = self.fitted_
        whitening, posterior = fitted.whitening, fitted.of_draws
        amplitudes = fitted.amplitudes.tolist()
        return KernelVariance(whitening.blocks, whitening.factors, amplitudes, posterior.root, fitted.draw_scale)

    # ------------------------------------------------------------------ what the fit knows

    @property
    def fitted_(self) -> FittedGP:
        """All that the fit knows; frozen."""
        check_is_fitted(self)
        return self._fitted

    @property
    def kernels_(self) -> list[CosineKernel]:
        """Fitted kernels, one per descriptor; copies."""
        return [copy.deepcopy(kernel) for kernel in self.fitted_.kernels]

    @property
    def log_evidence_(self) -> float:
        """Variational lower bound of the log marginal likelihood of all labels learnt."""
        return self.fitted_.log_evidence

    @property
    def n_inducing_(self) -> int:
        """Inducing environments in use."""
        return self.fitted_.n_inducing

    @property
    def cutoff(self) -> float:
        """Largest cutoff of the descriptors, Angstrom."""
        return self.fitted_.cutoff

    # ------------------------------------------------------------------ the model file

    def file_contents(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Header and tensors of the model file."""
        return model_file.contents(self.get_params(deep=False), self.fitted_)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file: safetensors with a JSON header, nothing executable."""
        write_model(path, *self.file_contents())

    @classmethod
    def from_file_contents(
        cls, header: dict[str, Any], tensors: dict[str, NDArray[Any]], descriptor: Any = None
    ) -> Self:
        """Rebuild a fitted estimator from a model file's header and tensors (see :func:`kernpot.load`).

        Parameters
        ----------
        descriptor : Features or list of Features, optional
            Those that no file holds, given again.
        """
        parameters, fitted = model_file.restored(header, tensors, descriptor)
        estimator = cls(**parameters)
        estimator._fitted = fitted
        return estimator

    # ------------------------------------------------------------------ parts

    @property
    def _predictor(self) -> Predictor | Spread:
        return self._predictor_for(None)

    def _predictor_for(self, error_bars: ErrorBars | None) -> Predictor | Spread:
        asked = self.error_bars if error_bars is None else error_bars
        require_error_bars(asked)
        return self._fitted.once(spread_of) if asked == "draws" else self._fitted.once(predictor_of)

    @property
    def _of_draws(self) -> bool:
        """Whether error bars are of draws."""
        require_error_bars(self.error_bars)
        return self.error_bars == "draws"

    @property
    def _descriptors(self) -> tuple[Features, ...]:
        return self._fitted.features

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")
