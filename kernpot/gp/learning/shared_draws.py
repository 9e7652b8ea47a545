"""The draws that fast error bars come from, and what their scatter says of errors on structures left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from kernpot.backend.randomness import seeded
from kernpot.calibration.misfit import draw_scale
from kernpot.calibration.residuals import MIN_STRUCTURES
from kernpot.descriptors.coarse import coarser
from kernpot.descriptors.features import Features
from kernpot.gp.fitted import FittedGP, SharedDraws
from kernpot.gp.learning.leave_one_out import Found, leave_one_out
from kernpot.gp.rows.maker import KeptRows
from kernpot.regression.posterior import Posterior, leave_out

N_INDUCING = 500
"""Inducing environments that draws are made with, at most."""


def features_for(features: Sequence[Features]) -> Features:
    """What draws see of a model's descriptors: the one of the largest cutoff, coarse."""
    return coarser(max(features, key=lambda f: f.cutoff))


def deviations(shared: SharedDraws, generators: Sequence[torch.Generator]) -> Tensor:
    """Whitened weights (K, M) of draws less their mean, one from each source of random numbers."""
    posterior = shared.source.posterior
    draws = torch.cat([posterior.sample(1, generator) for generator in generators])
    return shared.scale * (draws - posterior.whitened_weights)


def residuals_of(kept: Sequence[KeptRows], posterior: Posterior, noise: Mapping[str, float]) -> Found:
    """Label less prediction of the same model without the structure, of every kept structure.

    Parameters
    ----------
    kept : sequence of KeptRows
    posterior : Posterior
    noise : mapping of str to float
        By group.
    """
    found: dict[int, dict[str, Tensor]] = {}
    for structure in kept:
        if structure.place is None:
            continue
        rows = torch.cat([part.rows for part in structure.parts]) * posterior.scale
        y = torch.cat([part.targets for part in structure.parts])
        sigma = torch.cat([torch.full_like(part.targets, noise[part.group]) for part in structure.parts])
        residual = leave_out(posterior, rows / sigma[:, None], (y - posterior.mean(rows)) / sigma)[0] * sigma
        of_kinds = found.setdefault(structure.place, {})
        for part, own in zip(structure.parts, residual.split([len(p.targets) for p in structure.parts]), strict=True):
            whole = of_kinds.setdefault(part.kind, own.new_full((structure.sizes[part.kind],), torch.nan))
            whole[part.components] = own
    return found


def shared_draws(source: FittedGP, kept: Sequence[KeptRows], found: Found, n: int, seed: int) -> SharedDraws | None:
    """Draws with the misfit that their scatter leaves of errors on structures left out.

    Parameters
    ----------
    source : FittedGP
        On coarse features.
    kept : sequence of KeptRows
        Its rows of structures left out.
    found : mapping
        Residuals of the model itself on structures left out.
    n, seed : int
        Of the draws.

    Returns
    -------
    SharedDraws or None
        None where too few structures were left out.
    """
    own = [structure for structure in kept if structure.place in found]
    if len(own) < MIN_STRUCTURES:
        return None
    exact = (own, source.posterior, source.noise, source.whitening.block, source.amplitudes, found)
    # By kinds of labels that enough structures have.
    told = leave_one_out(*exact).misfit()
    if not {"energy", "forces"} & told.keys():
        return None
    shared = SharedDraws(source, n, seed, draw_scale(told, told.keys()))
    misfit = source.misfit | leave_one_out(*exact, deviations(shared, seeded(n, seed))).misfit()
    # The structures are those of the model.
    return replace(shared, source=replace(source, misfit=misfit, training=None, found_posterior=source.posterior))
