"""What surrounds a label: the variances it is pooled with."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from kernpot.functionals.state import Structure
from kernpot.structures.kinds import KINDS


class Surroundings:
    """Averages over an atom and its neighbours, weighted smoothly down to nothing at the cutoff.

    Parameters
    ----------
    n_atoms : int
    centres, neighbours : Tensor of shape (p,)
        Pairs of atoms.
    vectors : Tensor of shape (p, 3)
        Angstrom.
    cutoff : float
        Angstrom.
    """

    def __init__(self, n_atoms: int, centres: Tensor, neighbours: Tensor, vectors: Tensor, cutoff: float) -> None:
        x = torch.linalg.vector_norm(vectors, dim=1) / cutoff
        self._weights = (1 - x).clamp(min=0.0) ** 2 * (1 + 2 * x)
        self._centres, self._neighbours = centres, neighbours
        self._total = torch.ones(n_atoms, dtype=torch.float64).index_add_(0, self._centres, self._weights)

    @classmethod
    def of(cls, structure: Structure) -> Self:
        """Within the largest cutoff of the descriptors."""
        described = max(structure.described, key=lambda d: d.features.cutoff)
        block = described.block
        return cls(structure.n_atoms, block.centres, block.neighbours, block.vectors, described.features.cutoff)

    def pool(self, component_variances: Tensor) -> Tensor:
        """For components of all atoms (c n,): the mean variance in the surroundings of their atom, (c n,).

        Components with NaN do not count.
        """
        v = component_variances.view(len(self._total), -1)
        width, v = v.shape[1], v.nanmean(1)
        counts = v.isfinite()
        if counts.all():
            total, around = v.clone(), self._total
        else:
            v = v.nan_to_num()
            total, around = v.clone(), counts.to(v.dtype)
            around.index_add_(0, self._centres, self._weights * counts[self._neighbours])
        total.index_add_(0, self._centres, self._weights * v[self._neighbours])
        return (total / around).repeat_interleave(width)


def pooled(kind: str, own: Tensor, surroundings: Surroundings) -> Tensor:
    """Variances of what shares the causes of misfit with components of a label, from their own variances (n,).

    NaN is that of a component that does not count.
    """
    match KINDS[kind].pooled:
        case "surroundings":
            return surroundings.pool(own)
        case "components":
            return own.nanmean().expand(own.shape)
        case _:
            return own
