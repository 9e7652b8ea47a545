"""A descriptor of one's own: sums of Gaussians of distances, and a constant so that no atom has none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernpot.descriptors import PairwiseFeatures
from kernpot.descriptors.blocks import Block, BlockPairs, balanced_bounds
from kernpot.structures.neighbours import Pairs

WIDTH = 0.4


class Distances:
    """Features of some centres, and their derivatives along pair vectors; the last one is a constant."""

    def __init__(self, n: int, centres: Tensor, slots: Tensor, vectors: Tensor, grid: Tensor, cutoff: float) -> None:
        self._n, self._centres, self._slots, self._width = n, centres, slots, len(grid)
        r = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        x = r / cutoff
        cut, slope = (1 - x**2) ** 3, -6 * x * (1 - x**2) ** 2 / cutoff
        gauss = torch.exp(-(((r - grid) / WIDTH) ** 2))
        self._value, self._unit = gauss * cut, vectors / r
        self._slope = gauss * (slope - 2 * (r - grid) / WIDTH**2 * cut)
        self.n_slots = 1 + int(slots.max()) if len(slots) else 1

    def features_of(self, n_features: int) -> Tensor:
        out = torch.zeros((self._n, n_features), dtype=torch.float64)
        columns = self._slots[:, None] * self._width + torch.arange(self._width)
        out.view(-1).index_add_(0, (self._centres[:, None] * n_features + columns).ravel(), self._value.ravel())
        out[:, -1] = 1.0
        return out


class Environments(Distances):
    """The same with the interface that blocks ask for."""

    def __init__(self, n_features: int, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._n_features = n_features

    def features(self) -> Tensor:
        return self.features_of(self._n_features)

    def slot_features(self, slot: int) -> Tensor:
        return torch.arange(slot * self._width, (slot + 1) * self._width)

    def _own(self, values: Tensor) -> Tensor:
        """The columns of every pair's slot."""
        columns = self._slots[:, None] * self._width + torch.arange(self._width)
        return torch.gather(values, 1, columns)

    def pull(self, cotangents: Tensor) -> Tensor:
        return (self._own(cotangents[self._centres]) * self._slope).sum(1, keepdim=True) * self._unit

    def push(self, tangents: Tensor) -> Tensor:
        along = torch.einsum("pxa,pa->px", tangents, self._unit)[:, :, None] * self._slope[:, None, :]
        out = torch.zeros((self._n, tangents.shape[1], self._n_features), dtype=torch.float64)
        for slot in range(self.n_slots):
            here = self._slots == slot
            out[:, :, self.slot_features(slot)] += torch.zeros_like(out[:, :, : self._width]).index_add(
                0, self._centres[here], along[here]
            )
        return out

    def pair_tangent(self, pairs: Tensor, slot: int) -> Tensor:  # pairs are of one slot
        return self._unit[pairs][:, :, None] * self._slope[pairs][:, None, :]


class DistanceFeatures(PairwiseFeatures):
    """The descriptor: for every element the Gaussians of its distances."""

    kind, name, smoothness = "distances", "DistanceFeatures", 2

    def __init__(self, species: tuple[int, ...], cutoff: float = 4.0, n: int = 8) -> None:
        self.species, self.cutoff, self.n = tuple(sorted(species)), cutoff, n
        self._grid = torch.linspace(0.8, cutoff, n, dtype=torch.float64)
        self._slot = torch.full((120,), -1, dtype=torch.int64)
        self._slot[list(self.species)] = torch.arange(len(self.species))
        self.n_features = n * len(self.species) + 1

    def require_smooth(self) -> None:
        pass

    def environments(self, numbers: Tensor, pairs: Pairs, first: int = 0, last: int | None = None) -> Block:
        found = BlockPairs.of(pairs, numbers, first, last, self.cutoff, self._slot, len(self.species))
        n, centres = found.last - found.first, found.centres - found.first
        own = Environments(self.n_features, n, centres, found.slots, found.vectors, self._grid, self.cutoff)
        return found.block(own)

    def bounds(self, n_atoms: int, pairs: Pairs) -> list[tuple[int, int]]:
        return balanced_bounds(n_atoms, pairs, 4096)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "species": list(self.species), "cutoff": self.cutoff, "n": self.n}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DistanceFeatures:
        return cls(tuple(data["species"]), data["cutoff"], data["n"])
