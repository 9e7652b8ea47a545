"""SOAP in operations that TorchScript knows: for engines that have no kernpot, and take derivatives by autograd."""

# No `from __future__ import annotations`: TorchScript reads annotations as objects.

import math

import torch
from torch import Tensor

from kernpot.descriptors.soap import SOAPFeatures
from kernpot.errors import DescriptorError

# Centres whose expansion coefficients are formed at once.
_TOGETHER = 256


class Soap(torch.nn.Module):
    """Features of environments, as :class:`kernpot.descriptors.SOAPFeatures` has them.

    Parameters
    ----------
    features : SOAPFeatures
        Smooth at their cutoff, as those of a fitted potential are.

    Raises
    ------
    DescriptorError
        The weighting is none that ends smoothly.
    """

    exponent: Tensor
    mix: Tensor
    own: Tensor
    slot: Tensor
    weight: Tensor
    place: Tensor
    factor: Tensor

    def __init__(self, features: SOAPFeatures) -> None:
        super().__init__()
        radial, spectrum = features.radial, features.spectrum
        weighting = radial.weighting
        if weighting.function != "poly":
            raise DescriptorError(f"expected a SOAP weighted by 'poly', got {weighting.function!r}.")
        self.r0, self.power, self.amplitude = float(weighting.r0), float(weighting.m), float(weighting.c)
        self.n_max, self.l_max, self.n_slots = radial.n_max, radial.l_max, spectrum.n_slots
        self.mixed, self.cutoff, self.n_together = spectrum.mixed, float(features.cutoff), _TOGETHER
        own = radial(torch.zeros(1, dtype=torch.float64))[0][0, 0] * 0.5 / math.pi**0.5
        for name, value in {
            "exponent": radial.exponent,
            "mix": radial.mix,
            "own": own,
            "slot": features.slot,
            "weight": features.weight,
            "place": (spectrum.degree * spectrum.n_q + spectrum.q1) * spectrum.n_partners + spectrum.q2,
            "factor": spectrum.factor,
        }.items():
            self.register_buffer(name, value.detach().clone())

    def forward(self, vectors: Tensor, centres: Tensor, neighbours: Tensor, own: Tensor) -> Tensor:
        """Features (n, n_features).

        Parameters
        ----------
        vectors : Tensor of shape (p, 3), Angstrom
            From centres to neighbours.
        centres : Tensor of shape (p,), int64
            Centre of every pair, in any order.
        neighbours : Tensor of shape (p,), int64
            Atomic number of every neighbour.
        own : Tensor of shape (n,), int64
            Atomic numbers of the centres.
        """
        r2 = (vectors * vectors).sum(1)
        within = r2 < self.cutoff**2
        vectors, centres, neighbours, r2 = vectors[within], centres[within], neighbours[within], r2[within]
        segment = centres * self.n_slots + self.slot[neighbours]
        order = torch.argsort(segment, stable=True)
        vectors, segment, r2, weight = vectors[order], segment[order], r2[order], self.weight[neighbours[order]]
        # A few centres at a time: what is formed on the way stays in the cache.
        firsts = torch.arange(0, len(own), self.n_together, device=own.device)
        starts = torch.searchsorted(segment, firsts * self.n_slots)
        parts: list[Tensor] = []
        for k in range(len(firsts)):
            first = int(firsts[k])
            last = min(first + self.n_together, len(own))
            a, b = int(starts[k]), len(segment)
            if k + 1 < len(firsts):
                b = int(starts[k + 1])
            shifted = segment[a:b] - first * self.n_slots
            parts.append(self.of_block(vectors[a:b], r2[a:b], weight[a:b], shifted, own[first:last]))
        if len(parts) == 0:
            return torch.zeros((0, len(self.place)), dtype=vectors.dtype, device=vectors.device)
        return torch.cat(parts)

    def of_block(self, vectors: Tensor, r2: Tensor, species_weight: Tensor, segment: Tensor, own: Tensor) -> Tensor:
        """Features of some centres; pairs are sorted by segment, which is a centre and a species slot."""
        # The root has no derivative for an atom exactly on the centre; its weight has, and it is zero.
        apart = r2 > 0
        x = torch.where(apart, torch.sqrt(torch.where(apart, r2, 1.0)), 0.0) / self.r0
        base = (1 - x) ** 2 * (1 + 2 * x)
        weight = self.amplitude * base**self.power * species_weight
        # In double precision whatever that of the rest is: sums over primitives cancel up to seven digits.
        squares = r2.to(self.exponent.dtype)
        primitive = torch.exp(-squares[:, None] * self.exponent).unflatten(1, (self.l_max + 1, self.n_max))
        value = torch.bmm(primitive.transpose(0, 1), self.mix).to(r2.dtype) * weight[:, None]
        y = self.solid_harmonics(vectors, r2)

        # Pairs of a segment side by side, zeros where there are fewer than the most.
        n_segments = len(own) * self.n_slots
        count = torch.bincount(segment, minlength=n_segments)
        depth = int(count.max())
        place = (
            segment * depth
            + torch.arange(len(segment), device=segment.device)
            - (torch.cumsum(count, 0) - count)[segment]
        )
        harmonics = torch.zeros((n_segments * depth, y.shape[1]), dtype=y.dtype, device=y.device)
        harmonics = harmonics.index_copy(0, place, y).view(n_segments, depth, y.shape[1])
        radials = torch.zeros((n_segments * depth, self.n_max), dtype=y.dtype, device=y.device)

        slot = self.slot[own]
        grams: list[Tensor] = []
        for degree in range(self.l_max + 1):
            padded = radials.index_copy(0, place, value[degree]).view(n_segments, depth, self.n_max)
            columns = harmonics[:, :, degree * degree : (degree + 1) * (degree + 1)]
            c = torch.bmm(padded.transpose(1, 2), columns)
            if degree == 0:
                # The centre belongs to its own density, of which only l = 0 is left at r = 0.
                at = torch.arange(len(own), device=own.device) * self.n_slots + slot
                c = c.index_add(0, at, (self.own * self.weight[own][:, None])[:, :, None])
            c = c.reshape(len(own), self.n_slots * self.n_max, 2 * degree + 1)
            partners = c
            if self.mixed:
                partners = c.unflatten(1, (self.n_slots, self.n_max)).sum(1)
            grams.append(torch.bmm(c, partners.transpose(1, 2)).flatten(1))
        return torch.cat(grams, 1)[:, self.place] * self.factor

    def solid_harmonics(self, vectors: Tensor, r2: Tensor) -> Tensor:
        """Real solid harmonics ``r^l Y_lm`` (p, (l_max + 1)^2), orthonormal on the unit sphere.

        With ``Q_lm(z, r)``, associated Legendre functions less their ``sin^m`` and times ``r^(l - m)``, and
        ``(x + i y)^m``; recurrences of Bigi et al., J. Chem. Phys. 159, 064802 (2023). Signs do not matter: only sums
        over m of squares do.
        """
        x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
        cosines = [torch.ones_like(x)]
        sines = [torch.zeros_like(x)]
        for m in range(self.l_max):
            cosines.append(x * cosines[m] - y * sines[m])
            sines.append(x * sines[m] + y * cosines[m])
        # Columns of every l from m = -l to l; filled for each m from l = m upwards.
        found = [torch.zeros_like(x)] * ((self.l_max + 1) * (self.l_max + 1))
        double_factorial = 1.0
        for m in range(self.l_max + 1):
            if m > 0:
                double_factorial *= 2 * m - 1
            before = torch.zeros_like(x)
            q = torch.full_like(x, double_factorial)
            for degree in range(m, self.l_max + 1):
                if degree > m:
                    after = ((2 * degree - 1) * z * q - (degree + m - 1) * r2 * before) / (degree - m)
                    before, q = q, after
                norm = (2 * degree + 1) / (2 * math.pi)
                for k in range(degree - m + 1, degree + m + 1):
                    norm = norm / k
                middle = degree * degree + degree
                if m == 0:
                    found[middle] = math.sqrt(norm / 2) * q
                else:
                    found[middle + m] = math.sqrt(norm) * q * cosines[m]
                    found[middle - m] = math.sqrt(norm) * q * sines[m]
        return torch.stack(found, 1)
