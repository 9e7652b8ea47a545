"""DScribe's SOAP, evaluated differentiably: the same numbers, exact derivatives, any periodicity."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from dscribe.descriptors import SOAP
from numpy.typing import NDArray
from torch import Tensor

from kernpot.compilation import COMPILED
from kernpot.descriptors.compiled.environments import Compiled, CompiledEnvironments
from kernpot.descriptors.compiled.pairs import fold, nearest_and_farthest
from kernpot.descriptors.compiled.table import RadialTable
from kernpot.descriptors.expansion import CentrePairs, Environments
from kernpot.descriptors.layout import PowerSpectrum
from kernpot.descriptors.radial import GTORadial, effective_cutoff, smoothness
from kernpot.descriptors.serial import soap_arguments
from kernpot.errors import DescriptorError, NotSmoothError
from kernpot.structures.neighbours import Pairs, find_pairs

# Pairs expanded at a time: keeps the working set of a block near the size of a core's cache.
_BLOCK_PAIRS = 4096
# From this many gradients on, the derivatives of the features along every pair, made once, cost less than pulls.
_MANY = 6
# Pairs whose derivatives are kept at a time, for the same reason as above.
_TANGENT_PAIRS = 128


class SOAPFeatures:
    """Differentiable twin of a :class:`dscribe.descriptors.SOAP`.

    The features equal ``soap.create(atoms)`` (order, compression, weighting and all); derivatives with respect to
    positions and strain come as vector-Jacobian and Jacobian-vector products in time and memory linear in the number of
    atoms. Periodicity is the structure's own ``pbc``, in 0 to 3 directions (DScribe's ``periodic`` flag must not
    contradict it). The output is dense and in double precision whatever the descriptor's ``sparse`` and ``dtype``.

    Parameters
    ----------
    soap : dscribe.descriptors.SOAP
        With ``rbf="gto"`` and ``average="off"``.

    Attributes
    ----------
    n_features : int
    species : tuple of int
        Atomic numbers the descriptor knows, ascending.
    cutoff : float
        Distance in Angstrom beyond which a neighbour contributes nothing.
    smoothness : int
        Continuous derivatives at the cutoff; -1 is a jump.

    Raises
    ------
    DescriptorError
        For the polynomial basis, averaged output, and a weighting that is infinite on the central atom.
    """

    def __init__(self, soap: SOAP) -> None:
        if not isinstance(soap, SOAP):
            raise DescriptorError(f"expected a dscribe.descriptors.SOAP, got {type(soap).__name__}.")
        if soap._rbf != "gto":
            raise DescriptorError(
                f"expected rbf='gto', got rbf={soap._rbf!r}: DScribe integrates the polynomial basis by a 100-point "
                "quadrature with an upward Bessel recurrence that loses digits near the centre, so it has no exact "
                "derivative. Use rbf='gto'."
            )
        if soap.average != "off":
            raise DescriptorError(
                f"expected average='off' (one row per atom), got average={soap.average!r}: atomic energies need every "
                "atom's features."
            )
        self.soap = soap
        self.species = tuple(int(z) for z in soap._atomic_numbers)
        self.cutoff = effective_cutoff(soap)
        self.smoothness = smoothness(soap)
        self._radial = GTORadial(soap)
        self._spectrum = PowerSpectrum(soap)
        table = RadialTable.of(self._radial, self.cutoff) if COMPILED else None
        # Plain torch serves weightings that no table holds, and atoms exactly on a centre.
        self._compiled = None if table is None else Compiled(table, self._spectrum)
        self.n_features = self._spectrum.n_features
        slot = torch.full((120,), -1, dtype=torch.int64)
        weight = torch.zeros(120, dtype=torch.float64)
        for k, z in enumerate(self.species):
            slot[z] = 0 if self._spectrum.mode == "mu2" else k
            weight[z] = float(soap._species_weights[k])
        self._slot, self._weight = slot, weight

    def require_smooth(self) -> None:
        """Refuse a descriptor whose forces would not be the derivative of its energy.

        Raises
        ------
        NotSmoothError
            With the two lines to write instead.
        """
        if self.smoothness < 1:
            r = round(self.cutoff, 2)
            same = {
                k: v for k, v in soap_arguments(self.soap).items() if k not in ("r_cut", "weighting", "average", "rbf")
            }
            if not self.soap._species_weights.all():
                same["compression"]["species_weighting"] = None
            arguments = ", ".join(f"{k}={v!r}" for k, v in same.items())
            raise NotSmoothError(
                f"this SOAP, scaled to unit length, is not smooth where a neighbour crosses its cutoff "
                f"({self.cutoff:.2f} A): forces and stress would not be the derivatives of the energy. Write instead:\n"
                f"    weighting = {{'function': 'poly', 'r0': {r}, 'c': 1.0, 'm': 2}}\n"
                f"    soap = SOAP({arguments}, r_cut={r}, weighting=weighting)"
            )

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
        if any(atoms.pbc) and not self.soap.periodic:
            raise DescriptorError(
                "the structure is periodic but the descriptor was made with periodic=False, where DScribe ignores "
                "images. Write SOAP(..., periodic=True); molecules are unaffected by it."
            )

    def pairs(self, atoms: Atoms) -> Pairs:
        """Neighbour pairs of a structure within the cutoff."""
        self.check(atoms)
        return find_pairs(atoms, self.cutoff)

    def environments(self, numbers: Tensor, pairs: Pairs, first: int = 0, last: int | None = None) -> Block:
        """Environments of centres ``first`` to ``last`` of a structure.

        Parameters
        ----------
        numbers : Tensor of shape (n_atoms,), int64
            Atomic numbers.
        pairs : Pairs
            At least all pairs within the cutoff, sorted by centre.
        """
        last = len(numbers) if last is None else last
        lo, hi = np.searchsorted(pairs.centres, (first, last))
        vectors = torch.from_numpy(pairs.vectors[lo:hi])
        centres, neighbours = (torch.from_numpy(a[lo:hi]) for a in (pairs.centres, pairs.neighbours))
        nearest, farthest = nearest_and_farthest(vectors.numpy())
        if not farthest < self.cutoff**2:
            inside = torch.linalg.vector_norm(vectors, dim=1) < self.cutoff
            vectors, centres, neighbours = vectors[inside], centres[inside], neighbours[inside]
        slots = self._slot[numbers[neighbours]]
        if self._spectrum.n_slots > 1:
            order = torch.argsort(centres * self._spectrum.n_slots + slots, stable=True)
            vectors, centres, neighbours, slots = vectors[order], centres[order], neighbours[order], slots[order]
        own = numbers[first:last]
        block = CentrePairs(
            centres - first, slots, vectors, self._weight[numbers[neighbours]], self._slot[own], self._weight[own]
        )
        environments: Environments | CompiledEnvironments
        if self._compiled is None or nearest == 0:
            environments = Environments(self._radial, self._spectrum, block)
        else:
            environments = CompiledEnvironments(self._compiled, block)
        return Block(first, last, centres, neighbours, slots, vectors, environments)

    def blocks(self, numbers: Tensor, pairs: Pairs) -> Iterator[Block]:
        """Environments of a whole structure, a bounded number of pairs at a time."""
        for first, last in self.bounds(len(numbers), pairs):
            yield self.environments(numbers, pairs, first, last)

    def bounds(self, n_atoms: int, pairs: Pairs) -> list[tuple[int, int]]:
        """First and last (exclusive) centre of blocks with equal, bounded numbers of pairs."""
        work = np.cumsum(np.bincount(pairs.centres, minlength=n_atoms) + 1)
        n_blocks = -(-int(work[-1]) // _BLOCK_PAIRS)
        if n_blocks > 1:
            # So that two or four threads finish together.
            n_blocks += -n_blocks % 4
        edges = np.searchsorted(work, np.arange(1, n_blocks) * (work[-1] / n_blocks))
        return list(pairwise(np.unique([0, *edges, n_atoms]).tolist()))

    def __call__(self, atoms: Atoms) -> NDArray[np.float64]:
        """Features of every atom.

        Returns
        -------
        ndarray of shape (n_atoms, n_features)
            Equal to ``soap.create(atoms)``.
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


class PairGradient(NamedTuple):
    """A gradient along pair vectors, with what it takes to fold it onto atoms: light, unlike the environments."""

    centres: Tensor
    neighbours: Tensor
    vectors: Tensor
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


class Block:
    """Consecutive centres of a structure with their pairs (global indices) and environments."""

    def __init__(
        self,
        first: int,
        last: int,
        centres: Tensor,
        neighbours: Tensor,
        slots: Tensor,
        vectors: Tensor,
        environments: Environments | CompiledEnvironments,
    ) -> None:
        self.first, self.last = first, last
        self.centres, self.neighbours, self.slots, self.vectors = centres, neighbours, slots, vectors
        self.environments = environments

    def pull(self, cotangents: Tensor) -> list[PairGradient]:
        """Gradients of k sums ``sum(cotangents[:, k] * features)``, for cotangents (n_centres, k, n_features)."""
        if cotangents.shape[1] < _MANY:
            return [self.gradient(self.environments.pull(v)) for v in cotangents.unbind(1)]
        out = cotangents.new_empty((cotangents.shape[1], len(self.vectors), 3))
        for slot in torch.unique(self.slots).tolist():
            moving = self.environments.slot_features(slot)
            v = cotangents if len(moving) == cotangents.shape[2] else cotangents[:, :, moving]
            for pairs in torch.nonzero(self.slots == slot).squeeze(1).split(_TANGENT_PAIRS):
                tangents = self.environments.pair_tangent(pairs, slot)
                centres, count = torch.unique_consecutive(self.centres[pairs] - self.first, return_counts=True)
                parts = zip(centres.tolist(), tangents.split(count.tolist()), strict=True)
                along = torch.cat([v[centre] @ part.flatten(0, 1).T for centre, part in parts], dim=1)
                out[:, pairs] = along.unflatten(1, (-1, 3))
        return [self.gradient(along_pairs) for along_pairs in out]

    def gradient(self, along_pairs: Tensor) -> PairGradient:
        """A gradient (p, 3) with respect to the pair vectors of the block."""
        return PairGradient(self.centres, self.neighbours, self.vectors, along_pairs)
