"""Noise, amplitudes and misfit from compressed labels: evidence first, then errors on structures left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from kernpot.calibration.misfit import Misfit
from kernpot.calibration.residuals import MIN_STRUCTURES
from kernpot.gp.amplitudes import Hyperparameters
from kernpot.gp.learning.leave_one_out import balance_energies, leave_one_out
from kernpot.gp.learning.start import misfit_of
from kernpot.gp.rows.maker import KeptRows
from kernpot.regression.evidence import EvidenceResult, maximize_evidence
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.regression.search import search_hyperparameters
from kernpot.structures.noise import kind_of


class Learnt(NamedTuple):
    """Noise per group, misfit per label kind, and what to tell of how they were found."""

    noise: dict[str, float]
    misfit: dict[str, Misfit]
    found: dict[str, Any]


def learn_hyperparameters(
    factors: Mapping[str, LabelFactor],
    block: Tensor,
    kept: Sequence[KeptRows],
    hyperparameters: Hyperparameters,
    noise: Mapping[str, float],
    fixed: Collection[str],
    optimize: bool,
) -> Learnt:
    """Amplitudes and noise by evidence, the weight of energies and the misfit by leave-one-structure-out.

    Parameters
    ----------
    factors, block : see `Evidence`
    kept : sequence of KeptRows
        Structures left out in turn.
    hyperparameters : Hyperparameters
        Where the search starts; set to what is found.
    noise : mapping of str to float
        Where the search starts.
    fixed : collection of str
        Groups whose noise stays.
    optimize : bool
        False leaves everything where it starts.
    """
    if not optimize:
        return Learnt(dict(noise), misfit_of(noise, factors), {"optimized": False})
    held_noise = set(fixed)
    if len(kept) < MIN_STRUCTURES and len(factors) > 1:
        # A handful of energies against many forces: the evidence would give them up as noise.
        held_noise |= {group for group in factors if kind_of(group) == "energy"}
    prior = hyperparameters.log_prior()
    amplitudes, held = hyperparameters.amplitudes(), hyperparameters.fixed()
    result, held = search_hyperparameters(factors, block, dict(noise), held_noise, amplitudes, held, prior)
    found = _adopt(result, hyperparameters)
    balanced = balance_energies(kept, factors, block, found, held_noise, hyperparameters.amplitudes())
    moved = {group for group, sigma in balanced.items() if sigma != found[group]}
    found = balanced
    if moved:
        amplitudes = hyperparameters.amplitudes()
        result = maximize_evidence(factors, block, found, held_noise | moved, amplitudes, held, prior)
        found = _adopt(result, hyperparameters)
    told: dict[str, Any] = {
        "optimized": True,
        "log_evidence": result.log_evidence,
        "converged": result.converged,
        "message": result.message,
        "at_bounds": list(result.at_bounds),
    }
    misfit = misfit_of(found, factors)
    if len(kept) >= MIN_STRUCTURES:
        amplitudes = hyperparameters.amplitudes()
        posterior = Posterior(factors, block, found, amplitudes)
        left_out = leave_one_out(kept, posterior, found, block, amplitudes)
        misfit |= left_out.misfit()
        told["leave_one_out"] = {"structures": len(kept), "mae": left_out.mae()}
    return Learnt(found, misfit, told)


def _adopt(result: EvidenceResult, hyperparameters: Hyperparameters) -> dict[str, float]:
    hyperparameters.set_amplitudes(result.amplitudes)
    return result.noise
