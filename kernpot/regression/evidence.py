"""The variational log evidence of compressed labels, its exact gradient, and its maximisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from kernpot.errors import NumericalError
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import check_consistent, stacked_root

NOISE_BOUNDS = (1e-5, 1e3)
"""Range of optimised noise levels, in the unit of the group's labels."""
AMPLITUDE_BOUNDS = (1e-5, 1e6)
"""Range of optimised amplitudes, eV."""

_CHOLESKY_ERROR = 1e-4  # nats of log evidence; above this estimate the root comes from QR instead
# Prior variance of labels that symmetry makes zero, forces in perfect crystals: rounding, squared, over the jitter.
_NO_PRIOR = 1e-12
_NYSTROM_EXCESS = 1e-6  # of the prior variance; what an inducing set may seem to explain beyond it by rounding

LogPrior = Callable[[dict[str, Tensor], Tensor], Tensor]


class Evidence:
    """Variational (VFE) log evidence as a function of log noise levels and log amplitudes.

    With ``B = B~ D``, ``D = diag(amplitudes[block])`` and ``Lam`` the noise variances it is (Titsias 2009)

        log N(y; 0, B B^T + Lam) - 1/2 sum_g sigma_g^-2 sum_z delta_z^2 (prior_gz - nystrom_gz),

    computed from the factors alone through ``A = I + sum_g sigma_g^-2 D R_g^T R_g D``, so that one evaluation costs
    O(M^3) whatever the number of labels. Groups without labels do not count.

    Parameters
    ----------
    factors : mapping of str to LabelFactor
        One factor per noise group.
    block : Tensor of int64 (M,)
        Amplitude block of each inducing environment.

    Raises
    ------
    ValueError
        If no group has labels.
    NumericalError
        If the inducing environments seem to explain more than the prior variance.
    """

    def __init__(self, factors: Mapping[str, LabelFactor], block: Tensor) -> None:
        used = {group: factor for group, factor in factors.items() if factor.n_rows > 0}
        if not used:
            raise ValueError(
                "the evidence needs at least one label, got none; give structures with energies, forces or stress"
            )
        self.groups = tuple(used)
        self.block = block
        self.n_labels = sum(factor.n_rows for factor in used.values())
        self._counts = torch.tensor([f.n_rows for f in used.values()], dtype=torch.float64, device=block.device)
        self._triangles = [factor.triangle.clone() for factor in used.values()]
        self._grams = [triangle.mT @ triangle for triangle in self._triangles]
        self._projected = [factor.projected.clone() for factor in used.values()]
        self._residuals = [factor.residual for factor in used.values()]
        self._unexplained = torch.stack([_unexplained(g, f, block) for g, f in used.items()])

    def __call__(self, log_noise: Tensor, log_amplitudes: Tensor) -> Tensor:
        """Evaluate.

        Parameters
        ----------
        log_noise : Tensor (n_groups,)
            Natural logarithm of the noise of each of ``groups``.
        log_amplitudes : Tensor (n_blocks,)
            Natural logarithm of the amplitudes.

        Returns
        -------
        Tensor ()
            Log evidence, differentiable once by autograd with respect to both arguments.

        Raises
        ------
        NumericalError
            If the result is not finite.
        """
        value: Tensor = _LogEvidence.apply(log_noise, log_amplitudes, self)
        return value

    def value_and_gradient(self, log_noise: Tensor, log_amplitudes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log evidence and its derivatives with respect to ``log_noise`` and ``log_amplitudes``.

        The quadratic form is taken as the minimum over ``w`` of
        ``sum_g sigma_g^-2 (|c_g - R_g D w|^2 + rho_g) + |w|^2``, which does not cancel and is wrong only in second
        order when ``w`` is inexact. ``A`` has no eigenvalue below one, so a Cholesky root serves until its own error
        estimate says otherwise; QR of the stacked triangles then takes over.
        """
        precision = torch.exp(-2 * log_noise)
        scale = torch.exp(log_amplitudes)[self.block]
        root, inverse = self._root(log_noise, precision, scale)
        weights = self._solve(root, precision, scale)

        spread = inverse * scale[:, None] * scale
        fitted = torch.stack([(gram * spread).sum() for gram in self._grams])
        left_over = zip(self._left(scale * weights), self._residuals, strict=True)
        misfit = torch.stack([left.square().sum() + rho for left, rho in left_over])
        variances = torch.exp(2 * log_amplitudes)
        trace = precision[:, None] * self._unexplained * variances
        value = -0.5 * (
            (self._counts * (log(2 * pi) + 2 * log_noise)).sum()
            + 2 * root.diagonal().log().sum()
            + (precision * misfit).sum()
            + weights.square().sum()
            + trace.sum()
        )
        if not bool(torch.isfinite(value)):
            raise NumericalError(
                f"the log evidence is {float(value)} at noise {log_noise.exp().tolist()} and amplitudes "
                f"{log_amplitudes.exp().tolist()}; check the labels' units or fix the noise"
            )
        d_noise = precision * (fitted + misfit) + trace.sum(dim=1) - self._counts
        per_column = weights.square() - (1 - inverse.diagonal())
        d_amplitudes = torch.zeros_like(log_amplitudes).index_add_(0, self.block, per_column) - trace.sum(dim=0)
        return value, d_noise, d_amplitudes

    def _root(self, log_noise: Tensor, precision: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Upper root of ``A`` and ``A^-1``."""
        a = torch.zeros_like(self._grams[0])
        for weight, gram in zip(precision, self._grams, strict=True):
            a.add_(gram * weight)
        a.mul_(scale[:, None] * scale).diagonal().add_(1.0)
        lower, failed = torch.linalg.cholesky_ex(a)
        if not int(failed):
            inverse = torch.cholesky_inverse(lower)
            error = torch.finfo(a.dtype).eps * float((a.diagonal() * inverse.diagonal()).sum())
            if error < _CHOLESKY_ERROR:
                return lower.mT, inverse
        root, _ = stacked_root(self._triangles, self._projected, scale, log_noise.exp().tolist())
        return root, torch.cholesky_inverse(root, upper=True)

    def _solve(self, root: Tensor, precision: Tensor, scale: Tensor) -> Tensor:
        """Posterior weights by seminormal equations, each pass correcting the last by its residual (Bjorck 1987)."""
        weights = torch.zeros_like(scale)
        for _ in range(3):
            back = torch.zeros_like(scale)
            for weight, triangle, left in zip(precision, self._triangles, self._left(scale * weights), strict=True):
                back += weight * (triangle.mT @ left)
            weights = weights + torch.cholesky_solve((scale * back - weights)[:, None], root, upper=True)[:, 0]
        return weights

    def _left(self, unit_weights: Tensor) -> list[Tensor]:
        """``c_g - R_g v`` of each group."""
        return [c - triangle @ unit_weights for c, triangle in zip(self._projected, self._triangles, strict=True)]


class _LogEvidence(torch.autograd.Function):
    """Closed-form gradient: backward through Cholesky would cost several times the evaluation."""

    @staticmethod
    def forward(ctx: Any, log_noise: Tensor, log_amplitudes: Tensor, evidence: Evidence) -> Tensor:
        value, d_noise, d_amplitudes = evidence.value_and_gradient(log_noise.detach(), log_amplitudes.detach())
        ctx.save_for_backward(d_noise, d_amplitudes)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        d_noise, d_amplitudes = ctx.saved_tensors
        return gradients[0] * d_noise, gradients[0] * d_amplitudes, None


@dataclass(frozen=True)
class EvidenceResult:
    """What :func:`maximize_evidence` found.

    Attributes
    ----------
    noise : dict of str to float
        Noise standard deviation per group, in the unit of its labels; groups without labels keep what was given.
    amplitudes : Tensor (n_blocks,)
        Amplitudes, eV.
    log_evidence : float
        Log evidence there, without the log prior.
    n_evaluations : int
        Number of evaluations of the evidence.
    converged : bool
        Whether the optimiser met its tolerance.
    message : str
        The optimiser's own words.
    at_bounds : tuple of str
        Optimised parameters that ended on a bound, e.g. ``"noise[forces]"``, ``"amplitude[0]"``.
    """

    noise: dict[str, float]
    amplitudes: Tensor
    log_evidence: float
    n_evaluations: int
    converged: bool
    message: str
    at_bounds: tuple[str, ...]


def maximize_evidence(
    factors: Mapping[str, LabelFactor],
    block: Tensor,
    noise: Mapping[str, float],
    fixed_noise: set[str],
    amplitudes: Tensor,
    fixed_amplitudes: Tensor,
    log_prior: LogPrior | None = None,
    max_iterations: int = 200,
) -> EvidenceResult:
    """Maximise the log evidence (plus a log prior) over noise levels and amplitudes.

    L-BFGS-B on logarithms, from the given values, within `NOISE_BOUNDS` and `AMPLITUDE_BOUNDS`; the tolerances are
    1e-9 on the objective per label and 1e-6 on its gradient.

    Parameters
    ----------
    factors, block : see `Evidence`
    noise : mapping of str to float
        Starting (or fixed) noise of every group.
    fixed_noise : set of str
        Groups whose noise stays as given.
    amplitudes : Tensor (n_blocks,)
        Starting (or fixed) amplitudes, eV.
    fixed_amplitudes : Tensor of bool (n_blocks,)
        Amplitudes that stay as given.
    log_prior : callable, optional
        ``log_prior({group: noise}, amplitudes) -> Tensor ()``, differentiable by autograd: the log density over the
        logarithms of the parameters.
    max_iterations : int
        Iterations of the optimiser before it gives up.

    Raises
    ------
    ValueError
        If the inputs do not fit together or a parameter to optimise starts outside its bounds.
    """
    check_consistent(factors, block, noise, amplitudes)
    if fixed_amplitudes.shape != amplitudes.shape or fixed_amplitudes.dtype != torch.bool:
        raise ValueError(
            f"fixed_amplitudes: expected a bool tensor of shape {tuple(amplitudes.shape)}, got "
            f"{fixed_amplitudes.dtype} {tuple(fixed_amplitudes.shape)}"
        )
    evidence = Evidence(factors, block)
    n_groups = len(evidence.groups)
    start = torch.cat([torch.tensor([noise[g] for g in evidence.groups], dtype=torch.float64), amplitudes.cpu()]).log()
    free = np.array([g not in fixed_noise for g in evidence.groups] + (~fixed_amplitudes).tolist())
    bounds = np.log([NOISE_BOUNDS] * n_groups + [AMPLITUDE_BOUNDS] * len(amplitudes))[free]
    names = [f"noise[{g}]" for g in evidence.groups] + [f"amplitude[{z}]" for z in range(len(amplitudes))]
    free_names = [name for name, is_free in zip(names, free, strict=True) if is_free]
    initial = start.numpy()[free]
    _check_inside(free_names, initial, bounds)

    def split(x: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        full = start.clone()
        full[torch.from_numpy(free)] = torch.from_numpy(x)
        full = full.to(block.device)
        return full[:n_groups].clone().requires_grad_(), full[n_groups:].clone().requires_grad_()

    def objective(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_noise, log_amplitudes = split(x)
        value = evidence(log_noise, log_amplitudes)
        if log_prior is not None:
            value = value + log_prior(dict(zip(evidence.groups, log_noise.exp(), strict=True)), log_amplitudes.exp())
        value.backward()
        assert log_noise.grad is not None
        assert log_amplitudes.grad is not None
        gradient = torch.cat([log_noise.grad, log_amplitudes.grad]).cpu().numpy()[free]
        return -float(value.detach()) / evidence.n_labels, -gradient / evidence.n_labels

    best, n_evaluations, converged, message = initial, 0, True, "nothing to optimise: every parameter is fixed"
    if free.any():
        found = minimize(
            objective,
            initial,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": max_iterations, "ftol": 1e-9, "gtol": 1e-6},
        )
        best, n_evaluations, converged, message = found.x, int(found.nfev), bool(found.success), str(found.message)
    log_noise, log_amplitudes = (part.detach() for part in split(best))
    on_bound = np.isclose(best[:, None], bounds, rtol=0, atol=1e-9).any(axis=1)
    found_noise = dict(zip(evidence.groups, log_noise.exp().tolist(), strict=True))
    return EvidenceResult(
        # What is fixed keeps its bits, which exp(log(x)) does not.
        noise=dict(noise) | {group: level for group, level in found_noise.items() if group not in fixed_noise},
        amplitudes=torch.where(fixed_amplitudes.to(amplitudes.device), amplitudes, log_amplitudes.exp()),
        log_evidence=float(evidence(log_noise, log_amplitudes)),
        n_evaluations=n_evaluations + 1,
        converged=converged,
        message=message,
        at_bounds=tuple(name for name, on in zip(free_names, on_bound, strict=True) if on),
    )


def _unexplained(group: str, factor: LabelFactor, block: Tensor) -> Tensor:
    """Unit-amplitude prior variance per block that the inducing environments cannot represent, summed over labels."""
    nystrom = torch.zeros_like(factor.prior).index_add_(0, block, factor.triangle.square().sum(dim=0))
    missing = factor.prior - nystrom
    if bool((missing < -_NYSTROM_EXCESS * factor.prior.clamp(min=_NO_PRIOR)).any()):
        raise NumericalError(
            f"group {group!r}: the inducing environments explain more than the prior variance of the labels "
            f"({nystrom.tolist()} of {factor.prior.tolist()} per block); rows and prior variances do not match"
        )
    return missing.clamp(min=0.0)


def _check_inside(names: list[str], values: NDArray[np.float64], bounds: NDArray[np.float64]) -> None:
    for name, value, (low, high) in zip(names, values, bounds, strict=True):
        if not low <= value <= high:
            raise ValueError(
                f"{name}: expected a start between {np.exp(low):.3g} and {np.exp(high):.3g}, got {np.exp(value):.3g}; "
                f"check its unit, or fix it"
            )
