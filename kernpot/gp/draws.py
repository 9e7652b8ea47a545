"""Draws from the posterior, each a potential: conservative, differentiable, the same function for every structure.

A draw is the sum of two independent parts about the posterior mean:

``parameter``
    ``scale R^-1 xi``, ``xi ~ N(0, I)``: what the labels leave undetermined of the whitened weights.
``unrepresented``
    A draw from the prior less what the inducing environments represent of it (:mod:`kernpot.gp.prior_draws`).

The misfit of labels has no part of its own: labels scatter about any one potential, so independent label noise would
not be the derivative of an energy and would cancel from whatever is computed of many numbers. ``posterior`` says how a
draw carries it instead:

``"calibrated"``
    The parameter part is scaled until draws reproduce errors on structures left out, misfit included.
``"bayes"``
    Scales of one: covariances of draws are the epistemic covariances of ``predict_full``, without misfit.
``"pops"``
    Weights from pointwise optimal corrections (:mod:`kernpot.gp.pops`), for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NoReturn, get_args, overload

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from kernpot.errors import KernpotError
from kernpot.gp.answers import Answers
from kernpot.gp.local_energy import LocalEnergies, weighted
from kernpot.gp.mean import Potentials, Term
from kernpot.gp.pops import pointwise_posterior
from kernpot.gp.prior_draws import PriorDraw, draw_prior, represented_weights, with_priors
from kernpot.gp.setup import require_elements, require_fitted
from kernpot.gp.training_data import require_training
from kernpot.prediction import DrawPredictions, MeanPrediction, PairPrediction
from kernpot.structures.neighbours import Pairs

if TYPE_CHECKING:
    from kernpot.calculator import KernpotCalculator
    from kernpot.gp.estimator import SparseGPPotential

Part = Literal["parameter", "unrepresented"]
PARTS: tuple[Part, ...] = get_args(Part)
PosteriorName = Literal["calibrated", "bayes", "pops"]
POSTERIORS: tuple[str, ...] = get_args(PosteriorName)


class PotentialDraw:
    """One potential of the posterior: a draw, or the mean that draws scatter about.

    Parameters
    ----------
    potentials : Potentials
        A single one.
    elements : tuple of int
    cutoff : float

    Attributes
    ----------
    potentials : Potentials
    elements_ : tuple of int
        Atomic numbers the potential knows.
    cutoff : float
        Largest distance (Angstrom) at which atoms interact directly.
    """

    def __init__(self, potentials: Potentials, elements: tuple[int, ...], cutoff: float) -> None:
        self.potentials, self.elements_, self.cutoff = potentials, elements, cutoff

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, atomic energies, forces and stress of one structure under this potential.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within :attr:`cutoff`, when the caller keeps a neighbour list.

        Raises
        ------
        StructureError
            When the structure holds other elements.
        """
        require_fitted(atoms, self.elements_, "structure")
        return self.potentials(atoms, pairs)[0]

    def along_pairs(
        self, numbers: NDArray[np.int64], pairs: Pairs, n_centres: int, std: bool = False
    ) -> PairPrediction:
        """Energies of centres and their slopes along pairs, see :meth:`kernpot.potential.Surface.along_pairs`.

        Raises
        ------
        KernpotError
            With ``std``: one potential has no error bars.
        """
        if std:
            self.predict_full([])
        require_elements(numbers, self.elements_, "the atoms")
        energies, slopes = self.potentials.along_pairs(torch.from_numpy(numbers), pairs, n_centres)
        return Answers({}).along_pairs(energies[0], pairs, [block[0] for block in slopes], None)

    def calculator(self, skin: float = 0.5) -> KernpotCalculator:
        """ASE calculator; its ``prediction`` is refused, as one potential has no error bars."""
        from kernpot.calculator import KernpotCalculator

        return KernpotCalculator(self, skin=skin)

    def predict_full(self, structures: Sequence[Atoms] | Atoms, covariance: bool = False) -> NoReturn:  # noqa: ARG002
        """Refused: one potential has no error bars.

        Raises
        ------
        KernpotError
            Always.
        """
        raise KernpotError(
            "a single draw of the posterior has no error bars: ask the fitted potential for predict_full, or take the "
            "spread of draws.evaluate(atoms)."
        )


class Draws(Sequence[PotentialDraw]):
    """Draws from the posterior of a potential, as a sequence of potentials.

    Parameters
    ----------
    potentials : Potentials
    mean : PotentialDraw
        What they scatter about.
    parts : tuple of str
        Parts they carry.
    posterior : str

    Attributes
    ----------
    potentials : Potentials
        All of them, evaluated together.
    mean_potential : PotentialDraw
    parts : tuple of str
    posterior : str

    Examples
    --------
    >>> draws = gp.sample_potentials(20, random_state=0)
    >>> draws.evaluate(atoms).energies.shape
    (20,)
    >>> atoms.calc = draws[0].calculator()
    >>> atoms.get_forces().shape
    (4, 3)
    """

    def __init__(self, potentials: Potentials, mean: PotentialDraw, parts: tuple[Part, ...], posterior: str) -> None:
        self.potentials, self.mean_potential, self.parts, self.posterior = potentials, mean, parts, posterior

    def __len__(self) -> int:
        return len(self.potentials)

    @overload
    def __getitem__(self, index: int) -> PotentialDraw: ...
    @overload
    def __getitem__(self, index: slice) -> Draws: ...
    def __getitem__(self, index: int | slice) -> PotentialDraw | Draws:
        if isinstance(index, slice):
            return Draws(self.potentials.chosen(index), self.mean_potential, self.parts, self.posterior)
        k = range(len(self))[index]
        mean = self.mean_potential
        return PotentialDraw(self.potentials.chosen(slice(k, k + 1)), mean.elements_, mean.cutoff)

    def evaluate(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """Energies, forces and stress of one structure under every draw; much cheaper than one draw at a time.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within the potential's cutoff, when the caller keeps a neighbour list.

        Raises
        ------
        StructureError
            When the structure holds elements unknown to the potential.
        """
        require_fitted(atoms, self.mean_potential.elements_, "structure")
        return self.potentials(atoms, pairs)

    def __repr__(self) -> str:
        return f"Draws({len(self)} potentials, parts={self.parts}, posterior={self.posterior!r})"


def sample_draws(
    gp: SparseGPPotential,
    n: int,
    random_state: int | np.random.RandomState | None,
    parts: Sequence[Part],
    posterior: PosteriorName,
) -> Draws:
    """Draws of a fitted potential; see :meth:`kernpot.gp.estimator.SparseGPPotential.sample_potentials`."""
    _check(n, parts, posterior)
    # A seed for every draw: the first ten of a hundred are those of ten, whichever their parts.
    seeds = check_random_state(random_state).randint(2**31 - 1, size=n)
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    scale = gp.draw_scale_ if posterior == "calibrated" else 1.0
    whitened = _whitened_weights(gp, generators, posterior, scale if "parameter" in parts else 0.0)
    weights = gp._whitening.weights(whitened * gp._posterior.scale)
    amplitudes = gp._hyperparameters.amplitudes()
    terms = []
    for b, block in enumerate(gp._whitening.blocks):
        own = weights[:, block.columns]
        energies: LocalEnergies
        if "unrepresented" in parts:
            factor, jitter, amplitude = gp._whitening.factors[b], gp._whitening.jitter[b], float(amplitudes[b])
            priors: list[PriorDraw] = []
            for k, generator in enumerate(generators):
                priors.append(draw_prior(block.zeta, gp._features[block.descriptor].n_features, generator))
                own[k] -= amplitude * represented_weights(block, factor, jitter, priors[-1], generator)
            energies = with_priors(block, own, priors, amplitude)
        else:
            energies = weighted(block, own)
        terms.append(Term(block.descriptor, block.element, energies))
    mean = PotentialDraw(gp._mean.potentials, gp.elements_, gp.cutoff)
    return Draws(Potentials(gp._features, terms, gp.isolated_atoms_, n), mean, tuple(parts), posterior)


def _whitened_weights(
    gp: SparseGPPotential, generators: Sequence[torch.Generator], posterior: str, scale: float
) -> Tensor:
    """Whitened weights (n, M) of every draw."""
    if posterior == "pops" and scale > 0:
        training = require_training(gp._training, "posterior='pops'", "Fit again, or take posterior='calibrated'.")
        pointwise = pointwise_posterior(gp._posterior, gp._maker, training, gp.noise_)
        return torch.stack([pointwise.sample(g) for g in generators])
    return torch.cat([gp._posterior.sample(1, g, scale) for g in generators])


def _check(n: int, parts: Sequence[Part], posterior: str) -> None:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise KernpotError(f"n must be a positive number of draws, got {n!r}.")
    if isinstance(parts, str) or not parts or not set(parts) <= set(PARTS):
        raise KernpotError(
            f"parts must be one or both of {PARTS}, got {parts!r}; the misfit of labels is not a potential, "
            "posterior='calibrated' scales the others to cover it."
        )
    if posterior not in POSTERIORS:
        raise KernpotError(f"posterior must be one of {POSTERIORS}, got {posterior!r}.")
