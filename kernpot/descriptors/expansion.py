"""Environments of a block of centres: expansion coefficients, features, and exact derivatives along pair vectors.

Everything here is a function of the pair vectors ``r_ij`` (neighbour minus centre, image included), so periodicity,
strain and the identity of images are settled by whoever made the pairs. Nothing of size centres x atoms x features is
formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import sphericart
import torch
from torch import Tensor

from kernpot.descriptors.layout import PowerSpectrum
from kernpot.descriptors.radial import GTORadial


@dataclass(frozen=True)
class CentrePairs:
    """Pairs of a block of centres, sorted by (centre, species slot).

    Attributes
    ----------
    centres : Tensor of shape (p,), int64
        Centre of each pair, counted from the first centre of the block.
    slots : Tensor of shape (p,), int64
        Species slot of each neighbour.
    vectors : Tensor of shape (p, 3), Angstrom
    weights : Tensor of shape (p,)
        Species weight of each neighbour (1 unless DScribe's ``species_weighting`` is used).
    own_slots, own_weights : Tensor of shape (n_centres,)
        Slot and species weight of the centres themselves.
    """

    centres: Tensor
    slots: Tensor
    vectors: Tensor
    weights: Tensor
    own_slots: Tensor
    own_weights: Tensor


class Environments:
    """Expansion coefficients of a block of centres, differentiable along their pair vectors.

    Parameters
    ----------
    radial, spectrum
        Radial functions and feature layout of the descriptor.
    pairs : CentrePairs

    Attributes
    ----------
    coefficients : list of Tensor of shape (n_centres, n_slots * n_max, 2 l + 1)
    """

    def __init__(self, radial: GTORadial, spectrum: PowerSpectrum, pairs: CentrePairs) -> None:
        self._spectrum = spectrum
        self._pairs = pairs
        self.n_centres = len(pairs.own_slots)
        vectors = pairs.vectors
        r = torch.linalg.vector_norm(vectors, dim=1)
        self._unit = vectors / torch.where(r > 0, r, 1.0)[:, None]
        value, slope = radial(r)
        self._value, self._slope = value * pairs.weights[:, None], slope * pairs.weights[:, None]
        harmonics = sphericart.SolidHarmonics(radial.l_max)
        if len(vectors):
            y, dy = harmonics.compute_with_gradients(vectors.contiguous().numpy())
            self._y, self._dy = torch.from_numpy(y), torch.from_numpy(dy)
        else:
            self._y = vectors.new_zeros((0, (radial.l_max + 1) ** 2))
            self._dy = vectors.new_zeros((0, 3, (radial.l_max + 1) ** 2))
        self._make_segments()
        self.coefficients = self._expand(radial)

    def _make_segments(self) -> None:
        """Slot of every pair in a zero-padded (segment, rank) array; a segment is a (centre, species slot)."""
        n_segments = self.n_centres * self._spectrum.n_slots
        segment = self._pairs.centres * self._spectrum.n_slots + self._pairs.slots
        count = torch.bincount(segment, minlength=n_segments)
        self._depth = int(count.max()) if len(segment) else 0
        start = torch.cumsum(count, 0) - count
        self._place = segment * self._depth + torch.arange(len(segment)) - start[segment]
        self._n_segments = n_segments

    def _pad(self, rows: Tensor) -> Tensor:
        """Rows per pair to (n_segments, depth, ...), zeros where a segment is shorter."""
        padded = rows.new_zeros((self._n_segments * self._depth, *rows.shape[1:]))
        padded[self._place] = rows
        return padded.unflatten(0, (self._n_segments, self._depth))

    def _degree(self, degree: int) -> slice:
        return slice(degree * degree, (degree + 1) ** 2)

    def _by_centre(self, segments: Tensor) -> Tensor:
        """(n_segments, n_max, m) to (n_centres, n_slots * n_max, m)."""
        return segments.reshape(self.n_centres, self._spectrum.n_q, -1)

    def _expand(self, radial: GTORadial) -> list[Tensor]:
        coefficients = [
            self._by_centre(self._pad(self._value[d]).transpose(1, 2) @ self._pad(self._y[:, self._degree(d)]))
            for d in range(radial.l_max + 1)
        ]
        # The centre belongs to its own density; only l = 0 survives at r = 0, and it moves with the centre.
        own = radial(torch.zeros(1, dtype=torch.float64))[0][0, 0] * 0.5 / torch.pi**0.5
        every = torch.arange(self.n_centres)
        view = coefficients[0].view(self.n_centres, self._spectrum.n_slots, self._spectrum.n_max)
        view[every, self._pairs.own_slots] += own * self._pairs.own_weights[:, None]
        return coefficients

    def features(self) -> Tensor:
        """Power spectrum of every centre, shape (n_centres, n_features)."""
        return self._spectrum.values(self.coefficients)

    def push(self, tangents: Tensor) -> Tensor:
        """Directional derivatives of the features when pair vectors move (Jacobian-vector product).

        Parameters
        ----------
        tangents : Tensor of shape (p, x, 3)
            Velocity of every pair vector for each of ``x`` directions.

        Returns
        -------
        Tensor of shape (n_centres, x, n_features)
        """
        x = tangents.shape[1]
        radially = torch.einsum("pxa,pa->px", tangents, self._unit)
        dc = []
        for d in range(self._spectrum.l_max + 1):
            m = self._degree(d)
            along = (radially[:, :, None] * self._y[:, None, m]).flatten(1)
            across = torch.einsum("pxa,pam->pxm", tangents, self._dy[:, :, m]).flatten(1)
            moved = self._pad(self._slope[d]).transpose(1, 2) @ self._pad(along)
            moved += self._pad(self._value[d]).transpose(1, 2) @ self._pad(across)
            dc.append(self._by_centre(moved).unflatten(2, (x, 2 * d + 1)).transpose(1, 2))
        return self._spectrum.tangent(self.coefficients, dc)

    def slot_features(self, slot: int) -> Tensor:
        """Indices of the features that depend on neighbours in one species slot."""
        return self._spectrum.slot_features(slot)

    def pair_tangent(self, pairs: Tensor, slot: int) -> Tensor:
        """Derivatives of the centres' features with respect to single pair vectors.

        Parameters
        ----------
        pairs : Tensor of shape (e,), int64
            Pairs, all with a neighbour in species ``slot``.

        Returns
        -------
        Tensor of shape (e, 3, len(spectrum.slot_features(slot)))
        """
        centres, unit = self._pairs.centres[pairs], self._unit[pairs]
        c, dc = [], []
        for d in range(self._spectrum.l_max + 1):
            m = self._degree(d)
            along = unit[:, :, None, None] * self._y[pairs, None, None, m]
            across = self._dy[pairs][:, :, None, m]
            dc.append(
                self._slope[d][pairs][:, None, :, None] * along + self._value[d][pairs][:, None, :, None] * across
            )
            c.append(self.coefficients[d][centres])
        return self._spectrum.slot_tangent(c, dc, slot)

    def pull(self, cotangents: Tensor) -> Tensor:
        """Gradient of ``sum(cotangents * features)`` with respect to the pair vectors (vector-Jacobian product).

        Parameters
        ----------
        cotangents : Tensor of shape (n_centres, n_features)

        Returns
        -------
        Tensor of shape (p, 3)
        """
        gradient = torch.zeros_like(self._unit)
        if not len(gradient):
            return gradient
        for d, back in enumerate(self._spectrum.cotangent(self.coefficients, cotangents)):
            m = self._degree(d)
            segments = back.reshape(self._n_segments, self._spectrum.n_max, -1)
            value = (self._pad(self._value[d]) @ segments).flatten(0, 1)[self._place]
            slope = (self._pad(self._slope[d]) @ segments).flatten(0, 1)[self._place]
            gradient += torch.einsum("pm,pam->pa", value, self._dy[:, :, m])
            gradient += (slope * self._y[:, m]).sum(1, keepdim=True) * self._unit
        return gradient
