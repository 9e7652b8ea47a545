"""Error bars from a fixed set of draws, evaluated with the mean.

A force component's variance by all weights takes a row of all inducing environments; by K draws, K numbers from one
pass over the structure. Draws rank errors almost as the whole posterior does, without bias; what they lack is the
sampling error of a variance, a relative ``sqrt(2 / K)``, which is in the misfit and its tails, found with the scatter
of as many draws. They are drawn on coarse features (:mod:`kernpot.descriptors.coarse`), since how uncertain a potential
is takes less to describe than what it says; the same draws serve every structure, so that error bars are smooth along a
trajectory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from torch import Tensor

from kernpot.backend.on_top import DrawsOnTop
from kernpot.backend.randomness import seeded
from kernpot.calibration.predictions import Answers
from kernpot.calibration.spread import Spread
from kernpot.errors import KernpotError
from kernpot.gp.fitted import FittedGP, SharedDraws
from kernpot.gp.learning.shared_draws import deviations
from kernpot.gp.predicting.draws import require_number, terms_of
from kernpot.kernels.forms import QuadraticForms
from kernpot.prediction import DrawPredictions, MeanPrediction
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.draws import PARTS, Draws, Part, PotentialDraw
from kernpot.surfaces.potentials import Potentials, Term, summed


def sampled(fitted: FittedGP, n: int, random_state: int | np.random.RandomState | None) -> DrawsOnTop:
    """Draws of the same kind, others for every seed: each the mean with a deviation on coarse features.

    Parameters
    ----------
    fitted : FittedGP
    n : int
        How many.
    random_state : int, RandomState or None
        Seed; the first draws of many are those of few.

    Raises
    ------
    KernpotError
        The model has no shared draws to take after, or ``n`` is no number of draws.
    """
    require_number(n)
    shared = shared_of(fitted)
    generators = seeded(n, random_state)
    whitened = deviations(shared, generators)
    source = shared.source
    potentials = Potentials(source.features, summed(terms_of(source, whitened, generators)), {}, n)
    none = PotentialDraw(Potentials(source.features, [], {}, 1), fitted.elements, fitted.cutoff)
    mean = PotentialDraw(fitted.mean.potentials, fitted.elements, fitted.cutoff)
    return DrawsOnTop(Draws(potentials, none, PARTS, "calibrated"), mean)


def require_all(parts: Sequence[Part], posterior: str) -> None:
    """Raise KernpotError unless draws are asked for whole and calibrated."""
    if set(parts) != set(PARTS) or posterior != "calibrated":
        raise KernpotError(
            f"with error_bars='draws' potentials are drawn whole and calibrated, got parts={tuple(parts)} and "
            f"posterior={posterior!r}; set error_bars='exact' for others."
        )


class SharedScatter:
    """The mean of a model with deviations of its shared draws, see :class:`kernpot.calibration.spread.Deviating`.

    Parameters
    ----------
    fitted : FittedGP
    shared : SharedDraws
    """

    def __init__(self, fitted: FittedGP, shared: SharedDraws) -> None:
        self._mean = fitted.mean
        self.average = fitted.mean.potentials
        source = shared.source
        generators = seeded(shared.n, shared.seed)
        whitened = deviations(shared, generators)
        # Numbers of a scatter: no energy is the difference of large ones.
        terms = [t._replace(energies=_scaled(t, shared.n)) for t in summed(terms_of(source, whitened, generators))]
        self._potentials = Potentials(source.features, terms, {}, shared.n)

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress of the mean."""
        return self._mean(atoms, pairs)

    def deviations(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, DrawPredictions]:
        """The mean, and the draws' deviations of every label over the root of their number."""
        return self._mean(atoms, pairs), self._potentials(atoms, pairs)

    def scatter(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """The deviations without the mean."""
        return self._potentials(atoms, pairs)

    def atomic_deviations(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> Tensor:
        """Deviations of the energies of centres, (K, n_centres)."""
        return self._potentials.atomic_energies(numbers, pairs, n_centres)

    def deviating_terms(self) -> list[Term]:
        """Deviations of atomic energies as functions of environments."""
        return list(self._potentials.terms)


def _scaled(term: Term, n: int) -> QuadraticForms:
    forms = term.energies
    if not isinstance(forms, QuadraticForms):
        raise TypeError(f"shared draws are quadratic forms, got {type(forms).__name__}")
    return QuadraticForms([form / np.sqrt(n) for form in forms.in_all_directions().forms]).single()


def spread_of(fitted: FittedGP) -> Spread:
    """Predictions with error bars from shared draws; ask for it by ``fitted.once(spread_of)``.

    Raises
    ------
    KernpotError
        The model has none.
    """
    shared = shared_of(fitted)
    return Spread(SharedScatter(fitted, shared), Answers(shared.source.misfit), fitted.cutoff)


def shared_of(fitted: FittedGP) -> SharedDraws:
    """The shared draws of a model.

    Raises
    ------
    KernpotError
        It has none.
    """
    if fitted.shared is None:
        raise KernpotError(
            "the model has no shared draws for error_bars='draws': they are made by a fit with optimize=True, n_draws "
            "above 0 and at least five structures with several atoms (and are not in files of earlier versions). Fit "
            "again, or take error_bars='exact'."
        )
    return fitted.shared
