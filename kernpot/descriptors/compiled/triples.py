"""Symmetry functions of blocks of centres by the compiled loops."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kernpot.descriptors.compiled import symmetry_loops as loops
from kernpot.descriptors.symmetry import SymmetryFunctions
from kernpot.descriptors.triples import pushed


class CompiledFunctions:
    """What the loops need to know of a descriptor.

    Parameters
    ----------
    functions : SymmetryFunctions
    """

    def __init__(self, functions: SymmetryFunctions) -> None:
        self.functions = functions
        eta, zeta, lam = functions.angular.T
        g5 = np.arange(functions.n_angular) >= functions.n_g4
        # Channels of G4 come first, those of G5, which do not end with r_jk, last.
        channels, channel = np.unique(np.stack([g5, eta]), axis=1, return_inverse=True)
        angles, angle = np.unique(np.stack([zeta, lam]), axis=1, return_inverse=True)
        n_cut = int((channels[0] == 0).sum())
        self.arguments = (
            functions.cutoff,
            functions.cutoff**2 if functions.n_g4 == functions.n_angular else math.inf,
            functions.g2,
            functions.g3,
            np.ascontiguousarray(channels[1]),
            n_cut,
            *(np.ascontiguousarray(x) for x in angles),
            *(x.reshape(-1).astype(np.int64) for x in (angle, channel)),
        )


class CompiledSymmetry:
    """Symmetry functions of a block of centres, differentiable along their pair vectors.

    Parameters
    ----------
    compiled : CompiledFunctions
    n_centres : int
    centres : Tensor of shape (p,), int64
        Centre of each pair, counted from the first centre of the block, ascending.
    slots : Tensor of shape (p,), int64
        Species slot of each neighbour, ascending for every centre.
    vectors : Tensor of shape (p, 3), Angstrom
    """

    def __init__(
        self, compiled: CompiledFunctions, n_centres: int, centres: Tensor, slots: Tensor, vectors: Tensor
    ) -> None:
        self._functions, self._arguments, self.n_centres = compiled.functions, compiled.arguments, n_centres
        self._centres, self._slots = centres, slots
        start = np.searchsorted(centres.numpy(), np.arange(n_centres + 1))
        self._neighbours = (np.ascontiguousarray(vectors.numpy()), start, np.ascontiguousarray(slots.numpy()))

    def features(self) -> Tensor:
        """Symmetry functions of every centre, shape (n_centres, n_features)."""
        out = np.zeros((self.n_centres, self._functions.n_features))
        loops.values(*self._neighbours, *self._arguments, self._functions.offsets, out)
        return torch.from_numpy(out)

    def slot_features(self, slot: int) -> Tensor:
        """Indices of the features that depend on neighbours in one species slot."""
        return self._functions.of_slot[slot]

    def pull(self, cotangents: Tensor) -> Tensor:
        """Gradient (p, 3) of ``sum(cotangents * features)`` with respect to the pair vectors."""
        out = np.empty_like(self._neighbours[0])
        v = np.ascontiguousarray(cotangents.numpy())
        loops.pull(*self._neighbours, *self._arguments, self._functions.offsets, v, out)
        return torch.from_numpy(out)

    def push(self, tangents: Tensor) -> Tensor:
        """Derivatives (n_centres, x, n_features) of the features when pair vectors move with ``tangents`` (p, x, 3)."""
        return pushed(self, self._centres, self._slots, tangents, (self.n_centres, self._functions.n_features))

    def pair_tangent(self, pairs: Tensor, slot: int) -> Tensor:
        """Derivatives (e, 3, len(slot_features(slot))) of the centres' features along single pair vectors."""
        out = np.empty((len(pairs), 3, len(self._functions.of_slot[slot])))
        which = (self._centres.numpy(), pairs.numpy())
        loops.pair_tangents(*self._neighbours, *self._arguments, self._functions.local_offsets, *which, out)
        return torch.from_numpy(out)
