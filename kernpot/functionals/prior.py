"""Prior variances of labels for unit amplitude: exact double sums over environments.

For displacements ``a`` and ``b`` with ``g_i^a = du_i / da`` and ``s = u_i . u_j``,

    cov(E, E)         = sum_ij s^zeta
    cov(E, dE/db)     = sum_ij zeta s^(zeta-1) u_i . g_j^b
    cov(dE/da, dE/db) = sum_ij zeta s^(zeta-1) g_i^a . g_j^b + zeta (zeta-1) s^(zeta-2) (u_j . g_i^a) (u_i . g_j^b)
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernpot.errors import NumericalError
from kernpot.functionals.state import DescribedStructure

# Rows of the environments x environments matrix formed at once.
_BLOCK = 2048
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


def value_prior(u: Tensor, zeta: int) -> Tensor:
    """Variance of the sum of atomic energies of environments ``u`` (n, n_features)."""
    return sum(((part @ u.T) ** zeta).sum() for part in u.split(_BLOCK)) if len(u) else u.new_zeros(())


def derivative_prior(u: Tensor, g: Tensor, zeta: int) -> Tensor:
    """Variance of the derivative of the summed energies when environments ``u`` (n, n_features) move with ``g``."""
    total = u.new_zeros(())
    for rows_u, rows_g in zip(u.split(_BLOCK), g.split(_BLOCK), strict=True):
        total = total + _curvature(rows_u @ u.T, rows_g @ g.T, rows_u @ g.T, rows_g @ u.T, zeta).sum()
    return nonnegative(total, 0.0, "a stress component", float((g * g).sum()) + 1.0)


def _curvature(s: Tensor, gg: Tensor, ug: Tensor, gu: Tensor, zeta: int) -> Tensor:
    """Terms of cov(dE/da, dE/db): ``gg = g_i . g_j``, ``ug = u_i . g_j``, ``gu = g_i . u_j``."""
    if zeta == 1:
        return gg
    if zeta == 2:
        return 2 * (s * gg + ug * gu)
    return zeta * s ** (zeta - 2) * (s * gg + (zeta - 1) * ug * gu)


def force_entries(described: DescribedStructure, element: int, atoms: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Environments (of one element) that move when single atoms move.

    Returns
    -------
    target : Tensor of shape (e,)
        The moving atom, counted from the first of the slice.
    centre : Tensor of shape (e,)
        The environment.
    g : Tensor of shape (e, 3, n_features)
        Derivative of its unit features.
    """
    block = described.block
    pairs = described.targets(atoms.start, atoms.stop)
    pairs = pairs[described.numbers[block.centres[pairs]] == element]
    own = torch.nonzero(described.numbers[atoms] == element).squeeze(1)
    n_features = described.unit.shape[1]
    g = torch.zeros((len(pairs) + len(own), 3, n_features), dtype=torch.float64)
    slots = block.slots[pairs]
    for slot in torch.unique(slots).tolist():
        here = torch.nonzero(slots == slot).squeeze(1)
        moving = block.environments.slot_features(slot)
        dp = block.environments.pair_tangent(pairs[here], slot)
        if len(moving) == n_features:
            g[here] = dp
        else:
            g[here[:, None, None], torch.arange(3)[None, :, None], moving] = dp
    centre = block.centres[pairs]
    u = described.unit[centre]
    part = g[: len(pairs)]
    part -= torch.einsum("exd,ed->ex", part, u)[:, :, None] * u[:, None, :]
    part *= described.inverse_norm[centre][:, None, None]
    g[len(pairs) :] = described.own_tangent[atoms][own]
    target = torch.cat([block.neighbours[pairs] - atoms.start, own])
    return target, torch.cat([centre, own + atoms.start]), g


def force_prior(described: DescribedStructure, element: int, zeta: int, atoms: slice) -> Tensor:
    """Prior variance of each force component of a slice of atoms, shape (n, 3)."""
    n = atoms.stop - atoms.start
    target, centre, g = force_entries(described, element, atoms)
    if not len(target):
        return torch.zeros((n, 3), dtype=torch.float64)
    order = torch.argsort(target, stable=True)
    target, centre, g = target[order], centre[order], g[order]
    count = torch.bincount(target, minlength=n)
    rank = torch.arange(len(target)) - (torch.cumsum(count, 0) - count)[target]
    depth = int(count.max())
    u_pad = described.unit.new_zeros((n, depth, described.unit.shape[1]))
    g_pad = described.unit.new_zeros((3, n, depth, described.unit.shape[1]))
    u_pad[target, rank] = described.unit[centre]
    g_pad[:, target, rank] = g.transpose(0, 1)
    s = u_pad @ u_pad.transpose(1, 2)
    out = []
    for gx in g_pad:
        ug = u_pad @ gx.transpose(1, 2)
        out.append(_curvature(s, gx @ gx.transpose(1, 2), ug, ug.transpose(1, 2), zeta).sum((1, 2)))
    return nonnegative(torch.stack(out, 1), 0.0, "a force component", float(g.square().sum()) + 1.0)


def joint_prior(described: DescribedStructure, element: int, zeta: int, volume: float | None) -> Tensor:
    """Prior covariance of the energy, all forces and (when ``volume`` is given) the stress.

    Returns
    -------
    Tensor of shape (K, K)
        ``K = 1 + 3 n_atoms (+ 6)``; contribution of one element under one descriptor, for unit amplitude.
    """
    n = len(described.numbers)
    target, centre, g = force_entries(described, element, slice(0, n))
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
    covariance[0, 0] = value_prior(unit[members], zeta)
    if not len(g):
        return covariance
    gu = g @ unit.T * sign[:, None]
    g = g * sign[:, None]
    slope = zeta * cosine[centre][:, members] ** (zeta - 1) if zeta > 1 else torch.ones_like(gu[:, members])
    covariance[0].index_add_(0, output, (slope * gu[:, members]).sum(1))
    covariance[:, 0] = covariance[0]
    for part in torch.arange(len(g)).split(max(1, _JOINT_ENTRIES // len(g))):
        s = cosine[centre[part]][:, centre]
        terms = _curvature(s, g[part] @ g.T, gu[:, centre[part]].T, gu[part][:, centre], zeta)
        columns = torch.zeros((len(part), size), dtype=torch.float64).index_add_(1, output, terms)
        covariance.index_add_(0, output[part], columns)
    return covariance
