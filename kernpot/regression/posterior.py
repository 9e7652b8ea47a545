"""The posterior over whitened weights, kept as a square root: no inverse and no normal equations."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kernpot.regression.factor import LabelFactor, columns_first, triangle_in_place
from kernpot.regression.leverage import WithoutStructure


def stacked_root(
    triangles: Sequence[Tensor], projected: Sequence[Tensor], scale: Tensor, noise: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Root of the posterior precision and the right-hand side of its weights, by QR of the stacked triangles.

    Parameters
    ----------
    triangles, projected : sequence of Tensor (M, M) and of Tensor (M,)
        ``R_g`` and ``c_g`` of each noise group, see `LabelFactor`.
    scale : Tensor (M,)
        Amplitude of each column, ``D``.
    noise : sequence of float
        Noise standard deviation of each group.

    Returns
    -------
    root : Tensor (M, M)
        Upper triangular ``R``, positive diagonal, ``R^T R = I + sum_g sigma_g^-2 D R_g^T R_g D``.
    right : Tensor (M,)
        The weights are ``R^-1 right``.
    """
    m = scale.shape[0]
    groups = [
        (triangle, c, sigma, _n_known(triangle, c), float(torch.maximum((triangle * scale).abs().max(), c.abs().max())))
        for triangle, c, sigma in zip(triangles, projected, noise, strict=True)
    ]
    # Householder QR is accurate row by row only if the heavy rows come first (Powell and Reid 1969).
    groups.sort(key=lambda group: -group[4] / group[2])
    stacked = columns_first(sum(n for *_, n, _ in groups) + m + 1, m + 1, scale.device)
    start = 0
    for triangle, c, sigma, n, _ in groups:
        stacked[start : start + n, :m] = triangle[:n] * (scale / sigma)
        stacked[start : start + n, m] = c[:n] / sigma
        start += n
    stacked[start:] = torch.eye(m + 1, dtype=scale.dtype, device=scale.device)
    stacked[-1] = 0.0
    root = triangle_in_place(stacked)
    return root[:m, :m].contiguous(), root[:m, m].contiguous()


def _n_known(triangle: Tensor, projected: Tensor) -> int:
    """Rows up to the last that is not zero: fewer than all where there are fewer labels."""
    known = torch.nonzero((triangle != 0).any(1) | (projected != 0))
    return int(known[-1]) + 1 if len(known) else 0


class Posterior:
    """Gaussian posterior ``N(w, (R^T R)^-1)`` over whitened weights with prior ``N(0, I)``.

    A functional with amplitude-scaled whitened row ``b = b~ D`` has posterior mean ``b . w`` and parameter variance
    ``|R^-T b|^2``. Rows passed to the methods are such rows, *not* divided by any noise. Formulas: subset of regressors
    in whitened form, Foster et al. 2009 (JMLR 10, 857).

    Parameters
    ----------
    factors : mapping of str to LabelFactor
        One factor per noise group; an empty mapping or empty factors give the prior.
    block : Tensor of int64 (M,)
        Amplitude block of each inducing environment.
    noise : mapping of str to float
        Noise standard deviation per group, in the unit of the group's labels.
    amplitudes : Tensor (n_blocks,)
        Amplitude per block, eV.

    Raises
    ------
    ValueError
        If a group has no noise, a noise or an amplitude is not positive and finite, or the shapes disagree.
    """

    def __init__(
        self, factors: Mapping[str, LabelFactor], block: Tensor, noise: Mapping[str, float], amplitudes: Tensor
    ) -> None:
        check_consistent(factors, block, noise, amplitudes)
        self.scale = amplitudes[block]
        self.root, right = stacked_root(
            [factor.triangle for factor in factors.values()],
            [factor.projected for factor in factors.values()],
            self.scale,
            [noise[group] for group in factors],
        )
        self.whitened_weights = torch.linalg.solve_triangular(self.root, right[:, None], upper=True)[:, 0]

    def widened(self, direction: Tensor) -> Posterior:
        """With the covariance of ``direction * eta``, ``eta ~ N(0, 1)``, added to that of the weights.

        With ``v = R direction`` its root is ``U^-1 R``, ``U`` the upper triangle with ``U U^T = I + v v^T``.

        Parameters
        ----------
        direction : Tensor (M,)
        """
        v = (self.root @ direction).flip(0)
        square = torch.outer(v, v)
        square.diagonal().add_(1.0)
        upper = torch.linalg.cholesky(square).flip(0, 1)
        out = copy.copy(self)
        out.root = torch.linalg.solve_triangular(upper, self.root, upper=True)
        return out

    def half(self, rows: Tensor) -> Tensor:
        """Return ``R^-T rows^T`` (M, n) for rows (n, M); its columns' inner products are the posterior covariances."""
        half: Tensor = torch.linalg.solve_triangular(self.root.mT, rows.mT, upper=False)
        return half

    def mean(self, rows: Tensor) -> Tensor:
        """Posterior mean (n,) of the functionals with rows (n, M)."""
        mean: Tensor = rows @ self.whitened_weights
        return mean

    def variance(self, rows: Tensor) -> Tensor:
        """Parameter variance (n,) of the functionals with rows (n, M); never negative."""
        return self.half(rows).square().sum(dim=0)

    def covariance(self, rows_a: Tensor, rows_b: Tensor | None = None) -> Tensor:
        """Parameter covariance (n_a, n_b) between two sets of functionals; ``rows_b=None`` means ``rows_a``."""
        half_a = self.half(rows_a)
        return half_a.mT @ (half_a if rows_b is None else self.half(rows_b))

    def sample(self, n: int, generator: torch.Generator | None = None, scale: float = 1.0) -> Tensor:
        """Draw n weight vectors.

        Parameters
        ----------
        n : int
            Number of draws.
        generator : torch.Generator, optional
            Source of the random numbers, on the device of the posterior.
        scale : float
            Factor on their deviations from the mean.

        Returns
        -------
        Tensor (n, M)
            ``w + scale R^-1 xi`` with ``xi ~ N(0, I)``.
        """
        root = self.root
        noise = torch.randn((n, root.shape[0]), dtype=root.dtype, device=root.device, generator=generator)
        deviations = torch.linalg.solve_triangular(root, noise.mT, upper=True).mT
        draws: Tensor = self.whitened_weights + scale * deviations
        return draws


def leave_out(posterior: Posterior, rows: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Residual and variances of one structure's labels had the structure been left out of the fit.

    With ``H = B_s (R^T R)^-1 B_s^T`` the identities ``e = (I - H)^-1 r`` and ``cov = (I - H)^-1 - I`` are exact for
    fixed hyperparameters (Cook and Weisberg 1982, block form); time and memory are linear in n.

    Parameters
    ----------
    posterior : Posterior
        Fitted with the structure.
    rows : Tensor (n, M)
        ``B_s``: amplitude-scaled whitened rows of all labels of the structure, each divided by its noise.
    residual : Tensor (n,)
        ``r = y - B_s w``, divided by the same noise.

    Returns
    -------
    loo_residual : Tensor (n,)
        Residual of the prediction without the structure, in units of the noise.
    loo_variance : Tensor (n,)
        Parameter part of that prediction's variance, in units of the noise squared.

    Raises
    ------
    NumericalError
        If an eigenvalue of ``H`` exceeds one beyond rounding: the posterior was then not fitted with these rows.
    """
    without = WithoutStructure(posterior.half(rows), float(rows.norm()))
    return without.residual(residual), without.variance()


def weights_without(posterior: Posterior, rows: Tensor, targets: Tensor) -> Tensor:
    """Posterior mean (M,) of the weights had some labels been left out of the fit.

    Parameters
    ----------
    posterior : Posterior
        Fitted with them.
    rows : Tensor (n, M)
        Amplitude-scaled whitened rows of the labels, each divided by its noise.
    targets : Tensor (n,)
        The labels, divided by the same noise.

    Raises
    ------
    NumericalError
        As `leave_out`.
    """
    half = posterior.half(rows)
    error = WithoutStructure(half, float(rows.norm())).residual(targets - posterior.mean(rows))
    change = torch.linalg.solve_triangular(posterior.root, (half @ error)[:, None], upper=True)[:, 0]
    without: Tensor = posterior.whitened_weights - change
    return without


def check_consistent(
    factors: Mapping[str, LabelFactor], block: Tensor, noise: Mapping[str, float], amplitudes: Tensor
) -> None:
    """Raise ValueError unless factors, blocks, noise and amplitudes fit together and are positive and finite."""
    if amplitudes.ndim != 1 or amplitudes.dtype != torch.float64 or block.ndim != 1:
        raise ValueError(
            f"expected amplitudes float64 (n_blocks,) and block (M,), got {amplitudes.dtype} {tuple(amplitudes.shape)} "
            f"and {tuple(block.shape)}"
        )
    if not bool((torch.isfinite(amplitudes) & (amplitudes > 0)).all()):
        raise ValueError(f"every amplitude must be positive and finite, got {amplitudes.tolist()} eV")
    n_blocks = amplitudes.shape[0]
    if block.numel() and not (int(block.min()) >= 0 and int(block.max()) < n_blocks):
        raise ValueError(f"block must name one of {n_blocks} amplitudes, got {int(block.min())} to {int(block.max())}")
    expected = (block.shape[0], n_blocks)
    for group, factor in factors.items():
        got = (factor.n_inducing, factor.n_blocks)
        if got != expected:
            raise ValueError(f"factor of group {group!r}: expected (M, n_blocks) = {expected}, got {got}")
        if group not in noise:
            raise ValueError(f"group {group!r} has no noise; noise was given for {sorted(noise)}")
        if not 0 < noise[group] < float("inf"):
            raise ValueError(f"the noise of group {group!r} must be positive and finite, got {noise[group]}")
