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
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.backend.on_top import DrawsOnTop
from kernpot.backend.randomness import seeded
from kernpot.calibration.misfit import Misfit
from kernpot.calibration.predictions import Answers
from kernpot.calibration.spread import Growth, Spread
from kernpot.errors import KernpotError
from kernpot.gp.fitted import FittedGP, SharedDraws
from kernpot.gp.learning.shared_draws import deviations
from kernpot.gp.predicting.draws import require_number, terms_of
from kernpot.gp.predicting.predictor import Predictor
from kernpot.kernels.forms import QuadraticForms
from kernpot.prediction import DrawPredictions, MeanPrediction
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.draws import PARTS, Draws, Part, PotentialDraw
from kernpot.surfaces.potentials import Potentials, Term, summed

# Structures that tell how variances grow away from data, and their atoms, at most; std of displacements,
# Angstrom, and a strain.
_STRUCTURES, _ATOMS = 8, 250
_DISPLACED, _STRAIN = (0.05, 0.1, 0.15, 0.2), 0.04
# Largest exponent; and least std, eV/A.
_STEEPEST, _LEAST = 1.0, 1e-6
NO_DRAWS = (
    "the model has no shared draws for error_bars='draws': they are made by a fit with optimize=True, n_draws "
    "above 0, features that know forces, and at least five different structures with several atoms (and are "
    "not in files of earlier versions). Fit again, or take error_bars='exact'."
)
"""What is said of models without."""
# Where variances are asked for, and no error bars.
_PLAIN = Answers({kind: Misfit(0.0) for kind in LABEL_KINDS})


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

    @property
    def deviating(self) -> Potentials:
        """The deviations as potentials."""
        return self._potentials

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
    return Spread(
        SharedScatter(fitted, shared), Answers(shared.source.misfit), fitted.cutoff, shared.growth, fitted.unseen_pairs
    )


def with_growth(fitted: FittedGP, rng: np.random.RandomState) -> FittedGP:
    """With draws whose variances grow away from data as those of the model do.

    A Gaussian process on few features is too sure of what is far from its data: too much looks familiar. How fast the
    model's own variances grow needs no labels: they are compared on training structures that are displaced and
    strained.

    Parameters
    ----------
    fitted : FittedGP
    rng : RandomState
        Draws structures and displacements.
    """
    shared, training = fitted.shared, [s.atoms for s in fitted.training or () if len(s.atoms) > 1]
    if shared is None or not training or not all(f.describes_anything for f in fitted.features):
        return fitted
    # Atoms closer than any in the fit count with draws as they do here, beside what draws make of them.
    exact = Predictor(replace(fitted, unseen_pairs=None))
    scatter = Spread(SharedScatter(fitted, shared), _PLAIN, fitted.cutoff)
    answers = Answers(shared.source.misfit)

    def both(atoms: Atoms) -> tuple[Tensor, Tensor]:
        """Variances of force components around each atom, of draws, and the ratio of exact and calibrated ones."""
        v = scatter.labels(atoms, ("forces",))["forces"][1]
        ratio = exact.force_std(atoms, None).ravel() / np.maximum(
            answers.std("forces", answers.of_elements(v, atoms.numbers)), _LEAST
        )
        return v.pooled.view(-1, 3)[:, 0], torch.from_numpy(ratio).view(-1, 3).square().mean(1)

    frames = _some(training, rng)
    reference = float(torch.cat([both(atoms)[0] for atoms in frames]).mean())
    if reference <= 0:
        return fitted
    around, ratio = (torch.cat(x) for x in zip(*(both(a) for f in frames for a in _away(f, rng)), strict=True))
    above = (around / reference).log()
    here = (above > 0) & (ratio > 0)
    if not bool(here.any()):
        return fitted
    exponent = float((above[here] * ratio[here].log()).sum() / above[here].square().sum())
    growth = Growth(min(max(exponent, 0.0), _STEEPEST), reference)
    return replace(fitted, shared=replace(shared, growth=growth))


def _some(frames: Sequence[Atoms], rng: np.random.RandomState) -> list[Atoms]:
    """A few structures, of a few hundred atoms together; the smallest where all are larger."""
    found: list[Atoms] = []
    left = _ATOMS
    for k in rng.permutation(len(frames)):
        if len(frames[k]) <= left and len(found) < _STRUCTURES:
            found.append(frames[k])
            left -= len(frames[k])
    return found or [min(frames, key=len)]


def _away(atoms: Atoms, rng: np.random.RandomState) -> list[Atoms]:
    """Copies displaced more and more, and, where there is a cell, stretched and compressed."""
    strains = (0.0,) * len(_DISPLACED) + ((_STRAIN, -_STRAIN) if atoms.pbc.any() else ())
    found = []
    for displaced, strain in zip((*_DISPLACED, _DISPLACED[0], _DISPLACED[0]), strains, strict=False):
        copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        copy.set_cell(copy.cell.array * (1 + strain), scale_atoms=True)
        copy.positions += rng.normal(0.0, displaced, copy.positions.shape)
        found.append(copy)
    return found


def shared_of(fitted: FittedGP) -> SharedDraws:
    """The shared draws of a model.

    Raises
    ------
    KernpotError
        It has none.
    """
    if fitted.shared is None:
        raise KernpotError(NO_DRAWS)
    return fitted.shared
