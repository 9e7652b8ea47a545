"""Rows: covariances of labels (energies, forces, stress) with inducing environments, for unit amplitude.

With ``s_im = u_i . u_m`` the covariance of atom i's energy with inducing environment m is ``f(s_im)``, ``s^zeta`` for
the kernel of SOAP; every label is a linear functional of atomic energies, so its row is the same functional of
``f(s)``:

    energy       sum_i f(s_im)
    force on a   - sum_i f'(s_im) (du_i / dr_a) . u_m
    stress       (1/V) sum_i f'(s_im) (du_i / d strain) . u_m
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from kernpot.functionals.moved import Moved, slices
from kernpot.functionals.prior import derivative_prior, force_prior, value_prior
from kernpot.functionals.state import InducingBlock, Structure
from kernpot.functionals.sums import add_rows

# Environments x moving atoms whose products with the inducing environments are formed at once: they stay in the
# second-level cache until they are summed.
_PART = 64
# Atoms whose six products for the stress are formed at once, for the same reason.
_ATOMS = 32


def n_columns(blocks: Sequence[InducingBlock]) -> int:
    """Number of inducing environments over all blocks."""
    return sum(len(b.environments) for b in blocks)


def local_energy_rows(
    structure: Structure, blocks: Sequence[InducingBlock], atoms: slice | None = None
) -> tuple[Tensor, Tensor]:
    """Rows and prior variances of the atomic energies, of a slice of atoms or all.

    Returns
    -------
    rows : Tensor of shape (n_atoms, M)
    prior : Tensor of shape (n_atoms, n_blocks)
    """
    first, last, _ = (atoms or slice(None)).indices(structure.n_atoms)
    unit = [described.unit[first:last] for described in structure.described]
    return environment_rows(
        structure.numbers[first:last], unit, blocks, lambda block, own: structure.cosines(block)[first + own]
    )


def environment_rows(
    numbers: Tensor,
    unit: Sequence[Tensor],
    blocks: Sequence[InducingBlock],
    cosines: Callable[[InducingBlock, Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Rows and prior variances of the energies of environments, wherever they come from.

    Parameters
    ----------
    numbers : Tensor of shape (n,)
        Atomic numbers of the central atoms.
    unit : sequence of Tensor of shape (n, n_features)
        Unit features under every descriptor.
    blocks : sequence of InducingBlock
    cosines : callable, optional
        Products of some of the environments (indices) with those of a block, when they are known already.

    Returns
    -------
    rows : Tensor of shape (n, M)
    prior : Tensor of shape (n, n_blocks)
    """
    rows = torch.zeros((len(numbers), n_columns(blocks)), dtype=torch.float64)
    prior = torch.zeros((len(numbers), len(blocks)), dtype=torch.float64)
    for b, block in enumerate(blocks):
        own = torch.nonzero(numbers == block.element).squeeze(1)
        if len(own):
            u = unit[block.descriptor][own]
            products = block.times(u) if cosines is None else cosines(block, own)
            rows[own, block.columns] = block.function.value(products)
            prior[own, b] = block.function.value((u * u).sum(1))
    return rows, prior


def energy_rows(structure: Structure, blocks: Sequence[InducingBlock]) -> tuple[Tensor, Tensor]:
    """Row and prior variances of the total energy: shapes (1, M) and (1, n_blocks)."""
    row, _ = local_energy_rows(structure, blocks)
    return row.sum(0, keepdim=True), energy_prior(structure, blocks)


def energy_prior(structure: Structure, blocks: Sequence[InducingBlock]) -> Tensor:
    """Prior variances of the total energy, shape (1, n_blocks)."""
    return torch.stack(
        [value_prior(structure.described[b.descriptor].unit[structure.members(b)], b.function) for b in blocks]
    )[None]


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
        u, g, s = described.unit, described.strain_tangent, structure.cosines(block)
        if len(members) < structure.n_atoms:
            u, g, s = u[members], g[members], s[members]
        for here in _parts(len(members), _ATOMS):
            ds = block.times(g[here].flatten(0, 1)).unflatten(0, (-1, 6))
            n = len(ds)
            centre, target = torch.arange(here.start, here.start + n), torch.zeros(n, dtype=torch.int64)
            add_rows(
                rows[None], block.columns, ds, ds.new_zeros((n, 6)), s, centre, ds.new_ones(n), target, block.function
            )
        prior[:, b] = derivative_prior(u, g, block.function)
    return rows / structure.volume, prior / structure.volume**2


def force_rows(
    structure: Structure, blocks: Sequence[InducingBlock], with_prior: bool = True, rank: int = 0, size: int = 1
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows and prior variances of the forces, a bounded number of atoms at a time.

    Of several (`size`) processes that share them out, each gives its own, by its `rank`.

    Yields
    ------
    atoms : slice
    rows : Tensor of shape (3 n, M)
        For the ``n`` atoms of the slice; components of an atom are adjacent.
    prior : Tensor of shape (3 n, n_blocks)
        Zeros unless ``with_prior``.
    """
    for atoms in islice(slices(structure.described), rank, None, size):
        n = atoms.stop - atoms.start
        rows = torch.zeros((n, 3, n_columns(blocks)), dtype=torch.float64)
        prior = torch.zeros((n, 3, len(blocks)), dtype=torch.float64)
        for b, block in enumerate(blocks):
            described = structure.described[block.descriptor]
            moved = Moved(described, block.element, atoms)
            _add_force_rows(rows, structure, block, moved)
            if with_prior:
                prior[..., b] = force_prior(described, moved, block.function)
        yield atoms, rows.reshape(3 * n, -1), prior.reshape(3 * n, -1)


def _add_force_rows(rows: Tensor, structure: Structure, block: InducingBlock, moved: Moved) -> None:
    described, cosine = structure.described[block.descriptor], structure.cosines(block)
    for p in moved.pairs:
        inducing = block.restricted(p.moving)
        scale = -described.inverse_norm[p.centre]
        for here in _parts(len(p.centre), _PART):
            ds = inducing.times(p.dp[here].flatten(0, 1)).unflatten(0, (-1, 3))
            add_rows(
                rows,
                block.columns,
                ds,
                p.along[here],
                cosine,
                p.centre[here],
                scale[here],
                p.target[here],
                block.function,
            )
    ds = block.times(moved.own_tangent.flatten(0, 1)).unflatten(0, (-1, 3))
    nothing, minus = ds.new_zeros((len(ds), 3)), -ds.new_ones(len(ds))
    add_rows(rows, block.columns, ds, nothing, cosine, moved.own + moved.atoms.start, minus, moved.own, block.function)


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(first, min(n, first + size)) for first in range(0, n, size))
