"""Symmetry functions of blocks of centres in plain torch; nothing of size centres x atoms x features is formed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from kernpot.descriptors.blocks import BlockEnvironments
from kernpot.descriptors.symmetry import SymmetryFunctions

# Pairs whose triples, and pairs whose tangents, are held at a time.
_TRIPLE_PAIRS, _TANGENT_PAIRS = 64, 128


class SymmetryEnvironments:
    """Symmetry functions of a block of centres, differentiable along their pair vectors, in plain torch.

    Parameters
    ----------
    functions : SymmetryFunctions
    n_centres : int
    centres : Tensor of shape (p,), int64
        Centre of each pair, counted from the first centre of the block, ascending.
    slots : Tensor of shape (p,), int64
        Species slot of each neighbour.
    vectors : Tensor of shape (p, 3), Angstrom
    """

    def __init__(
        self, functions: SymmetryFunctions, n_centres: int, centres: Tensor, slots: Tensor, vectors: Tensor
    ) -> None:
        self._functions, self.n_centres = functions, n_centres
        self._centres, self._slots, self._vectors = centres, slots, vectors
        self._count = torch.bincount(centres, minlength=n_centres)
        self._start = torch.cumsum(self._count, 0) - self._count

    def _triples(self, pairs: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Places in ``pairs``, those pairs, and every other pair of the same centre."""
        for place in torch.arange(len(pairs)).split(_TRIPLE_PAIRS):
            centres = self._centres[pairs[place]]
            count = self._count[centres]
            row = torch.repeat_interleave(place, count)
            begin = torch.repeat_interleave(torch.cumsum(count, 0) - count, count)
            other = torch.arange(len(row)) - begin + torch.repeat_interleave(self._start[centres], count)
            apart = other != pairs[row]
            yield row[apart], pairs[row[apart]], other[apart]

    def features(self) -> Tensor:
        """Symmetry functions of every centre, shape (n_centres, n_features)."""
        s = self._functions
        flat = self._vectors.new_zeros(self.n_centres * s.n_features)
        first = self._centres * s.n_features
        value, _ = s.radial(torch.linalg.vector_norm(self._vectors, dim=1))
        at = first[:, None] + self._slots[:, None] * s.n_radial + torch.arange(s.n_radial)
        flat.index_add_(0, at.reshape(-1), value.reshape(-1))
        offsets = torch.from_numpy(s.offsets)
        for _, one, other in self._triples(torch.arange(len(self._vectors) if s.n_angular else 0)):
            once = other < one
            j, k = one[once], other[once]
            value, _ = s.of_triples(self._vectors[j], self._vectors[k])
            at = (first[j] + offsets[self._slots[j], self._slots[k]])[:, None] + torch.arange(s.n_angular)
            flat.index_add_(0, at.reshape(-1), value.reshape(-1))
        return flat.view(self.n_centres, s.n_features)

    def slot_features(self, slot: int) -> Tensor:
        """Indices of the features that depend on neighbours in one species slot."""
        return self._functions.of_slot[slot]

    def pair_tangent(self, pairs: Tensor, slot: int) -> Tensor:
        """Derivatives (e, 3, len(slot_features(slot))) of the centres' features along single pair vectors."""
        s = self._functions
        width = len(s.of_slot[slot])
        flat = self._vectors.new_zeros(len(pairs) * 3 * width)
        r = torch.linalg.vector_norm(self._vectors[pairs], dim=1)
        _, slope = s.radial(r)
        unit = self._vectors[pairs] / torch.where(r > 0, r, 1.0)[:, None]
        out = flat.view(len(pairs), 3, width)
        out[:, :, : s.n_radial] = unit[:, :, None] * slope[:, None]
        offsets, axes = torch.from_numpy(s.local_offsets[slot]), torch.arange(3)[:, None]
        for row, one, other in self._triples(pairs[: len(pairs) if s.n_angular else 0]):
            _, gradient = s.of_triples(self._vectors[one], self._vectors[other])
            begin = row[:, None, None] * 3 * width + axes * width + offsets[self._slots[other]][:, None, None]
            at = begin + torch.arange(s.n_angular)
            flat.index_add_(0, at.reshape(-1), gradient.reshape(-1))
        return out

    def pull(self, cotangents: Tensor) -> Tensor:
        """Gradient (p, 3) of ``sum(cotangents * features)`` with respect to the pair vectors."""
        out = torch.zeros_like(self._vectors)
        for pairs, moving, tangent in _tangents(self, self._slots):
            out[pairs] = torch.einsum("eaf,ef->ea", tangent, cotangents[self._centres[pairs]][:, moving])
        return out

    def push(self, tangents: Tensor) -> Tensor:
        """Derivatives (n_centres, x, n_features) of the features when pair vectors move with ``tangents`` (p, x, 3)."""
        return pushed(self, self._centres, self._slots, tangents, (self.n_centres, self._functions.n_features))


def pushed(
    environments: BlockEnvironments, centres: Tensor, slots: Tensor, tangents: Tensor, shape: tuple[int, int]
) -> Tensor:
    """Derivatives of features ``shape`` (n_centres, n_features) along tangents (p, x, 3), pair by pair."""
    out = tangents.new_zeros((shape[0], tangents.shape[1], shape[1]))
    for pairs, moving, tangent in _tangents(environments, slots):
        here, inverse = torch.unique_consecutive(centres[pairs], return_inverse=True)
        moved = tangents.new_zeros((len(here), tangents.shape[1], len(moving)))
        moved.index_add_(0, inverse, tangents[pairs] @ tangent)
        out[here[:, None], :, moving] += moved.transpose(1, 2)
    return out


def _tangents(environments: BlockEnvironments, slots: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pairs, the features that move with them and their pair tangents: a bounded number of pairs at a time."""
    for slot in torch.unique(slots).tolist():
        moving = environments.slot_features(slot)
        for pairs in torch.nonzero(slots == slot).squeeze(1).split(_TANGENT_PAIRS):
            yield pairs, moving, environments.pair_tangent(pairs, slot)
