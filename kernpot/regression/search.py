"""Search for hyperparameters that does not stop at a model which explains nothing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from kernpot.errors import KernpotWarning
from kernpot.regression.evidence import NOISE_BOUNDS, EvidenceResult, LogPrior, maximize_evidence
from kernpot.regression.factor import LabelFactor

# Further starts, as multiples of the given noise, when the first ends at a model that explains nothing.
_STARTS = (5.0, 25.0)
# Evidence per label by which a model must beat a constant to count as explaining anything.
_GAIN = 0.01
# Part of their starting value below which amplitudes have gone to zero.
_COLLAPSED = 0.01


def constant_log_evidence(factors: Mapping[str, LabelFactor]) -> float:
    """Log likelihood of the labels under no model at all: noise of their own size."""
    total = 0.0
    for factor in factors.values():
        square = float(factor.projected.square().sum()) + factor.residual
        variance = max(square / max(factor.n_rows, 1), NOISE_BOUNDS[0] ** 2)
        total -= 0.5 * (factor.n_rows * math.log(2 * math.pi * variance) + square / variance)
    return total


def search_hyperparameters(
    factors: Mapping[str, LabelFactor],
    block: Tensor,
    noise: Mapping[str, float],
    fixed_noise: set[str],
    amplitudes: Tensor,
    fixed_amplitudes: Tensor,
    log_prior: LogPrior | None = None,
) -> tuple[EvidenceResult, Tensor]:
    """Maximise the evidence; from other noise levels too when the optimum is no better than a constant.

    The evidence has an optimum at zero amplitude, where all labels are noise, and a start far from the truth can end
    there. When every start does, the labels do not tell the amplitude (one structure, forces that vanish by symmetry):
    it then keeps its starting value, so that error bars still grow away from the data, with a warning.

    Parameters are those of :func:`kernpot.regression.evidence.maximize_evidence`.

    Returns
    -------
    result : EvidenceResult
    fixed_amplitudes : Tensor of bool (n_blocks,)
        Amplitudes to hold in what follows: those given as fixed, or all.
    """

    def run(levels: Mapping[str, float], fixed: Tensor) -> EvidenceResult:
        return maximize_evidence(factors, block, levels, fixed_noise, amplitudes, fixed, log_prior)

    n_labels = sum(factor.n_rows for factor in factors.values())
    enough = constant_log_evidence(factors) + _GAIN * n_labels
    best = run(noise, fixed_amplitudes)
    free = [group for group in factors if group not in fixed_noise]
    if best.log_evidence > enough or not free or bool(fixed_amplitudes.all()):
        return best, fixed_amplitudes
    for factor in _STARTS:
        levels = dict(noise) | {g: min(noise[g] * factor, 0.1 * NOISE_BOUNDS[1]) for g in free}
        found = run(levels, fixed_amplitudes)
        if found.log_evidence > best.log_evidence:
            best = found
    left = (best.amplitudes / amplitudes)[~fixed_amplitudes]
    if best.log_evidence > enough or bool((left > _COLLAPSED).any()):
        return best, fixed_amplitudes
    kept = ", ".join(f"{a:.3g}" for a in amplitudes.tolist())
    warnings.warn(
        f"the {n_labels} labels are explained no better than by a constant, so they do not tell the amplitude of the "
        f"kernel, which stays at {kept} eV: error bars away from these structures are a guess. Add structures that "
        "differ, use more inducing environments, or give the kernel an amplitude.",
        KernpotWarning,
        stacklevel=3,
    )
    held = torch.ones_like(fixed_amplitudes)
    return run(noise, held), held
