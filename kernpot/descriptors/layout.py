"""Order, compression and derivatives of DScribe's power spectrum.

From the expansion coefficients ``c`` of a centre, with ``q = (species slot, n)``,

    p_f = pi sqrt(8 / (2 l + 1)) sum_m x_(q1, l, m) y_(q2, l, m),

where ``x = y = c`` (modes ``off``, ``crossover``, ``mu2``) or ``y = sum over slots of c`` (``mu1nu1``; Darby, Kermode,
Csanyi, npj Comput. Mater. 8, 166 (2022)). A feature ``f`` is a triple ``(q1, q2, l)``; the modes differ in the list.
"""

from __future__ import annotations

import math

import torch
from dscribe.descriptors import SOAP
from torch import Tensor

from kernpot.descriptors.dscribe_settings import soap_settings

_Gather = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def feature_triples(mode: str, n_slots: int, n_max: int, l_max: int) -> list[tuple[int, int, int]]:
    """Features ``(q1, q2, l)`` in DScribe's order; ``q2`` counts radial functions only when ``mode`` is ``mu1nu1``."""
    triples = []
    for z1 in range(n_slots):
        partners = range(z1, n_slots) if mode == "off" else (z1,)
        for z2 in partners:
            for degree in range(l_max + 1):
                for n1 in range(n_max):
                    unique = mode != "mu1nu1" and z1 == z2
                    for n2 in range(n1 if unique else 0, n_max):
                        q2 = n2 if mode == "mu1nu1" else z2 * n_max + n2
                        triples.append((z1 * n_max + n1, q2, degree))
    return triples


class PowerSpectrum:
    """Power spectrum of expansion coefficients, its tangents and cotangents.

    Coefficients are kept as a list over ``l`` of tensors ``(..., n_slots * n_max, 2 l + 1)``.

    Parameters
    ----------
    soap : dscribe.descriptors.SOAP

    Attributes
    ----------
    q1, q2, degree : Tensor of shape (n_features,), int64
        The features; ``q2`` counts partners.
    factor : Tensor of shape (n_features,)
        ``pi sqrt(8 / (2 l + 1))`` of every feature.
    """

    def __init__(self, soap: SOAP) -> None:
        self.mode = str(soap.compression.get("mode", "off"))
        settings = soap_settings(soap)
        self.n_max, self.l_max = settings.n_max, settings.l_max
        self.n_slots = 1 if self.mode == "mu2" else len(settings.numbers)
        self.n_q = self.n_slots * self.n_max
        self.mixed = self.mode == "mu1nu1"
        self.n_partners = self.n_max if self.mixed else self.n_q
        triples = feature_triples(self.mode, self.n_slots, self.n_max, self.l_max)
        self.n_features = len(triples)
        q1, q2, degree = torch.tensor(triples).T
        self.q1, self.q2, self.degree = q1, q2, degree
        self._prefactor = [math.pi * math.sqrt(8.0 / (2 * d + 1)) for d in range(self.l_max + 1)]
        self.factor = torch.tensor(self._prefactor, dtype=torch.float64)[degree]
        self._by_degree: list[tuple[Tensor, Tensor, Tensor]] = []
        for d in range(self.l_max + 1):
            where = torch.nonzero(degree == d).squeeze(1)
            self._by_degree.append((where, q1[where], q2[where]))
        self._slot_features = [self._involving(slot, q1, q2, degree) for slot in range(self.n_slots)]

    def _involving(self, slot: int, q1: Tensor, q2: Tensor, degree: Tensor) -> tuple[Tensor, list[_Gather]]:
        """Features that move when only coefficients of ``slot`` move, and how to gather their tangents."""
        first = q1 // self.n_max == slot
        second = torch.zeros_like(first) if self.mixed else q2 // self.n_max == slot
        features = torch.arange(len(q1)) if self.mixed else torch.nonzero(first | second).squeeze(1)
        gathers = []
        for d in range(self.l_max + 1):
            local = torch.nonzero(degree[features] == d).squeeze(1)
            f = features[local]
            in_first, in_second = torch.nonzero(first[f]).squeeze(1), torch.nonzero(second[f]).squeeze(1)
            a, b = f[in_first], f[in_second]
            gathers.append(
                (
                    local[in_first],
                    (q1[a] % self.n_max) * self.n_partners + q2[a],
                    local[in_second],
                    (q2[b] % self.n_max) * self.n_partners + q1[b],
                    local,
                    q1[f] * self.n_max + q2[f] % self.n_max,
                )
            )
        return features, gathers

    def slot_features(self, slot: int) -> Tensor:
        """Indices of the features that depend on the coefficients of one species slot."""
        return self._slot_features[slot][0]

    def _partners(self, c: Tensor) -> Tensor:
        if not self.mixed:
            return c
        return c.unflatten(-2, (self.n_slots, self.n_max)).sum(-3)

    def values(self, c: list[Tensor]) -> Tensor:
        """Features ``(..., n_features)`` of coefficients ``c[l]`` of shape (..., n_q, 2 l + 1)."""
        p = c[0].new_empty((*c[0].shape[:-2], self.n_features))
        for d, (where, q1, q2) in enumerate(self._by_degree):
            gram = c[d] @ self._partners(c[d]).transpose(-1, -2)
            p[..., where] = self._prefactor[d] * gram.flatten(-2)[..., q1 * self.n_partners + q2]
        return p

    def tangent(self, c: list[Tensor], dc: list[Tensor]) -> Tensor:
        """Directional derivatives of the features.

        Parameters
        ----------
        c : list of Tensor of shape (e, n_q, 2 l + 1)
        dc : list of Tensor of shape (e, x, n_q, 2 l + 1)
            ``x`` directions for each of ``e`` centres.

        Returns
        -------
        Tensor of shape (e, x, n_features)
        """
        e, x = dc[0].shape[:2]
        dp = c[0].new_empty((e, x, self.n_features))
        for d, (where, q1, q2) in enumerate(self._by_degree):
            partners = self._partners(c[d])
            moved = (dc[d].reshape(e, x * self.n_q, -1) @ partners.transpose(1, 2)).reshape(e, x, -1)
            part = moved[..., q1 * self.n_partners + q2]
            if self.mixed:
                d_partners = self._partners(dc[d]).reshape(e, x * self.n_max, -1)
                other = (d_partners @ c[d].transpose(1, 2)).reshape(e, x, -1)
                part = part + other[..., q2 * self.n_q + q1]
            else:
                part = part + moved[..., q2 * self.n_partners + q1]
            dp[..., where] = self._prefactor[d] * part
        return dp

    def slot_tangent(self, c: list[Tensor], dc: list[Tensor], slot: int) -> Tensor:
        """As :meth:`tangent`, when only the coefficients of ``slot`` move.

        Parameters
        ----------
        c : list of Tensor of shape (e, n_q, 2 l + 1)
        dc : list of Tensor of shape (e, x, n_max, 2 l + 1)

        Returns
        -------
        Tensor of shape (e, x, len(slot_features(slot)))
        """
        features, gathers = self._slot_features[slot]
        e, x = dc[0].shape[:2]
        dp = c[0].new_zeros((e, x, len(features)))
        for d, (at_first, from_first, at_second, from_second, local, from_all) in enumerate(gathers):
            flat = dc[d].reshape(e, x * self.n_max, -1)
            moved = (flat @ self._partners(c[d]).transpose(1, 2)).reshape(e, x, -1) * self._prefactor[d]
            if self.mixed:
                other = (flat @ c[d].transpose(1, 2)).reshape(e, x, self.n_max, self.n_q) * self._prefactor[d]
                dp[..., local] = other.transpose(-1, -2).reshape(e, x, -1)[..., from_all]
                dp[..., at_first] += moved[..., from_first]
            elif len(at_first) == len(local) == len(at_second):
                dp[..., local] = moved[..., from_first] + moved[..., from_second]
            else:
                dp[..., at_first] = moved[..., from_first]
                dp[..., at_second] += moved[..., from_second]
        return dp

    def cotangent(self, c: list[Tensor], v: Tensor) -> list[Tensor]:
        """Gradient of ``sum(v * values(c))`` with respect to ``c``: a list over ``l`` shaped as ``c``."""
        gradient = []
        for d, (where, q1, q2) in enumerate(self._by_degree):
            matrix = v.new_zeros((*v.shape[:-1], self.n_q * self.n_partners))
            matrix[..., q1 * self.n_partners + q2] = self._prefactor[d] * v[..., where]
            matrix = matrix.unflatten(-1, (self.n_q, self.n_partners))
            g = matrix @ self._partners(c[d])
            back = matrix.transpose(-1, -2) @ c[d]
            gradient.append(g + (back.repeat(*(1,) * (back.dim() - 2), self.n_slots, 1) if self.mixed else back))
        return gradient
