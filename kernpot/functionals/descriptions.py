"""Structures of a fit, each described once: for the choice of inducing environments, and again for its rows."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from kernpot.descriptors.features import Features
from kernpot.functionals.state import Structure

# Features that are kept, half a gigabyte; structures beyond are described anew when they are asked for again.
_KEPT = 1 << 26


class Descriptions:
    """Described structures, made when they are first asked for and kept as far as there is room.

    Parameters
    ----------
    descriptors : sequence of Features
    atoms : sequence of ase.Atoms
    """

    def __init__(self, descriptors: Sequence[Features], atoms: Sequence[Atoms]) -> None:
        self.descriptors, self.atoms = list(descriptors), list(atoms)
        self._kept: dict[int, Structure] = {}
        self._left = _KEPT

    def __len__(self) -> int:
        return len(self.atoms)

    def __getitem__(self, index: int) -> Structure:
        if index in self._kept:
            return self._kept[index]
        structure = Structure(self.descriptors, self.atoms[index])
        if (size := self._size(index)) <= self._left:
            self._kept[index] = structure
            self._left -= size
        return structure

    def take(self, index: int) -> Structure:
        """A structure that will not be asked for again."""
        structure = self[index]
        if self._kept.pop(index, None) is not None:
            self._left += self._size(index)
        return structure

    def _size(self, index: int) -> int:
        return len(self.atoms[index]) * sum(f.n_features for f in self.descriptors)
