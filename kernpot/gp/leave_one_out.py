"""Leave-one-structure-out errors in closed form, and what they settle: the weight of energies, and the misfit.

The evidence takes the misfit of every label as independent. Force components of a structure are not, so a fit to tens
of thousands of them and a few hundred energies gives the energies almost no weight: on silicon (Zuo et al. 2020) it
asks for 17 meV/atom of energy noise where 3 meV/atom can be had. What a user cares about is the error on a structure
the model has not seen, which the square-root factor gives without refitting (:func:`kernpot.gp.posterior.leave_out`).
So the evidence sets amplitudes and the noise of forces and stress, and the noise of energies minimises

    sum over label kinds of log(mean absolute leave-one-out error),

a score without units in which a per cent of one kind weighs as much as a per cent of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from kernpot.gp.factor import LabelFactor
from kernpot.gp.posterior import Posterior, leave_out
from kernpot.structures.labels import LABEL_KINDS, LabelledStructure
from kernpot.structures.reference import is_isolated_atom

# Structures whose rows are kept for leave-one-out, and the labels they may hold together (rows of M numbers each).
_MAX_STRUCTURES = 60
_MAX_ROWS = 12_000
# How far the noise of energies may move from what the evidence found.
_LOWEST, _HIGHEST = 1e-3, 3.0
# Fewer structures than this say nothing about errors on others.
MIN_STRUCTURES = 5


@dataclass
class KeptRows:
    """Rows of one structure, kept for leave-one-out.

    Attributes
    ----------
    parts : list of (group, rows (n, M), targets (n,))
        Whitened, unit amplitude, divided by the relative noise scale.
    """

    parts: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class LeaveOneOut:
    """Errors of predictions for structures left out, and their epistemic variances, by label kind.

    Attributes
    ----------
    residuals, variances : dict of str to ndarray
        eV/atom, eV/A, eV/A^3 (squared).
    """

    residuals: dict[str, np.ndarray]
    variances: dict[str, np.ndarray]

    def mae(self) -> dict[str, float]:
        """Mean absolute error per label kind."""
        return {kind: float(np.abs(r).mean()) for kind, r in self.residuals.items()}

    def score(self) -> float:
        """Sum over label kinds of the log of the mean absolute error."""
        return float(sum(np.log(max(e, 1e-12)) for e in self.mae().values()))

    def misfit(self) -> dict[str, float]:
        """Standard deviation which, added to the epistemic variance, gives the mean square of the residuals."""
        return {
            kind: float(np.sqrt(max(np.mean(r**2 - self.variances[kind]), 0.0))) for kind, r in self.residuals.items()
        }


def choose_kept(labelled: Sequence[LabelledStructure], rng: np.random.RandomState) -> set[int]:
    """Structures to keep: at random, in proportion to their configuration types, within a bounded memory.

    Isolated atoms are not kept: nothing else tells of them, so their errors say nothing about structures to come.
    """
    order = [k for k in rng.permutation(len(labelled)) if not is_isolated_atom(labelled[k])]
    by_type: dict[str, list[int]] = {}
    for k in order:
        by_type.setdefault(labelled[k].config_type, []).append(k)
    # Deal in proportion: the j-th of n members of a type comes at (j + 1/2) / n.
    place = {k: (j + 0.5) / len(ks) for ks in by_type.values() for j, k in enumerate(ks)}
    kept: set[int] = set()
    rows = 0
    for k in sorted(place, key=lambda k: (place[k], k))[:_MAX_STRUCTURES]:
        s = labelled[k]
        size = (s.energy is not None) + 6 * (s.stress is not None) + (0 if s.forces is None else s.forces.size)
        if size and rows + size <= _MAX_ROWS:
            kept.add(k)
            rows += size
    return kept


def leave_one_out(kept: Sequence[KeptRows], posterior: Posterior, noise: Mapping[str, float]) -> LeaveOneOut:
    """Leave each kept structure out in turn (exact at fixed hyperparameters and inducing environments)."""
    residuals: dict[str, list[np.ndarray]] = {}
    variances: dict[str, list[np.ndarray]] = {}
    for structure in kept:
        groups = [group for group, _, _ in structure.parts]
        sizes = [len(y) for _, _, y in structure.parts]
        sigma = torch.cat([y.new_full((len(y),), noise[group]) for group, _, y in structure.parts])
        rows = torch.cat([b for _, b, _ in structure.parts]) * posterior.scale
        error = torch.cat([y for _, _, y in structure.parts]) - posterior.mean(rows)
        out, covariance = leave_out(posterior, rows / sigma[:, None], error / sigma)
        found, spread = (out * sigma).split(sizes), (covariance.diagonal() * sigma**2).split(sizes)
        for group, r, v in zip(groups, found, spread, strict=True):
            kind = group.split("[")[0]
            residuals.setdefault(kind, []).append(r.numpy())
            variances.setdefault(kind, []).append(v.numpy())
    return LeaveOneOut(
        {kind: np.concatenate(residuals[kind]) for kind in LABEL_KINDS if kind in residuals},
        {kind: np.concatenate(variances[kind]) for kind in LABEL_KINDS if kind in variances},
    )


def balance_energies(
    kept: Sequence[KeptRows],
    factors: Mapping[str, LabelFactor],
    block: Tensor,
    noise: Mapping[str, float],
    fixed: set[str],
    amplitudes: Tensor,
) -> dict[str, float]:
    """Noise with that of energies scaled to minimise the leave-one-out score; unchanged where nothing can be."""
    free = [g for g in factors if g.split("[")[0] == "energy" and g not in fixed]
    others = any(not g.startswith("energy") for g in factors)
    if not free or not others or len(kept) < MIN_STRUCTURES:
        return dict(noise)

    def scaled(log_factor: float) -> dict[str, float]:
        return dict(noise) | {g: float(noise[g] * np.exp(log_factor)) for g in free}

    def objective(log_factor: float) -> float:
        trial = scaled(log_factor)
        return leave_one_out(kept, Posterior(factors, block, trial, amplitudes), trial).score()

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    found = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 0.1, "maxiter": 12})
    return scaled(float(found.x))
