"""Noise, amplitudes and misfit from compressed labels: evidence first, then errors on structures left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from kernpot.calibration.misfit import Misfit
from kernpot.calibration.residuals import MIN_STRUCTURES
from kernpot.gp.amplitudes import Amplitudes
from kernpot.gp.learning.leave_one_out import Found, balance_energies, leave_one_out, n_with_energy, own_noise
from kernpot.gp.learning.nested import Compressed, leading
from kernpot.gp.learning.noise_scale import noise_scale
from kernpot.gp.learning.start import misfit_of
from kernpot.gp.learning.unlearnt import with_signal
from kernpot.gp.rows.maker import KeptRows
from kernpot.kernels import CosineKernel
from kernpot.regression.evidence import maximize_evidence
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.regression.search import search_hyperparameters
from kernpot.structures.kinds import KINDS
from kernpot.structures.noise import kind_of

SEARCHED = 1500
"""Inducing environments that the evidence is searched with: every step costs the cube of their number."""


class Learnt(NamedTuple):
    """Kernels, noise per group, misfit per label kind, the posterior at them, and what to tell of how they were found.

    The posterior is None where it was not needed, ``pull`` where too few structures tell it (:class:`FittedGP`).
    """

    kernels: list[CosineKernel]
    noise: dict[str, float]
    misfit: dict[str, Misfit]
    told: dict[str, Any]
    posterior: Posterior | None
    pull: Tensor | None


def learn_hyperparameters(
    factors: Mapping[str, LabelFactor],
    block: Tensor,
    kept: Sequence[KeptRows],
    start: Amplitudes,
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
    start : Amplitudes
        Where the search starts.
    noise : mapping of str to float
        Where the search starts.
    fixed : collection of str
        Groups whose noise stays.
    optimize : bool
        False leaves everything where it starts.
    """
    amplitudes, held = start.values(), start.fixed()
    if not optimize:
        return Learnt(
            start.changed(amplitudes), dict(noise), misfit_of(noise, factors), {"optimized": False}, None, None
        )
    whole = Compressed(factors, block, kept)
    factors, block, kept = searched = leading(whole, SEARCHED)
    held_noise = set(fixed)
    if n_with_energy(kept) < MIN_STRUCTURES and len(factors) > 1:
        # A handful of energies against many forces: the evidence would give them up as noise.
        few = {group for group in factors if kind_of(group) == "energy"} - held_noise
        noise = dict(noise) | {group: min(noise[group], KINDS["energy"].start) for group in few}
        held_noise |= few
    prior = start.log_prior()
    result, held = search_hyperparameters(factors, block, dict(noise), held_noise, amplitudes, held, prior)
    kernels = start.changed(result.amplitudes)
    # As the kernels have them: to the last bit a function of other numbers.
    amplitudes = start.among(kernels)
    found = balance_energies(kept, factors, block, result.noise, held_noise, amplitudes)
    moved = {group for group, sigma in found.items() if sigma != result.noise[group]}
    if moved:
        result = maximize_evidence(factors, block, found, held_noise | moved, amplitudes, held, prior)
        kernels, found = start.changed(result.amplitudes), result.noise
        amplitudes = start.among(kernels)
    told: dict[str, Any] = {
        "optimized": True,
        "log_evidence": result.log_evidence,
        "converged": result.converged,
        "message": result.message,
        "at_bounds": list(result.at_bounds),
    }
    factors, block, kept = whole
    if len(kept) >= MIN_STRUCTURES:
        # ... and what all inducing environments together ask for.
        half = noise_scale(leading(whole, max(1, len(block) // 2)), found, held_noise, amplitudes)
        scale = noise_scale(whole, found, held_noise, amplitudes)
        told |= {
            "searched_inducing": len(searched.block),
            "noise_scale": scale.factor,
            "noise_of_evidence": dict(found),
        }
        found = {group: level if group in held_noise else scale.factor * level for group, level in found.items()}
        told["scores"] = {"half": half.score, "whole": scale.score, "kinds": len({kind_of(group) for group in factors})}
    calibrated = calibrate(whole, found, amplitudes)
    return Learnt(kernels, found, calibrated.misfit, told | calibrated.told, calibrated.posterior, calibrated.pull)


class Calibrated(NamedTuple):
    """What structures left out say at given hyperparameters; entries as of `Learnt`."""

    misfit: dict[str, Misfit]
    told: dict[str, Any]
    posterior: Posterior | None
    pull: Tensor | None


def calibrate(
    data: Compressed, noise: Mapping[str, float], amplitudes: Tensor, residuals: Found | None = None
) -> Calibrated:
    """Misfit, and the posterior that it is for, by structures left out.

    Parameters
    ----------
    data : Compressed
    noise : mapping of str to float
        By group.
    amplitudes : Tensor of shape (n_blocks,)
        eV.
    residuals : mapping, optional
        See :func:`kernpot.gp.learning.leave_one_out.leave_one_out`.
    """
    factors, block, kept = data
    misfit = misfit_of(noise, factors)
    if len(kept) < MIN_STRUCTURES:
        return Calibrated(misfit, {}, None, None)
    posterior = Posterior(factors, block, noise, amplitudes)
    left_out = leave_one_out(kept, posterior, noise, block, amplitudes, residuals)
    told = {
        "leave_one_out": {
            "structures": len(kept),
            "mae": left_out.mae(),
            "config_types": left_out.mae_by_group(),
            "unrepresented": left_out.unrepresented_share(),
        }
    }
    misfit = with_signal(misfit | left_out.misfit(), factors, amplitudes)
    return Calibrated(misfit, told, posterior, own_noise(kept, posterior, noise))
