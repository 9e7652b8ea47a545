"""Draws from the posterior, each a potential: conservative, differentiable, the same function for every structure.

A draw is the sum of two independent parts about the posterior mean:

``parameter``
    ``scale R^-1 xi``, ``xi ~ N(0, I)``: what the labels leave undetermined of the whitened weights.
``unrepresented``
    A draw from the prior less what the inducing environments represent of it
    (:mod:`kernpot.gp.predicting.prior_draws`).

The misfit of labels has no part of its own: labels scatter about any one potential, so independent label noise would
not be the derivative of an energy and would cancel from whatever is computed of many numbers. ``posterior`` says how a
draw carries it instead:

``"calibrated"``
    The parameter part is scaled until draws reproduce errors on structures left out, misfit included, and widened along
    the direction in which one noise for all structures decides the mean (:mod:`kernpot.regression.own_noise`).
``"bayes"``
    Scales of one: covariances of draws are the epistemic covariances of ``predict_full``, without misfit.
``"pops"``
    Weights from pointwise optimal corrections (:mod:`kernpot.regression.pops`), for comparison.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from kernpot.backend.randomness import seeded
from kernpot.errors import KernpotError
from kernpot.files.training import require_training
from kernpot.functionals.state import InducingBlock, Structure
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.leave_one_out import choose_kept
from kernpot.gp.predicting.prior_draws import represented_weights
from kernpot.gp.rows.maker import RowMaker
from kernpot.kernels.forms import LocalEnergies, added, together
from kernpot.parallel.memory import require_memory
from kernpot.parameters import is_whole
from kernpot.regression.pops import PointwisePosterior
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.surfaces.draws import PARTS, Draws, Part, PotentialDraw
from kernpot.surfaces.potentials import Potentials, Term, summed, weighted

# Bytes of a source of random numbers.
_OF_GENERATOR = 6000

PosteriorName = Literal["calibrated", "bayes", "pops"]
POSTERIORS: tuple[str, ...] = get_args(PosteriorName)


def sample_draws(
    fitted: FittedGP,
    n: int,
    random_state: int | np.random.RandomState | None,
    parts: Sequence[Part],
    posterior: PosteriorName,
) -> Draws:
    """Draws of a fitted potential; see :meth:`kernpot.SparseGPPotential.sample_potentials`."""
    _check(n, parts, posterior)
    require_memory(
        n * (_OF_GENERATOR + sum(_size(fitted.features[b.descriptor].n_features, b) for b in fitted.whitening.blocks)),
        f"{n} draws",
        "Take fewer at a time.",
    )
    generators = seeded(n, random_state)
    scale = fitted.draw_scale if posterior == "calibrated" else 1.0
    whitened = _whitened_weights(fitted, generators, posterior, scale if "parameter" in parts else 0.0)
    terms = terms_of(fitted, whitened, generators if "unrepresented" in parts else ())
    mean = PotentialDraw(fitted.mean.potentials, fitted.elements, fitted.cutoff)
    return Draws(Potentials(fitted.features, summed(terms), fitted.isolated, n), mean, tuple(parts), posterior)


def require_number(n: int) -> None:
    """Raise KernpotError unless it is a number of draws."""
    if not is_whole(n, 1):
        raise KernpotError(f"n must be a positive number of draws, got {n!r}.")


def terms_of(fitted: FittedGP, whitened: Tensor, unrepresented: Sequence[torch.Generator]) -> list[Term]:
    """Energies of environments under whitened weights (n, M), for every block.

    Parameters
    ----------
    fitted : FittedGP
    whitened : Tensor of shape (n, M)
    unrepresented : sequence of n torch.Generator, or empty
        Of draws of what the inducing environments cannot represent, to be added.
    """
    weights = fitted.whitening.weights(whitened * fitted.posterior.scale)
    terms = []
    for b, block in enumerate(fitted.whitening.blocks):
        own = weights[:, block.columns]
        energies: LocalEnergies
        if unrepresented:
            factor, jitter, amplitude = (
                fitted.whitening.factors[b],
                fitted.whitening.jitter[b],
                float(fitted.amplitudes[b]),
            )
            priors: list[LocalEnergies] = []
            for k, generator in enumerate(unrepresented):
                priors.append(block.function.draw(fitted.features[block.descriptor].n_features, generator))
                own[k] -= amplitude * represented_weights(block, factor, jitter, priors[-1], generator)
            energies = added(weighted(block, own), together(priors), amplitude)
        else:
            energies = weighted(block, own)
        terms.append(Term(block.descriptor, block.element, energies))
    return terms


def _size(n_features: int, block: InducingBlock) -> int:
    """Bytes of the energies of one block in one draw: a matrix for the square of the cosine, else sums and products."""
    if block.function.power == 2:
        return 8 * n_features**2
    return 8 * (len(block.environments) + 100 * n_features)


def _whitened_weights(fitted: FittedGP, generators: Sequence[torch.Generator], posterior: str, scale: float) -> Tensor:
    """Whitened weights (n, M) of every draw."""
    if posterior == "pops" and scale > 0:
        training = require_training(fitted.training, "posterior='pops'", "Fit again, or take posterior='calibrated'.")
        pointwise = pointwise_posterior(fitted.posterior, fitted.maker, training, fitted.noise)
        return torch.stack([pointwise.sample(g) for g in generators])
    source = fitted.of_draws if posterior == "calibrated" else fitted.posterior
    return torch.cat([source.sample(1, g, scale) for g in generators])


def _check(n: int, parts: Sequence[Part], posterior: str) -> None:
    require_number(n)
    listed = isinstance(parts, Collection) and not isinstance(parts, str | bytes)
    if not listed or not len(parts) or not all(isinstance(p, str) and p in PARTS for p in parts):
        raise KernpotError(
            f"parts must be one or both of {PARTS}, got {parts!r}; the misfit of labels is not a potential, "
            "posterior='calibrated' scales the others to cover it."
        )
    if not isinstance(posterior, str) or posterior not in POSTERIORS:
        raise KernpotError(f"posterior must be one of {POSTERIORS}, got {posterior!r}.")


def pointwise_posterior(
    posterior: Posterior, maker: RowMaker, training: Sequence[LabelledStructure], noise: Mapping[str, float]
) -> PointwisePosterior:
    """From the rows of as many labelled structures as leave-one-out would keep, made anew."""
    rows, targets = [], []
    kept = choose_kept(training, np.random.RandomState(0), len(posterior.scale))
    for labelled in (training[k] for k in sorted(kept)):
        for part in maker(labelled, Structure(maker.descriptors, labelled.atoms)):
            rows.append(part.rows * posterior.scale / noise[part.group])
            targets.append(part.targets / noise[part.group])
    return PointwisePosterior(posterior, torch.cat(rows), torch.cat(targets))
