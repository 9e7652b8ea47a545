"""Leave-one-structure-out errors in closed form, and what they settle: the weight of energies, and the misfit.

The evidence takes the misfit of every label as independent. Force components of a structure are not, so a fit to tens
of thousands of them and a few hundred energies gives the energies almost no weight. What a user cares about is the
error on a structure the model has not seen, which the square-root factor gives without refitting (see
:func:`kernpot.regression.posterior.leave_out`). So the evidence sets amplitudes and the noise of forces and stress, and
the noise of energies minimises

    sum over label kinds of log(mean absolute leave-one-out error),

a score without units in which a per cent of one kind weighs as much as a per cent of another. The noise is
not much larger than these errors, those of odd frames cut (:func:`kernpot.calibration.residuals.mean_but_odd`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from kernpot.calibration.residuals import MIN_STRUCTURES, LeaveOneOut, log_score, mean_but_odd, reach_of, with_all_mixed
from kernpot.calibration.surroundings import pooled
from kernpot.functionals.prior import nonnegative
from kernpot.gp.memory import MOST_KEPT, most_kept_rows
from kernpot.gp.rows.maker import KeptRows
from kernpot.regression.factor import LabelFactor
from kernpot.regression.own_noise import own_noise_shift
from kernpot.regression.posterior import Posterior, leave_out
from kernpot.regression.reweighting import Reweighting
from kernpot.structures.labels import LabelledStructure, n_labels
from kernpot.structures.noise import kind_of
from kernpot.structures.proportion import in_proportion

# How far the noise of energies may move: up to this times what the evidence found, and down to this level (eV/atom), as
# good as quantum-mechanical energies are converged; without it few structures could ask for exact interpolation.
_HIGHEST = 3.0
_FLOOR = 1e-4
# Rms of normal errors, in units of their mean absolute value.
_RMS_BY_MEAN = 1.25
# Of the logarithm of the noise.
_TOLERANCE = 0.1


def choose_kept(labelled: Sequence[LabelledStructure], rng: np.random.RandomState, n_inducing: int) -> list[int]:
    """Structures to keep: at random, in proportion to their configuration types, within a bounded memory.

    They come in the order in which they were drawn.

    Isolated atoms are not kept: nothing else tells of them, so their errors say nothing about structures to come.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    rng : RandomState
    n_inducing : int
        Numbers in the row of a label.
    """
    most = most_kept_rows(n_inducing)
    kept: list[int] = []
    rows = 0
    for k in in_proportion(labelled, rng)[:MOST_KEPT]:
        s = labelled[k]
        size = n_labels(s)
        if size and rows + size <= most:
            kept.append(k)
            rows += size
    return kept


Found = Mapping[int, Mapping[str, Tensor]]
"""By place of a structure and kind of label, label less prediction (n,) of a model that has not seen the structure."""


def leave_one_out(
    kept: Sequence[KeptRows],
    posterior: Posterior,
    noise: Mapping[str, float],
    block: Tensor,
    amplitudes: Tensor,
    found: Found | None = None,
    scatter: Tensor | None = None,
) -> LeaveOneOut:
    """Leave each kept structure out in turn (exact at fixed hyperparameters and inducing environments).

    Parameters
    ----------
    kept : sequence of KeptRows
    posterior : Posterior
    noise : mapping of str to float
        By group.
    block : Tensor of shape (M,)
    amplitudes : Tensor of shape (n_blocks,)
    found : mapping, optional
        Residuals, where inducing environments are not fixed but follow from the labels: closed forms for the residuals
        then do not hold, those for the variances do, as labels do not enter them.
    scatter : Tensor of shape (K, M), optional
        Whitened weights of draws about their mean: variances are those of as many draws then, their sampling error
        included, with all that is unrepresented among what they show.
    """
    residuals: dict[str, list[np.ndarray]] = {}
    own: dict[str, list[np.ndarray]] = {}
    around: dict[str, list[np.ndarray]] = {}
    unrepresented: dict[str, list[np.ndarray]] = {}
    energies: list[tuple[float, float | None]] = []
    groups: dict[str, list[str]] = {}
    mixed: dict[str, list[np.ndarray]] = {}
    numbers: list[np.ndarray] = []
    for k, structure in enumerate(kept):
        y = torch.cat([part.targets for part in structure.parts])
        unit = torch.cat([part.rows for part in structure.parts])
        prior = torch.cat([part.prior for part in structure.parts])
        sigma = torch.cat([torch.full_like(part.targets, noise[part.group]) for part in structure.parts])
        rows = unit * posterior.scale
        residual, variance = leave_out(posterior, rows / sigma[:, None], (y - posterior.mean(rows)) / sigma)
        residual, variance = residual * sigma, variance * sigma**2
        if found is not None and structure.place is not None:
            of_kinds = found[structure.place]
            residual = torch.cat([of_kinds[part.kind][part.components] for part in structure.parts])
        represented = torch.zeros_like(prior).index_add_(1, block, unit.square())
        missing = nonnegative(prior - represented, prior, "a label left out") @ amplitudes.square()
        if scatter is not None:
            variance = variance * _sampled(posterior.variance(rows), (rows @ scatter.T).square().mean(1))
            variance, missing = variance + missing * _chance(missing, len(scatter), k), torch.zeros_like(missing)
        kinds = np.array([part.kind for part in structure.parts for _ in part.targets])
        for kind in dict.fromkeys(kinds.tolist()):
            here = torch.from_numpy(kinds == kind)
            v = variance[here]
            components = torch.cat([part.components for part in structure.parts if part.kind == kind])
            mixed.setdefault(kind, []).append(with_all_mixed(kind, components.numpy()))
            residuals.setdefault(kind, []).append(residual[here].numpy())
            groups.setdefault(kind, []).append(structure.config_type)
            own.setdefault(kind, []).append(v.numpy())
            unrepresented.setdefault(kind, []).append(missing[here].numpy())
            if kind == "forces" and structure.numbers is not None:
                numbers.append(structure.numbers[components.numpy() // 3])
            if kind == "energy":
                of_forces = variance[torch.from_numpy(kinds == "forces")]
                energies.append((float(v.mean()), float(of_forces.mean()) if len(of_forces) else None))
            else:
                whole = v.new_full((structure.sizes[kind],), torch.nan)
                whole[components] = v
                around.setdefault(kind, []).append(pooled(kind, whole, structure.surroundings)[components].numpy())
    reach = reach_of(energies)
    if energies:
        around["energy"] = [np.array([v if f is None else reach**2 * f]) for v, f in energies]
    return LeaveOneOut(residuals, own, around, unrepresented, reach, groups, mixed, numbers)


def _sampled(variance: Tensor, scatter: Tensor) -> Tensor:
    """Mean squares of draws over the variance that they were drawn with."""
    return torch.where(variance > 0, scatter / variance.clamp(min=torch.finfo(variance.dtype).tiny), 1.0)


def _chance(like: Tensor, n: int, seed: int) -> Tensor:
    """Mean squares of ``n`` normal numbers each: rows do not tell how draws of what is unrepresented come out."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((n, len(like)), dtype=like.dtype, generator=generator).square().mean(0)


def n_with_energy(kept: Sequence[KeptRows]) -> int:
    """Number of structures that have an energy."""
    return sum(any(part.kind == "energy" for part in structure.parts) for structure in kept)


def own_noise(kept: Sequence[KeptRows], posterior: Posterior, noise: Mapping[str, float]) -> Tensor:
    """Change (M,) of the whitened weights were the noise of each kept structure that of its own errors."""
    # Rows one after the other: what is made of them is as large as all that is kept.
    rows = (torch.cat([p.rows / noise[p.group] for p in structure.parts]) * posterior.scale for structure in kept)
    targets = [torch.cat([p.targets / noise[p.group] for p in structure.parts]) for structure in kept]
    return own_noise_shift(posterior, rows, targets)


def balance_energies(
    kept: Sequence[KeptRows],
    factors: Mapping[str, LabelFactor],
    block: Tensor,
    noise: Mapping[str, float],
    fixed: set[str],
    amplitudes: Tensor,
) -> dict[str, float]:
    """Noise with that of energies scaled to minimise the leave-one-out score; unchanged where nothing can be."""
    free = [g for g in factors if kind_of(g) == "energy" and g not in fixed]
    others = any(kind_of(g) != "energy" for g in factors)
    if not free or not others or n_with_energy(kept) < MIN_STRUCTURES:
        return dict(noise)

    lowest = min(0.0, np.log(_FLOOR / min(noise[g] for g in free)))

    def scaled(log_factor: float) -> dict[str, float]:
        return dict(noise) | {g: float(noise[g] * np.exp(log_factor)) for g in free}

    least = scaled(lowest)
    posterior = Posterior(factors, block, least, amplitudes)
    kinds_of = [np.array([part.kind for part in structure.parts for _ in part.targets]) for structure in kept]
    moving = [torch.tensor([p.group in free for p in structure.parts for _ in p.targets]) for structure in kept]
    sigmas = [torch.cat([torch.full_like(p.targets, least[p.group]) for p in structure.parts]) for structure in kept]
    reweighting = Reweighting(
        posterior, [factors[g] for g in free], [least[g] for g in free], [len(sigma) for sigma in sigmas]
    )
    projected = []
    for structure, moves, sigma in zip(kept, moving, sigmas, strict=True):
        rows = torch.cat([part.rows for part in structure.parts]) * posterior.scale / sigma[:, None]
        y = torch.cat([part.targets for part in structure.parts]) / sigma
        projected.append(reweighting.project(rows, y, moves))

    def errors_at(log_factor: float) -> dict[str, np.ndarray]:
        factor = float(np.exp(log_factor - lowest))
        errors: dict[str, list[np.ndarray]] = {}
        residuals = reweighting.residuals(projected, factor)
        for kinds, moves, sigma, residual in zip(kinds_of, moving, sigmas, residuals, strict=True):
            found = (residual * sigma).abs()
            found[moves] *= factor
            for kind in np.unique(kinds):
                errors.setdefault(str(kind), []).append(found.numpy()[kinds == kind])
        return {kind: np.concatenate(e) for kind, e in errors.items()}

    def objective(log_factor: float) -> float:
        # Not cut: the large errors of a heterogeneous set are no odd frames, and are what is to be made small.
        return log_score({kind: float(e.mean()) for kind, e in errors_at(log_factor).items()})

    # Labels are no noisier than errors on structures left out, whatever one odd frame makes the evidence say.
    shown = _RMS_BY_MEAN * mean_but_odd(errors_at(0.0)["energy"]) / max(noise[g] for g in free)
    highest = np.log(_HIGHEST * min(1.0, max(shown, 1e-12)))
    allowed = (lowest, max(highest, lowest + _TOLERANCE))
    found = minimize_scalar(objective, bounds=allowed, method="bounded", options={"xatol": _TOLERANCE, "maxiter": 12})
    return scaled(float(found.x))
