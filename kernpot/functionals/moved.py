"""Environments that move when single atoms move, and how: computed once, for rows and for prior variances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kernpot.functionals.state import DescribedStructure
from kernpot.functionals.sums import along_unit, unit_derivatives

# Environments x moving atoms described at once.
_ENTRIES = 640


@dataclass(frozen=True)
class PairTangents:
    """Derivatives of environments with respect to the position of a neighbour, all neighbours in one species slot.

    Attributes
    ----------
    centre : Tensor of shape (e,), int64
        The environment.
    target : Tensor of shape (e,), int64
        The neighbour that moves, counted from the first of a slice; ascending.
    moving : Tensor of shape (f,), int64
        Features that change.
    dp : Tensor of shape (e, 3, f)
        Their derivatives.
    along : Tensor of shape (e, 3)
        Part of ``dp`` along the unit features, ``dp . u``.
    """

    centre: Tensor
    target: Tensor
    moving: Tensor
    dp: Tensor
    along: Tensor


class Moved:
    """Environments of one element that move with the atoms of a slice.

    Attributes
    ----------
    atoms : slice
    pairs : list of PairTangents
        Through the environments that the atoms are neighbours in.
    own : Tensor of shape (o,), int64
        Atoms of the element, counted from the first of the slice: their own environments move with them.
    own_tangent : Tensor of shape (o, 3, n_features)
        Derivatives of the unit features of these.
    """

    def __init__(self, described: DescribedStructure, element: int, atoms: slice) -> None:
        self._described = described
        self.atoms = atoms
        self.own = torch.nonzero(described.numbers[atoms] == element).squeeze(1)
        self.own_tangent = described.own_tangent[atoms][self.own]
        block = described.block
        pairs = described.targets(atoms.start, atoms.stop)
        pairs = pairs[described.numbers[block.centres[pairs]] == element]
        slots = block.slots[pairs]
        self.pairs = [self._tangents(pairs[slots == slot], slot) for slot in torch.unique(slots).tolist()]

    def _tangents(self, pairs: Tensor, slot: int) -> PairTangents:
        block = self._described.block
        dp, moving = block.environments.pair_tangent(pairs, slot), block.environments.slot_features(slot)
        centre = block.centres[pairs]
        along = along_unit(dp, self._described.unit[centre], moving)
        return PairTangents(centre, block.neighbours[pairs] - self.atoms.start, moving, dp, along)

    def unit_derivatives(self) -> tuple[Tensor, Tensor, Tensor]:
        """Derivatives of the unit features of all environments that move.

        Returns
        -------
        target : Tensor of shape (e,), int64
            The moving atom, counted from the first of the slice; ascending.
        centre : Tensor of shape (e,), int64
            The environment.
        g : Tensor of shape (e, 3, n_features)
        """
        target = torch.cat([*(p.target for p in self.pairs), self.own])
        centre = torch.cat([*(p.centre for p in self.pairs), self.own + self.atoms.start])
        order = torch.argsort(target, stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        g = torch.empty((len(order), *self.own_tangent.shape[1:]), dtype=torch.float64)
        places = place.split([*(len(p.target) for p in self.pairs), len(self.own)])
        for p, into in zip(self.pairs, places[:-1], strict=True):
            unit, scale = self._described.unit[p.centre], self._described.inverse_norm[p.centre]
            unit_derivatives(g, into, p.dp, p.along, unit, scale, p.moving)
        g[places[-1]] = self.own_tangent
        return target[order], centre[order], g


def slices(described: list[DescribedStructure]) -> Iterator[slice]:
    """Consecutive atoms that together move about ``_ENTRIES`` environments."""
    count = torch.stack([d.target_counts() for d in described]).amax(0) + 1
    group = (torch.cumsum(count, 0) - 1) // _ENTRIES
    edges = (torch.nonzero(group[1:] != group[:-1]).squeeze(1) + 1).tolist()
    for first, last in zip([0, *edges], [*edges, len(count)], strict=True):
        yield slice(first, last)
