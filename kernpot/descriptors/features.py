"""What every differentiable descriptor offers, and the part of it that is the same for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from dscribe.descriptors import ACSF, SOAP
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors.blocks import Block
from kernpot.errors import DescriptorError
from kernpot.structures.neighbours import Pairs, find_pairs


class Features(Protocol):
    """A differentiable descriptor: features of every atom and their exact derivatives.

    Attributes
    ----------
    n_features : int
    species : tuple of int
        Atomic numbers the descriptor knows, ascending.
    cutoff : float
        Distance in Angstrom beyond which a neighbour contributes nothing.
    smoothness : int
        Continuous derivatives of the features everywhere; -1 is a jump.
    """

    n_features: int
    species: tuple[int, ...]
    cutoff: float
    smoothness: int

    @property
    def descriptor(self) -> SOAP | ACSF:
        """DScribe's descriptor that this is the twin of."""

    def require_smooth(self) -> None:
        """Refuse, with `NotSmoothError`, a descriptor whose forces would not be the derivative of its energy."""

    def check(self, atoms: Atoms) -> None:
        """Refuse, with `DescriptorError`, a structure the descriptor cannot describe."""

    def pairs(self, atoms: Atoms) -> Pairs:
        """Neighbour pairs of a structure within the cutoff."""

    def environments(self, numbers: Tensor, pairs: Pairs, first: int = 0, last: int | None = None) -> Block:
        """Environments of centres ``first`` to ``last`` of a structure."""

    def blocks(self, numbers: Tensor, pairs: Pairs) -> Iterator[Block]:
        """Environments of a whole structure, a bounded number of pairs at a time."""

    def bounds(self, n_atoms: int, pairs: Pairs) -> list[tuple[int, int]]:
        """First and last (exclusive) centre of blocks with equal, bounded numbers of pairs."""

    def __call__(self, atoms: Atoms) -> NDArray[np.float64]:
        """Features (n_atoms, n_features) of every atom."""

    def vjp(self, atoms: Atoms, cotangent: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gradient of ``sum(cotangent * features)`` with respect to positions and strain."""

    def jvp(
        self, atoms: Atoms, positions: NDArray[np.float64] | None = None, strain: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Derivative of the features along a displacement and a strain."""


class PairwiseFeatures(ABC):
    """What follows from the environments of blocks, whatever the features are."""

    n_features: int
    species: tuple[int, ...]
    cutoff: float
    smoothness: int
    _periodic: bool
    """DScribe's own flag."""
    _written: str
    """Name of DScribe's class, for messages."""

    @abstractmethod
    def require_smooth(self) -> None:
        """Refuse a descriptor whose forces would not be the derivative of its energy."""

    @abstractmethod
    def environments(self, numbers: Tensor, pairs: Pairs, first: int = 0, last: int | None = None) -> Block:
        """Environments of centres ``first`` to ``last`` of a structure."""

    @abstractmethod
    def bounds(self, n_atoms: int, pairs: Pairs) -> list[tuple[int, int]]:
        """First and last (exclusive) centre of blocks with equal, bounded numbers of pairs."""

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure the descriptor cannot describe.

        Raises
        ------
        DescriptorError
            No atoms, an element that is not among the descriptor's, or periodic atoms for ``periodic=False``.
        """
        if len(atoms) == 0:
            raise DescriptorError("expected a structure with at least one atom, got an empty one. Leave it out.")
        unknown = sorted(set(atoms.numbers.tolist()) - set(self.species))
        if unknown:
            raise DescriptorError(
                f"elements {[chemical_symbols[z] for z in unknown]} are not among the descriptor's "
                f"{[chemical_symbols[z] for z in self.species]}. Add them to `species` and fit with structures "
                "that hold them."
            )
        if any(atoms.pbc) and not self._periodic:
            raise DescriptorError(
                "the structure is periodic but the descriptor was made with periodic=False, where DScribe ignores "
                f"images. Write {self._written}(..., periodic=True); molecules are unaffected by it."
            )

    def pairs(self, atoms: Atoms) -> Pairs:
        """Neighbour pairs of a structure within the cutoff."""
        self.check(atoms)
        return find_pairs(atoms, self.cutoff)

    def blocks(self, numbers: Tensor, pairs: Pairs) -> Iterator[Block]:
        """Environments of a whole structure, a bounded number of pairs at a time."""
        for first, last in self.bounds(len(numbers), pairs):
            yield self.environments(numbers, pairs, first, last)

    def __call__(self, atoms: Atoms) -> NDArray[np.float64]:
        """Features of every atom.

        Returns
        -------
        ndarray of shape (n_atoms, n_features)
            Equal to what DScribe's ``create(atoms)`` returns.
        """
        pairs, numbers = self.pairs(atoms), torch.from_numpy(atoms.numbers.astype(np.int64))
        return torch.cat([block.environments.features() for block in self.blocks(numbers, pairs)]).numpy()

    def vjp(self, atoms: Atoms, cotangent: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gradient of ``sum(cotangent * features)`` with respect to positions and strain.

        Parameters
        ----------
        cotangent : ndarray of shape (n_atoms, n_features)

        Returns
        -------
        positions : ndarray of shape (n_atoms, 3)
        strain : ndarray of shape (3, 3)
            For ``r -> (1 + strain) r`` of positions and cell.
        """
        pairs, numbers = self.pairs(atoms), torch.from_numpy(atoms.numbers.astype(np.int64))
        v = _tensor(cotangent, (len(atoms), self.n_features), "cotangent")
        positions = torch.zeros((len(atoms), 3), dtype=torch.float64)
        strain = torch.zeros((3, 3), dtype=torch.float64)
        for block in self.blocks(numbers, pairs):
            block.gradient(block.environments.pull(v[block.first : block.last])).add_to(positions, strain)
        return positions.numpy(), strain.numpy()

    def jvp(
        self, atoms: Atoms, positions: NDArray[np.float64] | None = None, strain: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Derivative of the features along a displacement and a strain.

        Parameters
        ----------
        positions : ndarray of shape (n_atoms, 3), optional
        strain : ndarray of shape (3, 3), optional

        Returns
        -------
        ndarray of shape (n_atoms, n_features)
        """
        pairs, numbers = self.pairs(atoms), torch.from_numpy(atoms.numbers.astype(np.int64))
        move = _tensor(positions, (len(atoms), 3), "displacement")
        deform = _tensor(strain, (3, 3), "strain")
        out = []
        for block in self.blocks(numbers, pairs):
            velocity = move[block.neighbours] - move[block.centres] + block.vectors @ deform.T
            out.append(block.environments.push(velocity[:, None, :])[:, 0])
        return torch.cat(out).numpy()


def _tensor(values: NDArray[np.float64] | None, shape: tuple[int, int], what: str) -> Tensor:
    array = np.zeros(shape) if values is None else np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise DescriptorError(f"expected a {what} of shape {shape}, got {array.shape}.")
    return torch.from_numpy(array)
