"""Prior variances of labels for unit amplitude: exact double sums over environments.

For displacements ``a`` and ``b`` with ``g_i^a = du_i / da`` and ``s = u_i . u_j``,

    cov(E, E)         = sum_ij f(s)
    cov(E, dE/db)     = sum_ij f'(s) u_i . g_j^b
    cov(dE/da, dE/db) = sum_ij f'(s) g_i^a . g_j^b + f''(s) (u_j . g_i^a) (u_i . g_j^b)

For the first two powers, ``f(s) = s`` and ``s^2``, the sums factorise over the environments, and large structures cost
in proportion to their size:

    s:    |sum_i u_i|^2,         |sum_i g_i|^2
    s^2:  |U^T U|_F^2,      2 (|U^T G|_F^2 + tr (U^T G)^2)
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernpot.errors import NumericalError
from kernpot.functionals.moved import Moved
from kernpot.functionals.state import DescribedStructure
from kernpot.functionals.sums import curvature_sum
from kernpot.kernels.functions import CosineFunction

# Rows and columns of the environments x environments matrices formed at once: they stay in the second-level cache.
_BLOCK = 128
# Entries of a strip of the (environment, moving atom) x (environment, moving atom) matrix: 32 MB per intermediate.
_JOINT_ENTRIES = 1 << 22


# Rounding that a difference of variances of order one may show; beyond it the mathematics is broken.
_ROUNDING = 1e-8
# The same for sums that cancel by symmetry (forces in a perfect crystal), where the result itself is no scale.
_CANCELLATION = 1e-10


def nonnegative(variance: Tensor, scale: Tensor | float, what: str, unit: float = 1.0) -> Tensor:
    """Variances with rounding below zero removed.

    Parameters
    ----------
    variance : Tensor
        Unit-amplitude variances.
    scale : Tensor or float
        Size of the terms whose difference ``variance`` is.
    what : str
        Name for the message.
    unit : float
        Natural size of one environment's contribution.

    Raises
    ------
    NumericalError
        When a value is negative beyond rounding, or NaN: that is never repaired in silence.
    """
    floor = -(_ROUNDING * scale + _CANCELLATION * unit)
    if not bool((variance >= floor).all()):  # so that NaN is caught as well
        raise NumericalError(
            f"the variance of {what} came out as {float(variance.min()):.3e} where rounding allows "
            f"{float(torch.as_tensor(floor).min()):.1e}. "
            "The inducing covariance is too ill-conditioned: use fewer inducing environments, or report this structure."
        )
    return variance.clamp(min=0.0)


def value_prior(u: Tensor, function: CosineFunction) -> Tensor:
    """Variance of the sum of atomic energies of environments ``u`` (n, n_features)."""
    if function.power == 1:
        return u.sum(0).square().sum()
    if function.power == 2:
        # The smaller of the two matrices with the same norm.
        return (u.T @ u if u.shape[0] > u.shape[1] else u @ u.T).square().sum()
    parts = u.split(_BLOCK)
    total = u.new_zeros(())
    for a, left in enumerate(parts):
        for b, right in enumerate(parts[: a + 1]):
            total += (1 if a == b else 2) * function.value(left @ right.T).sum()
    return total


def derivative_prior(u: Tensor, g: Tensor, function: CosineFunction) -> Tensor:
    """Variances of derivatives of the summed energies of environments.

    Parameters
    ----------
    u : Tensor of shape (n, n_features)
    g : Tensor of shape (n, x, n_features)
        How the environments move for each of ``x`` derivatives.
    function : CosineFunction

    Returns
    -------
    Tensor of shape (x,)
    """
    if function.power == 1:
        total = g.sum(0).square().sum(1)
    elif function.power == 2 and u.shape[0] > u.shape[1]:
        crossed = torch.stack([u.T @ g[:, x] for x in range(g.shape[1])])
        total = 2 * (crossed.square() + crossed * crossed.mT).sum((1, 2))
    else:
        total = _double_sum(u, g, function)
    return nonnegative(total, 0.0, "a derivative of the energy", float(g.square().sum()) + 1.0)


def _double_sum(u: Tensor, g: Tensor, function: CosineFunction) -> Tensor:
    """Sum over pairs of environments, half of them: the other half is the same."""
    total = g.new_zeros(g.shape[1])
    parts = list(zip(u.split(_BLOCK), g.transpose(0, 1).split(_BLOCK, 1), strict=True))
    for a, (left, left_g) in enumerate(parts):
        for b, (right, right_g) in enumerate(parts[: a + 1]):
            ug = torch.stack([left @ gx.T for gx in right_g])
            gu = ug.mT if a == b else torch.stack([gx @ right.T for gx in left_g])
            total += (1 if a == b else 2) * curvature_sum(left @ right.T, left_g @ right_g.mT, ug, gu, function)
    return total


def _curvature(s: Tensor, gg: Tensor, ug: Tensor, gu: Tensor, function: CosineFunction) -> Tensor:
    """Terms of cov(dE/da, dE/db): ``gg = g_i . g_j``, ``ug = u_i . g_j``, ``gu = g_i . u_j``."""
    if function.power == 1:
        return gg
    if function.power == 2:
        return 2 * (s * gg + ug * gu)
    return function.slope(s) * gg + function.curvature(s) * ug * gu


def force_prior(described: DescribedStructure, moved: Moved, function: CosineFunction) -> Tensor:
    """Prior variance of each force component of the atoms of a slice, shape (n, 3)."""
    variance = torch.zeros((moved.atoms.stop - moved.atoms.start, 3), dtype=torch.float64)
    target, centre, g = moved.unit_derivatives()
    u = described.unit[centre]
    count = torch.bincount(target, minlength=len(variance)).tolist()
    size = 0.0
    for atom, (u_a, g_a) in enumerate(zip(u.split(count), g.split(count), strict=True)):
        directions = g_a.transpose(0, 1)
        gg = directions @ directions.mT
        ug = (u_a @ g_a.flatten(0, 1).T).unflatten(1, (-1, 3)).permute(2, 0, 1)
        variance[atom] = curvature_sum(u_a @ u_a.T, gg, ug, ug.mT, function)
        size += float(gg.diagonal(dim1=1, dim2=2).sum())
    return nonnegative(variance, 0.0, "a force component", size + 1.0)


def joint_prior(described: DescribedStructure, element: int, function: CosineFunction, volume: float | None) -> Tensor:
    """Prior covariance of the energy, all forces and (when ``volume`` is given) the stress.

    Returns
    -------
    Tensor of shape (K, K)
        ``K = 1 + 3 n_atoms (+ 6)``; contribution of one element under one descriptor, for unit amplitude.
    """
    n = len(described.numbers)
    target, centre, g = Moved(described, element, slice(0, n)).unit_derivatives()
    members = torch.nonzero(described.numbers == element).squeeze(1)
    g = g.flatten(0, 1)
    output = (1 + 3 * target[:, None] + torch.arange(3)).flatten()
    centre = centre.repeat_interleave(3)
    sign = -torch.ones(len(output), dtype=torch.float64)
    size = 1 + 3 * n
    if volume is not None:
        g = torch.cat([g, described.strain_tangent[members].flatten(0, 1)])
        output = torch.cat([output, size + torch.arange(6).repeat(len(members))])
        centre = torch.cat([centre, members.repeat_interleave(6)])
        sign = torch.cat([sign, torch.full((6 * len(members),), 1.0 / volume, dtype=torch.float64)])
        size += 6
    unit = described.unit
    cosine = unit @ unit.T
    covariance = torch.zeros((size, size), dtype=torch.float64)
    covariance[0, 0] = value_prior(unit[members], function)
    if not len(g):
        return covariance
    gu = g @ unit.T * sign[:, None]
    g = g * sign[:, None]
    slope = function.slope(cosine[centre][:, members])
    covariance[0].index_add_(0, output, (slope * gu[:, members]).sum(1))
    covariance[:, 0] = covariance[0]
    for part in torch.arange(len(g)).split(max(1, _JOINT_ENTRIES // len(g))):
        s = cosine[centre[part]][:, centre]
        terms = _curvature(s, g[part] @ g.T, gu[:, centre[part]].T, gu[part][:, centre], function)
        columns = torch.zeros((len(part), size), dtype=torch.float64).index_add_(1, output, terms)
        covariance.index_add_(0, output[part], columns)
    return covariance
