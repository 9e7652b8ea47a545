"""Structures of a training, searched and described once: for the inputs of the networks, and for their derivatives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors import Features
from kernpot.descriptors.blocks import Block

# Features that are kept, half a gigabyte; structures beyond are described anew when they are asked for again.
_KEPT = 1 << 26


class Descriptions:
    """Neighbour pairs of structures, and their environments as far as there is room.

    Parameters
    ----------
    features : Features
    atoms : sequence of ase.Atoms

    Attributes
    ----------
    pairs : list of Pairs
        Within the cutoff, of every structure.
    """

    def __init__(self, features: Features, atoms: Sequence[Atoms]) -> None:
        self.descriptor, self.atoms = features, list(atoms)
        self.pairs = [features.pairs(a) for a in atoms]
        self._kept: dict[int, list[Block]] = {}
        self._left = _KEPT

    def __len__(self) -> int:
        return len(self.atoms)

    def numbers(self, index: int) -> Tensor:
        """Atomic numbers (n_atoms,) of a structure."""
        return torch.from_numpy(self.atoms[index].numbers.astype(np.int64))

    def features(self, index: int) -> Tensor:
        """Features (n_atoms, n_features) of a structure, whose environments are kept until they are taken."""
        blocks = self.take(index)
        if (size := self._size(index)) <= self._left:
            blocks = self._kept[index] = list(blocks)
            self._left -= size
        return torch.cat([block.environments.features() for block in blocks])

    def take(self, index: int) -> Iterable[Block]:
        """Environments of a structure that will not be asked for again, a bounded number of pairs at a time."""
        if index in self._kept:
            self._left += self._size(index)
            return self._kept.pop(index)
        return self.descriptor.blocks(self.numbers(index), self.pairs[index])

    def _size(self, index: int) -> int:
        return len(self.atoms[index]) * self.descriptor.n_features
