"""Features that a user gives: arrays on the atoms, or a function of a structure.

With Jacobians ``J_ijf = dp_if / dr_j`` they are learnt from as any descriptor's: what a feature of atom i does when
atom j moves is told per pair, as for descriptors of pair vectors, and what it does when i itself moves follows, since
features do not change when all atoms move together. They say nothing of strain, so there is no stress. Without
Jacobians only energies can be learnt and predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors.adjustable import Adjustable
from kernpot.descriptors.blocks import Block, BlockPairs, balanced_bounds
from kernpot.descriptors.features import Knows, PairwiseFeatures
from kernpot.errors import DescriptorError, NotInFileError
from kernpot.parameters import is_real, is_whole
from kernpot.structures.elements import atomic_number
from kernpot.structures.neighbours import Pairs

FloatArray = NDArray[np.float64]
# Features, or features with their Jacobians.
Function = Callable[[Atoms], FloatArray | tuple[FloatArray, FloatArray]]

_BLOCK_PAIRS = 4096
# Change of a feature when all atoms move together, relative to the largest derivative.
_TRANSLATION = 1e-6


@dataclass(frozen=True, eq=False)
class GivenPairs(Pairs):
    """Pairs of a structure with its features, and their derivatives along the pairs.

    Attributes
    ----------
    features : Tensor of shape (n_atoms, n_features)
    derivatives : Tensor of shape (n_pairs, 3, n_features)
    """

    features: Tensor
    derivatives: Tensor


class GivenFeatures(Adjustable, PairwiseFeatures):
    """Features that come with the structures, or from a function of them.

    Parameters
    ----------
    features : str or callable
        Name of the array on the atoms, ``atoms.arrays[features]`` of shape (n_atoms, n_features); or a function
        ``f(atoms)`` that returns such an array, or, with `jacobians`, that and its Jacobians.
    species : sequence of str or int
        Elements that they describe.
    n_features : int
    jacobians : str or bool, optional
        Name of the array of Jacobians, of shape (n_atoms, n_features, n_atoms, 3): derivatives of the features of the
        first atom with respect to the positions of the second; for a function whether it returns them. Without them
        only energies are known.
    cutoff : float, default=5.0
        Distance over which features depend on neighbours, Angstrom; error bars of forces are averaged over it.

    Raises
    ------
    DescriptorError
        A parameter is out of range.

    Examples
    --------
    >>> from kernpot.descriptors import GivenFeatures
    >>> GivenFeatures("fingerprint", species=["Cu"], n_features=12).knows
    'energy'
    """

    kind = "given"
    name = "GivenFeatures"

    def __init__(
        self,
        features: str | Function,
        species: Sequence[str | int],
        n_features: int,
        jacobians: str | bool | None = None,
        cutoff: float = 5.0,
    ) -> None:
        listed = list(species) if isinstance(species, Sequence) and not isinstance(species, str) else []
        numbers = [z for s in listed if (z := atomic_number(s)) is not None]
        if not numbers or len(numbers) < len(listed):
            raise DescriptorError(f"species: expected symbols or atomic numbers of elements, got {species!r}.")
        if not is_whole(n_features, 1):
            raise DescriptorError(f"n_features must be a positive integer, got {n_features!r}.")
        if not ((isinstance(features, str) and features) or callable(features)):
            raise DescriptorError(f"features: expected the name of an array or a function, got {features!r}.")
        named = isinstance(jacobians, str) and jacobians
        if isinstance(features, str) and not (jacobians is None or jacobians is False or named):
            raise DescriptorError(f"jacobians: expected the name of an array, as features has one, got {jacobians!r}.")
        if callable(features) and not (jacobians is None or isinstance(jacobians, bool)):
            raise DescriptorError(
                f"jacobians: expected True or False, as features is a function, which returns them beside the "
                f"features, got {jacobians!r}."
            )
        if not (is_real(cutoff) and cutoff > 0):
            raise DescriptorError(f"cutoff must be a positive distance in Angstrom, got {cutoff!r}.")
        self.features, self.jacobians = features, jacobians or None
        self.species, self.n_features, self.cutoff = (
            tuple(sorted(set(numbers))),
            int(n_features),
            float(cutoff),
        )
        self.smoothness = 1  # by the word of who gives them
        self.knows: Knows = "energy" if self.jacobians is None else "forces"
        self.describes_anything = not isinstance(features, str)

    def check(self, atoms: Atoms) -> None:
        """Refuse a structure without such features, or with other elements.

        Raises
        ------
        DescriptorError
            Elements, arrays missing or of another shape.
        """
        super().check(atoms)
        if isinstance(self.features, str):
            self._found(atoms)

    def require_smooth(self) -> None:
        """Nothing to refuse: how smooth they are is known to who gives them."""

    def located(self, atoms: Atoms, pairs: Pairs) -> GivenPairs:  # noqa: ARG002
        """The structure's features, and all pairs of atoms of which the one changes features of the other.

        Raises
        ------
        DescriptorError
            Arrays are missing, of another shape, not finite, or change when all atoms move together.
        """
        features, jacobians = self._found(atoms)
        if jacobians is None:
            none = np.empty(0, dtype=np.int64)
            nothing = torch.empty((0, 3, self.n_features), dtype=torch.float64)
            return GivenPairs(none, none, np.empty((0, 3), np.int64), np.empty((0, 3)), features, nothing)
        together = np.abs(jacobians.sum(2)).max(initial=0.0)
        if together > _TRANSLATION * max(np.abs(jacobians).max(initial=0.0), 1e-12):
            raise DescriptorError(
                f"expected features that do not change when all atoms move together, got Jacobians that add up to "
                f"{together:.2g} over atoms; the derivative with respect to an atom's own position belongs to them."
            )
        change = np.abs(jacobians).max(axis=(1, 3)) > 0
        np.fill_diagonal(change, False)
        centres, neighbours = (np.ascontiguousarray(x, dtype=np.int64) for x in np.nonzero(change))
        along = np.ascontiguousarray(jacobians[centres, :, neighbours].transpose(0, 2, 1))
        vectors = atoms.positions[neighbours] - atoms.positions[centres]
        shifts = np.zeros((len(centres), 3), dtype=np.int64)
        return GivenPairs(centres, neighbours, shifts, vectors, features, torch.from_numpy(along))

    def environments(self, numbers: Tensor, pairs: Pairs, first: int = 0, last: int | None = None) -> Block:
        """Environments of centres ``first`` to ``last`` of a structure.

        Raises
        ------
        DescriptorError
            The pairs are not of :meth:`located`: an engine's own pairs do not bring features along.
        """
        if not isinstance(pairs, GivenPairs):
            raise DescriptorError(
                "features that are given belong to whole structures, and engines that have pairs of their own ask for "
                "energies along pairs: drive the simulation through ASE."
            )
        end = len(numbers) if last is None else last
        lo, hi = (int(k) for k in np.searchsorted(pairs.centres, (first, end)))
        centres, neighbours, vectors = (
            torch.from_numpy(np.ascontiguousarray(x[lo:hi])) for x in (pairs.centres, pairs.neighbours, pairs.vectors)
        )
        slots = torch.zeros(hi - lo, dtype=torch.int64)
        found = BlockPairs(first, end, centres, neighbours, slots, vectors, slice(lo, hi), np.inf)
        own = _GivenEnvironments(pairs.features[first:end], centres - first, pairs.derivatives[lo:hi])
        return found.block(own)

    def bounds(self, n_atoms: int, pairs: Pairs) -> list[tuple[int, int]]:
        """First and last (exclusive) centre of blocks with equal, bounded numbers of pairs."""
        return balanced_bounds(n_atoms, pairs, _BLOCK_PAIRS)

    def __call__(self, atoms: Atoms) -> FloatArray:
        """Features (n_atoms, n_features) of every atom."""
        self.check(atoms)
        return self._found(atoms)[0].numpy()

    def _settings(self) -> dict[str, Any]:
        names = ("features", "species", "n_features", "jacobians", "cutoff")
        return {name: getattr(self, name) for name in names}

    def _made(self, settings: dict[str, Any]) -> GivenFeatures:
        return GivenFeatures(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the model file; of a function its name, with which it must be given again."""
        named = isinstance(self.features, str)
        return {
            "kind": self.kind,
            "features": self.features if named else None,
            "function": None if named else f"{self.features.__module__}.{_name_of(self.features)}",
            "jacobians": self.jacobians,
            "species": [chemical_symbols[z] for z in self.species],
            "n_features": self.n_features,
            "cutoff": self.cutoff,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GivenFeatures:
        """What :meth:`to_dict` described.

        Raises
        ------
        NotInFileError
            They come from a function, which no file holds.
        """
        if data["features"] is None:
            raise NotInFileError(
                f"the model's features come from the function {data['function']}, which no file holds; give it again: "
                "load(path, descriptor=GivenFeatures(...))"
            )
        return cls(data["features"], data["species"], int(data["n_features"]), data["jacobians"], data["cutoff"])

    def _found(self, atoms: Atoms) -> tuple[Tensor, FloatArray | None]:
        """Features and Jacobians of a structure, checked."""
        n = len(atoms)
        jacobians = None
        if isinstance(self.features, str):
            features = self._array(atoms, self.features)
            jacobians = self._array(atoms, self.jacobians) if isinstance(self.jacobians, str) else None
        else:
            found = self.features(atoms)
            if self.jacobians is None:
                features = found
                if isinstance(found, tuple):
                    raise DescriptorError(
                        "expected the function to return an array of features, got a tuple; if its second part are "
                        "Jacobians, write GivenFeatures(..., jacobians=True)."
                    )
            elif isinstance(found, tuple) and len(found) == 2:
                features, jacobians = found
            else:
                raise DescriptorError(
                    f"expected the function to return features and Jacobians, as jacobians={self.jacobians!r} says, "
                    f"got {type(found).__name__}."
                )
        expected = {"features": (n, self.n_features), "Jacobians": (n, self.n_features, n, 3)}
        out = []
        for (what, shape), values in zip(expected.items(), (features, jacobians), strict=True):
            if values is None and (what == "features" or self.jacobians is not None):
                raise DescriptorError(f"expected {what} of shape {shape} for {n} atoms, got None.")
            array = None if values is None else _numbers(values, what)
            if array is not None and (array.shape != shape or not np.isfinite(array).all()):
                bad = f"shape {array.shape}" if array.shape != shape else "numbers that are not finite"
                raise DescriptorError(f"expected {what} of shape {shape} for {n} atoms, got {bad}.")
            out.append(array)
        return torch.from_numpy(out[0]), out[1]

    def _array(self, atoms: Atoms, name: str) -> Any:
        if name not in atoms.arrays:
            raise DescriptorError(
                f"expected the array {name!r} on the atoms, got {', '.join(map(repr, sorted(atoms.arrays)))}; set "
                f"atoms.arrays[{name!r}]."
            )
        return atoms.arrays[name]


class _GivenEnvironments:
    """Features of a block of centres, and their derivatives along its pairs."""

    def __init__(self, features: Tensor, centres: Tensor, derivatives: Tensor) -> None:
        self._features, self._centres, self._derivatives = features, centres, derivatives

    def features(self) -> Tensor:
        return self._features

    def pull(self, cotangents: Tensor) -> Tensor:
        return torch.einsum("paf,pf->pa", self._derivatives, cotangents[self._centres])

    def push(self, tangents: Tensor) -> Tensor:
        along = torch.einsum("paf,pxa->pxf", self._derivatives, tangents)
        out = self._features.new_zeros((len(self._features), tangents.shape[1], self._features.shape[1]))
        return out.index_add(0, self._centres, along)

    def slot_features(self, slot: int) -> Tensor:  # noqa: ARG002  there is one slot
        return torch.arange(self._features.shape[1])

    def pair_tangent(self, pairs: Tensor, slot: int) -> Tensor:  # noqa: ARG002
        return self._derivatives[pairs]


def _numbers(values: Any, what: str) -> FloatArray:
    """A real array, copied."""
    try:
        found = np.asarray(values)
        if np.iscomplexobj(found):
            raise TypeError("complex numbers")
        return np.array(found, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DescriptorError(
            f"expected {what} as an array of real numbers, got {type(values).__name__}: {error}."
        ) from None


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
