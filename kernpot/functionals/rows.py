"""Rows: covariances of labels (energies, forces, stress) with inducing environments, for unit amplitude.

With ``s_im = u_i . u_m`` the covariance of atom i's energy with inducing environment m is ``s_im^zeta``; every label is
a linear functional of atomic energies, so its row is the same functional of ``s^zeta``:

    energy       sum_i s_im^zeta
    force on a   - sum_i zeta s_im^(zeta-1) (du_i / dr_a) . u_m
    stress       (1/V) sum_i zeta s_im^(zeta-1) (du_i / d strain) . u_m
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from kernpot.functionals.prior import derivative_prior, force_prior, value_prior
from kernpot.functionals.state import DescribedStructure, InducingBlock, Structure

# Environments x moving atoms handled at once; the rows of a chunk then fit a core's share of the last-level cache.
_ENTRIES = 640


def n_columns(blocks: Sequence[InducingBlock]) -> int:
    """Number of inducing environments over all blocks."""
    return sum(len(b.environments) for b in blocks)


def power_slope(s: Tensor, zeta: int) -> Tensor:
    """Derivative ``zeta s^(zeta - 1)`` of ``s^zeta``."""
    return torch.ones_like(s) if zeta == 1 else zeta * s ** (zeta - 1)


def local_energy_rows(structure: Structure, blocks: Sequence[InducingBlock]) -> tuple[Tensor, Tensor]:
    """Rows and prior variances of the atomic energies.

    Returns
    -------
    rows : Tensor of shape (n_atoms, M)
    prior : Tensor of shape (n_atoms, n_blocks)
    """
    rows = torch.zeros((structure.n_atoms, n_columns(blocks)), dtype=torch.float64)
    prior = torch.zeros((structure.n_atoms, len(blocks)), dtype=torch.float64)
    for b, block in enumerate(blocks):
        members = structure.members(block)
        if len(members):
            u = structure.described[block.descriptor].unit[members]
            rows[members, block.columns] = (u @ block.environments.T) ** block.zeta
            prior[members, b] = (u * u).sum(1) ** block.zeta
    return rows, prior


def energy_rows(structure: Structure, blocks: Sequence[InducingBlock]) -> tuple[Tensor, Tensor]:
    """Row and prior variances of the total energy: shapes (1, M) and (1, n_blocks)."""
    row, _ = local_energy_rows(structure, blocks)
    prior = torch.zeros((1, len(blocks)), dtype=torch.float64)
    for b, block in enumerate(blocks):
        u = structure.described[block.descriptor].unit[structure.members(block)]
        prior[0, b] = value_prior(u, block.zeta)
    return row.sum(0, keepdim=True), prior


def stress_rows(structure: Structure, blocks: Sequence[InducingBlock]) -> tuple[Tensor, Tensor]:
    """Rows and prior variances of the stress in Voigt order: shapes (6, M) and (6, n_blocks)."""
    if structure.volume is None:
        raise ValueError("stress needs a structure periodic in all three directions.")
    rows = torch.zeros((6, n_columns(blocks)), dtype=torch.float64)
    prior = torch.zeros((6, len(blocks)), dtype=torch.float64)
    for b, block in enumerate(blocks):
        members = structure.members(block)
        if not len(members):
            continue
        described = structure.described[block.descriptor]
        u, g = described.unit[members], described.strain_tangent[members]
        w = power_slope(u @ block.environments.T, block.zeta)
        for k in range(6):
            rows[k, block.columns] = (w * (g[:, k] @ block.environments.T)).sum(0) / structure.volume
            prior[k, b] = derivative_prior(u, g[:, k], block.zeta) / structure.volume**2
    return rows, prior


def force_rows(
    structure: Structure, blocks: Sequence[InducingBlock], with_prior: bool = True
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows and prior variances of the forces, a bounded number of atoms at a time.

    Yields
    ------
    atoms : slice
    rows : Tensor of shape (3 n, M)
        For the ``n`` atoms of the slice; components of an atom are adjacent.
    prior : Tensor of shape (3 n, n_blocks)
        Zeros unless ``with_prior``.
    """
    cosines = _cosines(structure, blocks)
    for atoms in _chunks(structure):
        n = atoms.stop - atoms.start
        rows = torch.zeros((n, 3, n_columns(blocks)), dtype=torch.float64)
        prior = torch.zeros((n, 3, len(blocks)), dtype=torch.float64)
        for d, described in enumerate(structure.described):
            own = [(b, block) for b, block in enumerate(blocks) if block.descriptor == d]
            for slot, pairs in _by_slot(described, atoms):
                centre = described.block.centres[pairs]
                for b, block in own:
                    chosen = described.numbers[centre] == block.element
                    if bool(chosen.any()):
                        _add_pair_rows(
                            rows[..., block.columns], described, block, pairs[chosen], slot, cosines[b], atoms
                        )
            for b, block in own:
                _add_own_rows(rows[..., block.columns], structure, described, block, cosines[b], atoms)
                if with_prior:
                    prior[..., b] = force_prior(described, block.element, block.zeta, atoms)
        yield atoms, rows.neg_().reshape(3 * n, -1), prior.reshape(3 * n, -1)


def _cosines(structure: Structure, blocks: Sequence[InducingBlock]) -> list[Tensor]:
    """``u_i . u_m`` of every atom with every inducing environment of each block."""
    return [structure.described[b.descriptor].unit @ b.environments.T for b in blocks]


def _chunks(structure: Structure) -> Iterator[slice]:
    """Consecutive atoms that together take part in about ``_ENTRIES`` environments."""
    count = torch.stack([d.target_counts() for d in structure.described]).amax(0) + 1
    group = (torch.cumsum(count, 0) - 1) // _ENTRIES
    edges = (torch.nonzero(group[1:] != group[:-1]).squeeze(1) + 1).tolist()
    for first, last in zip([0, *edges], [*edges, structure.n_atoms], strict=True):
        yield slice(first, last)


def _by_slot(described: DescribedStructure, atoms: slice) -> Iterator[tuple[int, Tensor]]:
    """Pairs that move with the given atoms, grouped by the species slot of the moving atom."""
    pairs = described.targets(atoms.start, atoms.stop)
    slots = described.block.slots[pairs]
    for slot in torch.unique(slots).tolist():
        yield slot, pairs[slots == slot]


def _add_pair_rows(
    rows: Tensor,
    described: DescribedStructure,
    block: InducingBlock,
    pairs: Tensor,
    slot: int,
    cosine: Tensor,
    atoms: slice,
) -> None:
    """Add the parts of dE/dr that come through environments in which the moving atom is a neighbour."""
    environments = described.block.environments
    moving = environments.slot_features(slot)
    centre = described.block.centres[pairs]
    dp = environments.pair_tangent(pairs, slot)
    along = torch.einsum("exf,ef->ex", dp, described.unit[centre][:, moving])
    ds = (dp.reshape(-1, len(moving)) @ block.environments[:, moving].T).view(len(pairs), 3, -1)
    s = cosine[centre]
    ds.addcmul_(along[:, :, None], s[:, None, :], value=-1.0)
    ds.mul_((power_slope(s, block.zeta) * described.inverse_norm[centre][:, None])[:, None, :])
    rows.index_add_(0, described.block.neighbours[pairs] - atoms.start, ds)


def _add_own_rows(
    rows: Tensor,
    structure: Structure,
    described: DescribedStructure,
    block: InducingBlock,
    cosine: Tensor,
    atoms: slice,
) -> None:
    """Add the parts of dE/dr that come through the moving atoms' own environments."""
    inside = torch.nonzero(structure.numbers[atoms] == block.element).squeeze(1)
    if not len(inside):
        return
    g = described.own_tangent[atoms][inside]
    ds = (g.reshape(-1, g.shape[2]) @ block.environments.T).view(len(inside), 3, -1)
    ds.mul_(power_slope(cosine[atoms][inside], block.zeta)[:, None, :])
    rows.index_add_(0, inside, ds)
