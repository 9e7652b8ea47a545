"""What every differentiable descriptor offers, and the part of it that is the same for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors.blocks import Block
from kernpot.errors import DescriptorError, NotInFileError
from kernpot.structures.neighbours import Pairs, find_pairs

Knows = Literal["energy", "forces", "stress"]


@runtime_checkable
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
    knows : {"energy", "forces", "stress"}
        How far derivatives go: not at all (energies alone can be learnt), with respect to positions, and to strain too.
    describes_anything : bool
        Whether it describes any structure, or only those that bring their features along.
    vanishes : bool
        Whether all features of an atom without neighbours are zero: scaled to unit length, as kernels compare them,
        they then jump where it meets its first neighbour.
    """

    n_features: int
    species: tuple[int, ...]
    cutoff: float
    smoothness: int
    knows: Knows
    describes_anything: bool
    vanishes: bool

    @property
    def descriptor(self) -> Any:
        """What a user gives an estimator for it: DScribe's descriptor that this is the twin of, or itself."""

    def require_smooth(self) -> None:
        """Refuse, with `NotSmoothError`, a descriptor whose forces would not be the derivative of its energy."""

    def check(self, atoms: Atoms) -> None:
        """Refuse, with `DescriptorError`, a structure the descriptor cannot describe."""

    def pairs(self, atoms: Atoms) -> Pairs:
        """Neighbour pairs of a structure within the cutoff."""

    def located(self, atoms: Atoms, pairs: Pairs) -> Pairs:
        """Pairs of a structure, with whatever else of it its environments need."""

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

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the model file, with a ``kind`` by which it is known there."""


# Kinds of descriptors that model files can hold, by name.
_KINDS: dict[str, type[PairwiseFeatures]] = {}
# What files say nothing of.
_DEFAULT = "soap"


class PairwiseFeatures(ABC):
    """What follows from the environments of blocks, whatever the features are.

    Attributes
    ----------
    kind : str
        Name in model files; a class that has one is known to them from its definition on. One that another class has
        is refused with ValueError.
    name : str
        For messages.
    periodic : bool
        Whether it sees periodic images.
    """

    n_features: int
    species: tuple[int, ...]
    cutoff: float
    smoothness: int
    knows: Knows = "stress"
    describes_anything: bool = True
    vanishes: bool = False
    kind: ClassVar[str]
    name: str = "descriptor"
    periodic: bool = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            taken = _KINDS.get(cls.kind, cls)
            # A class that is defined again, in a notebook or by a reload, replaces itself.
            if (taken.__module__, taken.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(
                    f"the kind {cls.kind!r} of the descriptor {cls.__module__}.{cls.__qualname__} is that of "
                    f"{taken.__module__}.{taken.__qualname__} already, which model files name by it; give yours another"
                )
            _KINDS[cls.kind] = cls

    @property
    def descriptor(self) -> Any:
        """What a user gives an estimator for it."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the model file.

        Raises
        ------
        DescriptorError
            Unless the class has a ``kind``, a ``to_dict`` and a ``from_dict`` of its own.
        """
        raise DescriptorError(
            f"{type(self).__name__} cannot be written to a model file: give the class a kind, to_dict and from_dict."
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PairwiseFeatures:  # noqa: ARG003
        """What :meth:`to_dict` described."""
        raise DescriptorError(f"{cls.__name__} cannot be read from a model file: it has no from_dict.")

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
        if any(atoms.pbc) and not self.periodic:
            raise DescriptorError(
                "the structure is periodic but the descriptor was made with periodic=False, where DScribe ignores "
                f"images. Write {self.name}(..., periodic=True); molecules are unaffected by it."
            )

    def pairs(self, atoms: Atoms) -> Pairs:
        """Neighbour pairs of a structure within the cutoff."""
        self.check(atoms)
        return self.located(atoms, find_pairs(atoms, self.cutoff))

    def located(self, atoms: Atoms, pairs: Pairs) -> Pairs:  # noqa: ARG002
        """Pairs of a structure, with whatever else of it its environments need: nothing."""
        return pairs

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


def features_from_dict(data: dict[str, Any]) -> Features:
    """The descriptor that ``to_dict`` of some descriptor told of; without a ``kind`` it is a SOAP.

    Raises
    ------
    NotInFileError
        A kind that no class defined so far has.
    """
    kind = data.get("kind", _DEFAULT)
    if kind not in _KINDS:
        raise NotInFileError(
            f"the model has a descriptor of kind {kind!r}, known are {', '.join(sorted(_KINDS))}: import the module "
            "that defines it before loading the model, or upgrade kernpot"
        )
    return _KINDS[kind].from_dict(data)


def _tensor(values: NDArray[np.float64] | None, shape: tuple[int, int], what: str) -> Tensor:
    array = np.zeros(shape) if values is None else np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise DescriptorError(f"expected a {what} of shape {shape}, got {array.shape}.")
    return torch.from_numpy(array)
