"""An ensemble of neural-network potentials as a scikit-learn estimator, with the contract of the Gaussian process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from ase import Atoms
from dscribe.descriptors import ACSF, SOAP
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from kernpot.backend.answering import AnsweringMixin
from kernpot.backend.known import KnowingMixin
from kernpot.backend.randomness import Drawing, generator_of
from kernpot.backend.requirements import without_other_kinds
from kernpot.backend.selection import Selection
from kernpot.backend.summary import data_hash
from kernpot.calibration.held_out import calibrate as rescale
from kernpot.calibration.spread import Spread
from kernpot.descriptors import Features
from kernpot.descriptors.demands import require_forces
from kernpot.errors import KernpotError
from kernpot.files.container import write_model
from kernpot.nnp import model_file
from kernpot.nnp.calibration import held_out_forces
from kernpot.nnp.committee import Committee
from kernpot.nnp.fit import fit_nnp, with_labels
from kernpot.nnp.fitted import FittedNNP
from kernpot.nnp.selection import select
from kernpot.parallel.memory import require_memory
from kernpot.parameters import is_whole
from kernpot.prediction import ClosePair, EnergyStd, LeftOut
from kernpot.progress import Report, reporting
from kernpot.structures.checks import require_fitted
from kernpot.structures.labels import label_structures, require_any_energy, require_any_label
from kernpot.structures.missing import warn_of_missing
from kernpot.structures.neighbours import Pairs, find_pairs
from kernpot.structures.noise import NoiseModel
from kernpot.surfaces.draws import Draws, PotentialDraw
from kernpot.surfaces.variances import TermVariance

# Bytes of a random combination of members, its source of random numbers included.
_OF_A_DRAW = 10_000


class NNPEnsemble(KnowingMixin, AnsweringMixin, BaseEstimator):
    """Ensemble of high-dimensional neural-network potentials (Behler and Parrinello 2007).

    The energy is a sum of atomic energies, each from a small network of the atom's element that sees the descriptor of
    its surroundings; members are trained together on energies, forces and stress (:mod:`kernpot.nnp.training`). A part
    of the structures is held out from all members: it stops the training and calibrates the error bars.

    Parameters
    ----------
    descriptor : dscribe.descriptors.SOAP, dscribe.descriptors.ACSF or Features, optional
        None chooses :func:`kernpot.descriptors.default_descriptor` for the elements present. A
        :class:`kernpot.descriptors.Features` is a descriptor of one's own, or features that come with the structures
        (:class:`kernpot.descriptors.GivenFeatures`).
    hidden : sequence of int, default=(32, 32)
        Widths of the hidden layers.
    n_members : int, default=8
        Networks; ``uncertainty="last_layer"`` trains one, whatever it says.
    uncertainty : {"ensemble", "shallow", "last_layer"}, default="ensemble"
        Members with weights of their own; members that share all but the last layer (Kellner and Ceriotti, Mach.
        Learn.: Sci. Technol. 5, 035006 (2024)); or one network with the posterior over its last layer
        (:mod:`kernpot.nnp.last_layer`).
    activation : {"silu", "softplus", "tanh"}, default="silu"
        Smooth, so that forces are.
    n_components : int, default=128
        Directions of the descriptor's features that the networks see (:mod:`kernpot.nnp.inputs`).
    noise : dict or NoiseModel, optional
        Levels ``energy`` (eV/atom), ``forces`` (eV/A), ``stress`` (eV/A^3) of the labels, and ``config_type``
        overrides: errors weigh as one over their squares, those of forces and stress a tenth as much, as the components
        of one structure share their causes. Without them forces are wanted to 5 % of their rms, and
        energies per atom and stress as forces over 0.05 A and 100 A^2. ``atoms.info["noise_scale"]`` multiplies those
        of one structure.
    isolated_atoms : dict, optional
        Energy in eV of isolated atoms by symbol or atomic number; single-atom frames among the structures take
        precedence, and elements with neither are found by least squares over compositions. Networks do not train on
        such frames.
    resample : {None, "bootstrap", "split"}, optional
        What members train on: the same structures, from other starting weights; structures drawn with replacement; or
        another four fifths each. Shallow ensembles always bootstrap.
    validation : float, default=0.1
        Part of the structures that is held out, whole trajectories (``atoms.info["trajectory"]``) together; at least
        ten where these are no more than a quarter, else a quarter. With 0 there is nothing to calibrate by, and error
        bars take the noise levels for misfit.
    max_epochs : int, optional
        By default enough for 4,000 steps, and at least 100.
    batch_size : int, default=6
        Structures per step, fewer when they are large.
    learning_rate : float, default=0.01
    schedule : {"cosine", "plateau"}, default="cosine"
        Down to nothing over `max_epochs`; or halved where the held-out part no longer improves.
    patience : int, optional
        Epochs without any member's improvement on the held-out part that end the training; by default it runs to its
        end. What is kept of each member is its best (running average of the) weights either way.
    checkpoint : path-like, optional
        File that holds the training after every epoch: the same fit started again goes on from there, to the same bits.
    random_state : int, RandomState or None
        Seed of starting weights, batches and what is held out.
    progress : bool or callable, optional
        True shows bars; a callable gets ``(stage, done, total)``.
    trust_labels : bool, default=False
        Fit labels that contradict one another all the same, with a warning; else they are refused, with the likely
        cause.

    Attributes
    ----------
    fitted_ : FittedNNP
        All that the fit knows; frozen.
    elements_ : tuple of int
        Atomic numbers seen in training.
    isolated_atoms_ : dict of int to float
        Isolated-atom energies used, eV.
    noise_ : dict of str to float
        Noise level per group, which weighs the labels.
    misfit_ : dict of str to Misfit
        Misfit of ``energy`` (eV/atom), ``forces`` (eV/A) and ``stress`` (eV/A^3) labels in predictions, from errors on
        the held-out part (:mod:`kernpot.calibration.misfit`).
    draw_scale_ : float
        Factor on deviations from the mean of calibrated draws.
    summary_ : dict
        What the fit saw and found.

    Examples
    --------
    >>> from kernpot import NNPEnsemble, read_structures
    >>> nnp = NNPEnsemble(n_members=2, max_epochs=10, random_state=0).fit(read_structures("train.xyz"))
    >>> energy, std = nnp.predict(read_structures("test.xyz"), return_std=True)
    >>> energy.shape, std.shape
    ((2,), (2,))
    """

    def __init__(
        self,
        descriptor: SOAP | ACSF | Features | None = None,
        hidden: Sequence[int] = (32, 32),
        n_members: int = 8,
        uncertainty: Literal["ensemble", "shallow", "last_layer"] = "ensemble",
        activation: Literal["silu", "softplus", "tanh"] = "silu",
        n_components: int = 128,
        noise: Mapping[str, Any] | NoiseModel | None = None,
        isolated_atoms: Mapping[int | str, float] | None = None,
        resample: Literal["bootstrap", "split"] | None = None,
        validation: float = 0.1,
        max_epochs: int | None = None,
        batch_size: int = 6,
        learning_rate: float = 0.01,
        schedule: Literal["cosine", "plateau"] = "cosine",
        patience: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        progress: bool | Report | None = None,
        trust_labels: bool = False,
    ) -> None:
        self.descriptor = descriptor
        self.hidden = hidden
        self.n_members = n_members
        self.uncertainty = uncertainty
        self.activation = activation
        self.n_components = n_components
        self.noise = noise
        self.isolated_atoms = isolated_atoms
        self.resample = resample
        self.validation = validation
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.patience = patience
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.progress = progress
        self.trust_labels = trust_labels

    _fitted: FittedNNP

    # ------------------------------------------------------------------ learning

    def fit(
        self,
        structures: Sequence[Atoms],
        energies: Sequence[float | None] | NDArray[np.float64] | None = None,
        forces: Sequence[Any] | None = None,
        stress: Sequence[Any] | None = None,
    ) -> Self:
        """Train on labelled structures.

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
        KernpotError
            When a parameter is out of range, or the checkpoint is of another training.
        """
        labelled = without_other_kinds(label_structures(structures, energies, forces, stress), "networks learn")
        require_any_energy(labelled)
        warn_of_missing([(s.source, s.atoms, s.kinds) for s in labelled])
        drawing = Drawing(self.random_state)
        with reporting(self.progress) as report:
            fitted = fit_nnp(labelled, self.get_params(deep=False), drawing.rng, report)
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
        """Learn from more labelled structures.

        With ``uncertainty="last_layer"`` their rows are added to the posterior, exactly and at once. Otherwise the
        members train on, from where they are, on all structures old and new for a tenth of the epochs of a fit. What
        was held out stays so, unless it is learnt now; where that is too little, up to a quarter of many new structures
        is held out as well. The error bars are calibrated anew, which undoes :meth:`calibrate`.

        Parameters
        ----------
        structures, energies, forces, stress
            As of :meth:`fit`.

        Raises
        ------
        StructureError
            Before any work, when a structure or label cannot be used or holds elements that were not in the fit.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(structures, energies, forces, stress)
        labelled = label_structures(structures, energies, forces, stress)
        require_any_label(labelled)
        labelled = without_other_kinds(labelled, "networks learn")
        with reporting(self.progress) as report:
            fitted = with_labels(self._fitted, labelled, self.get_params(deep=False), report)
        self._fitted = fitted
        return self

    def update(self, structures: Sequence[Atoms]) -> Self:
        """Learn from more labelled structures as :meth:`partial_fit` does; an unfitted ensemble is fitted.

        Parameters
        ----------
        structures : list of ase.Atoms
            Labels are read from their calculators.
        """
        return self.partial_fit(structures)

    def calibrate(self, held_out: Sequence[Atoms]) -> Self:
        """Scale the misfit of labels by what structures say that the fit has not seen.

        See :mod:`kernpot.calibration.held_out`.

        A fit is calibrated already, by its held-out part; more data of the kind to be predicted make it sharper. Means
        stay; groups (``config_type``) of five structures or more have a factor on all stds.

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
        fitted = self._fitted
        misfit, found = rescale(fitted.predictor, labelled, fitted.misfit, fitted.trained.labelled)
        summary = fitted.updated({"calibration": found, "data_hash": data_hash(labelled)})
        self._fitted = replace(fitted, misfit=misfit, summary=summary)
        return self

    # ------------------------------------------------------------------ answering

    def energy_std(self, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
        """Std of the energy over calibrated draws, with its exact derivatives (:mod:`kernpot.calibration.spread`).

        At least 1 meV, so that the derivatives stay finite where members agree.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within :attr:`cutoff`, when the caller keeps a neighbour list.
        """
        require_fitted(atoms, self.fitted_.elements, "structure")
        require_forces(self._descriptors)
        return self._predictor.energy_std(atoms, self._fitted.draw_scale, pairs)

    def of_part(self) -> Spread:
        """What gives stds of forces on a part of a structure, from its atoms and those around them."""
        check_is_fitted(self)
        return self._predictor

    def closer_pair(self, atoms: Atoms) -> ClosePair | None:
        """The two atoms furthest below the closest distance of their elements in the fit; None where none are below.

        What they add to error bars: :mod:`kernpot.calibration.unseen_pairs`.
        """
        known = self.fitted_.unseen_pairs
        return known.closer(atoms.numbers, find_pairs(atoms, known.cutoff))

    def screen(self) -> None:
        """No cheap bound on force stds: the stds themselves cost few means."""
        check_is_fitted(self)

    def select(self, structures: Sequence[Atoms], k: int, random_part: float = 0.5) -> Selection:
        """``k`` structures to label: those that would teach most together, and some at random.

        The greedy D-optimal batch for the last hidden layer of the first member; labels are not looked at
        (:mod:`kernpot.nnp.selection`). Before any fit the networks are those that training would start from.

        Parameters
        ----------
        structures : list of ase.Atoms
            To choose from.
        k : int
        random_part : float, default=0.5
            Part of the choices that is drawn at random.
        """
        fitted = getattr(self, "_fitted", None)
        trained = None if fitted is None else fitted.trained
        return select(trained, self.get_params(deep=False), structures, k, random_part)

    def left_out(self) -> list[LeftOut]:
        """Force errors on the structures that no member has trained on, and their standard deviations.

        Raises
        ------
        KernpotError
            When no structure was held out.
        """
        held = self.fitted_.trained.held_out
        if not held:
            raise KernpotError(
                "no structure was held out of this fit: there were too few, or validation=0; give labelled structures "
                "that the fit has not seen."
            )
        return held_out_forces(self._predictor, held, self._fitted.misfit["forces"])

    def sample_potentials(
        self,
        n: int,
        random_state: int | np.random.RandomState | None = None,
        posterior: Literal["calibrated", "bayes", "members"] = "calibrated",
    ) -> Draws:
        """Potentials that scatter as the ensemble does, each with an ASE calculator.

        They are random combinations of the members, with their mean and covariance, or draws from the posterior over
        the last layer; coherent across energies, forces, stress and structures either way.

        Parameters
        ----------
        n : int
            Number of draws.
        random_state : int, RandomState or None
            Seed; the first draws of many are those of few.
        posterior : {"calibrated", "bayes", "members"}
            Deviations widened to reproduce errors on structures held out (``draw_scale_``, at least 1); as they are; or
            the first `n` members themselves.

        Raises
        ------
        KernpotError
            When an argument is out of range.
        """
        fitted = self.fitted_
        require_forces(self._descriptors)
        if not is_whole(n, 1):
            raise KernpotError(f"n must be a positive number of draws, got {n!r}.")
        if posterior not in ("calibrated", "bayes", "members"):
            raise KernpotError(f"posterior must be 'calibrated', 'bayes' or 'members', got {posterior!r}.")
        source = fitted.source
        mean = PotentialDraw(source.average, fitted.elements, self.cutoff)
        if posterior == "members":
            there = len(source.members) if isinstance(source, Committee) else 0
            if not isinstance(source, Committee) or n > there:
                raise KernpotError(
                    f"posterior='members': expected n of at most {there}, the members there are, got {n}; "
                    "posterior='bayes' draws any number with their covariance."
                )
            return Draws(source.members.chosen(slice(0, int(n))), mean, ("parameter",), posterior)
        # A seed for every draw: the first ten of a hundred are those of ten.
        require_memory(_OF_A_DRAW * n, f"{n} draws", "Take fewer at a time.")
        seeds = generator_of(random_state).randint(2**31 - 1, size=n)
        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        scale = fitted.draw_scale if posterior == "calibrated" else 1.0
        return Draws(source.draws(generators, scale), mean, ("parameter",), posterior)

    def energy_variance(self) -> TermVariance:
        """Variances of energies as numbers, see :class:`kernpot.surfaces.variances.Exportable`."""
        fitted = self.fitted_
        return TermVariance(fitted.source.deviating_terms(), fitted.draw_scale)

    # ------------------------------------------------------------------ what the fit knows

    @property
    def fitted_(self) -> FittedNNP:
        """All that the fit knows; frozen."""
        check_is_fitted(self)
        return self._fitted

    @property
    def cutoff(self) -> float:
        """Cutoff of the descriptor, Angstrom."""
        return self.fitted_.trained.features.cutoff

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
        """Rebuild a fitted ensemble from a model file's header and tensors (see :func:`kernpot.load`).

        Parameters
        ----------
        descriptor : Features, optional
            One that no file holds, given again.
        """
        parameters, fitted = model_file.restored(header, tensors, descriptor)
        estimator = cls(**parameters)
        estimator._fitted = fitted
        return estimator

    # ------------------------------------------------------------------ parts

    @property
    def _predictor(self) -> Spread:
        return self._fitted.predictor

    @property
    def _descriptors(self) -> tuple[Features, ...]:
        return (self._fitted.trained.features,)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")
