"""Environments by the compiled loops, with the interface of :class:`kernpot.descriptors.expansion.Environments`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kernpot.descriptors.compiled import loops, spectrum, together
from kernpot.descriptors.compiled.harmonics import Array, harmonic_prefactors
from kernpot.descriptors.compiled.table import RadialTable
from kernpot.descriptors.expansion import CentrePairs
from kernpot.descriptors.layout import PowerSpectrum


class Compiled:
    """What the loops need to know of a descriptor.

    Parameters
    ----------
    table : RadialTable
    layout : PowerSpectrum
    """

    def __init__(self, table: RadialTable, layout: PowerSpectrum) -> None:
        self.table, self.layout = table, layout
        self.prefactors = harmonic_prefactors(layout.l_max)
        q1, q2, degree = (a.numpy() for a in (layout.q1, layout.q2, layout.degree))
        # A copy: torch moves its own memory when it is sent to another process.
        self.factor = layout.factor.numpy().copy()
        self.take = (degree * layout.n_q + q1) * layout.n_partners + q2
        self.of_slot = [self._gathers(slot, q1, q2, degree) for slot in range(layout.n_slots)]

    def _gathers(
        self, slot: int, q1: loops.Index, q2: loops.Index, degree: loops.Index
    ) -> tuple[loops.Index, loops.Index, Array]:
        """Where the two halves of every feature's tangent are among the products of ``pair_tangents``."""
        layout = self.layout
        n, n_partners, n_q = layout.n_max, layout.n_partners, layout.n_q
        features = layout.slot_features(slot).numpy()
        q1, q2, degree = q1[features], q2[features], degree[features]
        with_partners = (layout.l_max + 1) * n * n_partners
        apart = n_partners != n_q
        zero = with_partners + ((layout.l_max + 1) * n * n_q if apart else 0)
        first = np.where(q1 // n == slot, (degree * n + q1 % n) * n_partners + q2, zero)
        if apart:
            second = with_partners + (degree * n + q2) * n_q + q1
        else:
            second = np.where(q2 // n == slot, (degree * n + q2 % n) * n_partners + q1, zero)
        return first, second, self.factor[features]

    def __call__(self, pairs: CentrePairs) -> CompiledEnvironments:
        """Environments of a block of centres."""
        return CompiledEnvironments(self, pairs)


class CompiledEnvironments:
    """Expansion coefficients of a block of centres, differentiable along their pair vectors.

    See :class:`kernpot.descriptors.expansion.Environments` for the methods.

    Parameters
    ----------
    compiled : Compiled
    pairs : CentrePairs
        Without atoms exactly on a centre.
    """

    def __init__(self, compiled: Compiled, pairs: CentrePairs) -> None:
        self._compiled = compiled
        layout, table = compiled.layout, compiled.table
        self.n_centres = len(pairs.own_slots)
        self._centres = pairs.centres.numpy()
        self._vectors = np.ascontiguousarray(pairs.vectors.numpy())
        self._slots = np.ascontiguousarray(pairs.slots.numpy())
        self._weights = np.ascontiguousarray(pairs.weights.numpy())
        self._start = np.searchsorted(self._centres, np.arange(self.n_centres + 1))
        self._radial = (table.inverse_step, table.functions, table.weighting)
        lm = (layout.l_max + 1) ** 2
        by_slot = np.zeros((self.n_centres, lm, layout.n_slots, layout.n_max))
        own_slots, own_weights = pairs.own_slots.numpy(), pairs.own_weights.numpy()
        # The centre belongs to its own density; only l = 0 survives at r = 0, and it moves with the centre.
        by_slot[np.arange(self.n_centres), 0, own_slots] = own_weights[:, None] * table.own
        loops.expand(
            self._vectors, self._start, self._slots, self._weights, *self._radial, compiled.prefactors, by_slot
        )
        self._c = by_slot.reshape(self.n_centres, lm, layout.n_q)
        self._partners = by_slot.sum(2) if layout.mixed else self._c

    def features(self) -> Tensor:
        """Power spectrum of every centre, shape (n_centres, n_features)."""
        out = np.empty((self.n_centres, self._compiled.layout.n_features))
        spectrum.values(self._c, self._partners, self._compiled.take, self._compiled.factor, out)
        return torch.from_numpy(out)

    def slot_features(self, slot: int) -> Tensor:
        """Indices of the features that depend on neighbours in one species slot."""
        return self._compiled.layout.slot_features(slot)

    def pull(self, cotangents: Tensor) -> Tensor:
        """Gradient (p, 3) of ``sum(cotangents * features)`` with respect to the pair vectors."""
        layout = self._compiled.layout
        g, back = np.empty_like(self._c), np.empty_like(self._partners)
        v = np.ascontiguousarray(cotangents.numpy())
        spectrum.cotangent(self._c, self._partners, self._compiled.take, self._compiled.factor, v, g, back)
        shape = (self.n_centres, g.shape[1], layout.n_slots, layout.n_max)
        by_slot = g.reshape(shape)
        by_slot += back[:, :, None, :] if layout.mixed else back.reshape(shape)
        out = np.empty_like(self._vectors)
        loops.pull(
            self._vectors,
            self._start,
            self._slots,
            self._weights,
            *self._radial,
            self._compiled.prefactors,
            by_slot,
            out,
        )
        return torch.from_numpy(out)

    def pull_together(self, cotangents: Tensor) -> Tensor:
        """Gradients (p, 3, k) of ``sum(cotangents[:, k] * features)`` with respect to the pair vectors."""
        layout = self._compiled.layout
        v = np.ascontiguousarray(cotangents.numpy())
        g = np.empty((self.n_centres, layout.n_slots, layout.n_max, self._c.shape[1], v.shape[1]), v.dtype)
        compiled = self._compiled
        together.cotangents(self._c, self._partners, compiled.take, compiled.factor, v, layout.n_slots, layout.mixed, g)
        out = np.empty((*self._vectors.shape, v.shape[1]), v.dtype)
        together.pull(
            self._vectors, self._start, self._slots, self._weights, *self._radial, compiled.prefactors, g, out
        )
        return torch.from_numpy(out)

    def push(self, tangents: Tensor) -> Tensor:
        """Derivatives (n_centres, x, n_features) of the features when pair vectors move with ``tangents`` (p, x, 3)."""
        t = np.ascontiguousarray(tangents.numpy())
        out = np.empty((self.n_centres, t.shape[1], self._compiled.layout.n_features))
        spectrum.directional(
            self._vectors,
            t,
            self._start,
            self._slots,
            self._weights,
            *self._radial,
            self._compiled.prefactors,
            self._c,
            self._partners,
            self._compiled.take,
            self._compiled.factor,
            out,
        )
        return torch.from_numpy(out)

    def pair_tangent(self, pairs: Tensor, slot: int) -> Tensor:
        """Derivatives (e, 3, len(slot_features(slot))) of the centres' features along single pair vectors."""
        first, second, factor = self._compiled.of_slot[slot]
        chosen = pairs.numpy()
        out = np.empty((len(chosen), 3, len(first)))
        spectrum.pair_tangents(
            self._vectors[chosen],
            self._weights[chosen],
            *self._radial,
            self._compiled.prefactors,
            self._centres[chosen],
            self._c,
            self._partners,
            first,
            second,
            factor,
            out,
        )
        return torch.from_numpy(out)
