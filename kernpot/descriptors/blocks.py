"""Blocks of consecutive centres: which pairs they have, and derivatives along pairs folded onto atoms and strain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, overload, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from kernpot.descriptors.compiled import together
from kernpot.descriptors.compiled.pairs import fold, nearest_and_farthest
from kernpot.structures.neighbours import Pairs

# From this many gradients on, the derivatives of the features along every pair, made once, cost less than pulls.
_MANY = 6
# Pairs whose derivatives are kept at a time: keeps the working set near the size of a core's cache.
_TANGENT_PAIRS = 128


class BlockEnvironments(Protocol):
    """Features of a block of centres, and their exact derivatives along the block's pair vectors."""

    def features(self) -> Tensor:
        """Features (n_centres, n_features)."""

    def pull(self, cotangents: Tensor) -> Tensor:
        """Gradient (p, 3) of ``sum(cotangents * features)`` with respect to the pair vectors."""

    def push(self, tangents: Tensor) -> Tensor:
        """Derivatives (n_centres, x, n_features) of the features when pair vectors move with ``tangents`` (p, x, 3)."""

    def slot_features(self, slot: int) -> Tensor:
        """Indices of the features that depend on neighbours in one species slot."""

    def pair_tangent(self, pairs: Tensor, slot: int) -> Tensor:
        """Derivatives (e, 3, len(slot_features(slot))) of the centres' features along single pair vectors."""


@runtime_checkable
class PulledTogether(Protocol):
    """Environments with a way of their own to many gradients at once."""

    def pull_together(self, cotangents: Tensor) -> Tensor:
        """Gradients (p, 3, k) of ``sum(cotangents[:, k] * features)`` with respect to the pair vectors."""


class BlockPairs(NamedTuple):
    """Pairs of centres ``first`` to ``last`` within a cutoff, sorted by (centre, species slot); indices are global."""

    first: int
    last: int
    centres: Tensor
    neighbours: Tensor
    slots: Tensor
    vectors: Tensor
    places: slice | Tensor
    """Where these pairs were among those given."""
    nearest: float
    """Smallest squared length of the vectors given, infinite of none."""

    @classmethod
    def of(
        cls, pairs: Pairs, numbers: Tensor, first: int, last: int | None, cutoff: float, slot: Tensor, n_slots: int
    ) -> BlockPairs:
        """Select and sort.

        Parameters
        ----------
        pairs : Pairs
            At least all pairs within the cutoff, sorted by centre.
        numbers : Tensor of shape (n_atoms,), int64
        slot : Tensor of int64
            Species slot of every atomic number.
        """
        last = len(numbers) if last is None else last
        lo, hi = np.searchsorted(pairs.centres, (first, last))
        vectors = torch.from_numpy(pairs.vectors[lo:hi])
        centres, neighbours = (torch.from_numpy(a[lo:hi]) for a in (pairs.centres, pairs.neighbours))
        nearest, farthest = nearest_and_farthest(vectors.numpy())
        places: slice | Tensor = slice(int(lo), int(hi))
        if not farthest < cutoff**2:
            inside = torch.nonzero(torch.linalg.vector_norm(vectors, dim=1) < cutoff).squeeze(1)
            vectors, centres, neighbours = vectors[inside], centres[inside], neighbours[inside]
            places = inside + int(lo)
        slots = slot[numbers[neighbours]]
        if n_slots > 1:
            order = torch.argsort(centres * n_slots + slots, stable=True)
            vectors, centres, neighbours, slots = vectors[order], centres[order], neighbours[order], slots[order]
            places = order + int(lo) if isinstance(places, slice) else places[order]
        return cls(first, last, centres, neighbours, slots, vectors, places, nearest)

    def block(self, environments: BlockEnvironments) -> Block:
        """The block, once its environments are there."""
        return Block(self, environments)


def balanced_bounds(n_atoms: int, pairs: Pairs, block_pairs: int) -> list[tuple[int, int]]:
    """First and last (exclusive) centre of blocks with equal numbers of pairs, about ``block_pairs`` at most."""
    work = np.cumsum(np.bincount(pairs.centres, minlength=n_atoms) + 1)
    n_blocks = -(-int(work[-1]) // block_pairs)
    if n_blocks > 1:
        # So that two or four threads finish together.
        n_blocks += -n_blocks % 4
    edges = np.searchsorted(work, np.arange(1, n_blocks) * (work[-1] / n_blocks))
    return list(pairwise(np.unique([0, *edges, n_atoms]).tolist()))


class PairGradient(NamedTuple):
    """A gradient along pair vectors, with what it takes to fold it onto atoms: light, unlike the environments."""

    centres: Tensor
    neighbours: Tensor
    vectors: Tensor
    places: slice | Tensor
    values: Tensor

    def add_to(self, positions: Tensor, strain: Tensor) -> None:
        """Add the gradients with respect to positions (n_atoms, 3) and strain (3, 3), in place."""
        fold(
            self.centres.numpy(),
            self.neighbours.numpy(),
            self.vectors.numpy(),
            self.values.numpy(),
            positions.numpy(),
            strain.numpy(),
        )


class PairGradients(Sequence[PairGradient]):
    """K gradients along the same pair vectors.

    Parameters
    ----------
    centres, neighbours : Tensor of shape (p,)
    vectors : Tensor of shape (p, 3)
    places : slice or Tensor
        As of :class:`BlockPairs`.
    values : Tensor of shape (p, 3, K)
    """

    def __init__(
        self, centres: Tensor, neighbours: Tensor, vectors: Tensor, places: slice | Tensor, values: Tensor
    ) -> None:
        self._centres, self._neighbours, self._vectors, self._places = centres, neighbours, vectors, places
        self._values = values

    def __len__(self) -> int:
        return self._values.shape[2]

    @overload
    def __getitem__(self, index: int) -> PairGradient: ...
    @overload
    def __getitem__(self, index: slice) -> list[PairGradient]: ...
    def __getitem__(self, index: int | slice) -> PairGradient | list[PairGradient]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        values = self._values[:, :, range(len(self))[index]].contiguous()
        return PairGradient(self._centres, self._neighbours, self._vectors, self._places, values)

    def add_to(self, positions: Tensor, strain: Tensor) -> None:
        """Add the gradients with respect to positions (n_atoms, 3, K) and strain (3, 3, K), in place."""
        if len(self) == 1:
            self[0].add_to(positions[:, :, 0], strain[:, :, 0])
            return
        together.fold(
            self._centres.numpy(),
            self._neighbours.numpy(),
            self._vectors.numpy(),
            self._values.numpy(),
            positions.numpy(),
            strain.numpy(),
        )


class Block:
    """Consecutive centres of a structure with their pairs (global indices) and environments."""

    def __init__(self, pairs: BlockPairs, environments: BlockEnvironments) -> None:
        self.first, self.last = pairs.first, pairs.last
        self.centres, self.neighbours, self.slots, self.vectors = (
            pairs.centres,
            pairs.neighbours,
            pairs.slots,
            pairs.vectors,
        )
        self.places, self.environments = pairs.places, environments

    def pull(self, cotangents: Tensor) -> PairGradients:
        """Gradients of k sums ``sum(cotangents[:, k] * features)``, for cotangents (n_centres, k, n_features)."""
        if cotangents.shape[1] < _MANY:
            pulled = [self.environments.pull(v.double()) for v in cotangents.unbind(1)]
            values = pulled[0][:, :, None] if len(pulled) == 1 else torch.stack(pulled, 2)
        elif isinstance(self.environments, PulledTogether):
            values = self.environments.pull_together(cotangents)
        else:
            values = self._by_tangents(cotangents)
        return PairGradients(self.centres, self.neighbours, self.vectors, self.places, values)

    def _by_tangents(self, cotangents: Tensor) -> Tensor:
        """Gradients (p, 3, k) from the derivatives of the features along every pair."""
        out = cotangents.new_empty((len(self.vectors), 3, cotangents.shape[1]))
        for slot in torch.unique(self.slots).tolist():
            moving = self.environments.slot_features(slot)
            v = cotangents if len(moving) == cotangents.shape[2] else cotangents[:, :, moving]
            for pairs in torch.nonzero(self.slots == slot).squeeze(1).split(_TANGENT_PAIRS):
                tangents = self.environments.pair_tangent(pairs, slot)
                centres, count = torch.unique_consecutive(self.centres[pairs] - self.first, return_counts=True)
                parts = zip(centres.tolist(), tangents.split(count.tolist()), strict=True)
                along = torch.cat([part.flatten(0, 1).to(v.dtype) @ v[centre].T for centre, part in parts])
                out[pairs] = along.unflatten(0, (-1, 3))
        return out

    def gradient(self, along_pairs: Tensor) -> PairGradient:
        """A gradient (p, 3) with respect to the pair vectors of the block."""
        return PairGradient(self.centres, self.neighbours, self.vectors, self.places, along_pairs)
