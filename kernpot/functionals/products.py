"""Products of force rows with matrices, without the rows.

With ``B`` the rows of :func:`kernpot.functionals.rows.force_rows`, ``B W`` are the forces of models with the weights
``W``, and ``B^T Y`` holds minus the derivatives of the energy's covariances when the atoms move along ``Y``:

    (B^T Y)_m = - sum_i f'(s_im) (du_i . Y) . u_m.

One column costs as much as one derivative of every environment, whereas the rows need three for every neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kernpot.functionals.state import InducingBlock, Structure

# Entries of the largest intermediate: 16 MB.
_ENTRIES = 1 << 21


class ForceProducts:
    """Products with the force rows of one structure.

    Parameters
    ----------
    structure : Structure
    blocks : sequence of InducingBlock
    """

    def __init__(self, structure: Structure, blocks: Sequence[InducingBlock]) -> None:
        self._structure, self._blocks = structure, list(blocks)
        self._members = [structure.members(b) for b in blocks]
        self._slopes = [
            b.function.slope(structure.cosines(b)[members])
            for b, members in zip(self._blocks, self._members, strict=True)
        ]

    def forces(self, weights: Tensor) -> Tensor:
        """``B W``: forces of the models with weights ``W``.

        Parameters
        ----------
        weights : Tensor of shape (M, k)

        Returns
        -------
        Tensor of shape (n_atoms, 3, k)
        """
        n, k = self._structure.n_atoms, weights.shape[1]
        gradient = torch.zeros((n, 3, k), dtype=torch.float64)
        for d, described in enumerate(self._structure.described):
            unit = described.unit
            width = n * max(unit.shape[1], len(weights))
            for part in torch.arange(k).split(max(1, _ENTRIES // width)):
                v = unit.new_zeros((n, len(part), unit.shape[1]))
                for b, members, slope in self._of(d):
                    w = weights[b.columns, part].T
                    # Columns are often weights on one block alone.
                    used = torch.nonzero((w != 0).any(1)).squeeze(1)
                    v[members[:, None], used] = b.combined(slope[:, None, :] * w[used])
                v -= (v @ unit[:, :, None]) * unit[:, None, :]
                v *= described.inverse_norm[:, None, None]
                own = torch.zeros((n, 3, len(part)), dtype=torch.float64)
                described.block.pull(v).add_to(own, own.new_zeros((3, 3, len(part))))
                gradient[:, :, part] += own
        return -gradient

    def sums(self, directions: Tensor) -> Tensor:
        """``B^T Y`` for displacements ``Y`` of shape (n_atoms, 3, k); shape (M, k)."""
        n, k = self._structure.n_atoms, directions.shape[2]
        n_columns = self._blocks[-1].columns.stop
        out = torch.zeros((k, n_columns), dtype=torch.float64)
        for d, described in enumerate(self._structure.described):
            pairs = described.block
            # The densest intermediates are (pairs or environments, columns, width).
            width = max(described.unit.shape[1] * n, n_columns * n, 32 * len(pairs.vectors))
            for part in torch.arange(k).split(max(1, _ENTRIES // width)):
                move = directions[:, :, part].transpose(1, 2)
                g = pairs.environments.push(move[pairs.neighbours] - move[pairs.centres])
                g -= torch.einsum("nkf,nf->nk", g, described.unit)[:, :, None] * described.unit[:, None, :]
                g *= described.inverse_norm[:, None, None]
                for b, members, slope in self._of(d):
                    ds = b.times(g[members].flatten(0, 1)).unflatten(0, (len(members), len(part)))
                    out[part, b.columns] = -ds.mul_(slope[:, None, :]).sum(0)
        return out.T

    def _of(self, descriptor: int) -> list[tuple[InducingBlock, Tensor, Tensor]]:
        """Blocks of one descriptor with the atoms they describe and the slopes of their covariances."""
        every = zip(self._blocks, self._members, self._slopes, strict=True)
        return [part for part in every if part[0].descriptor == descriptor and len(part[1])]
