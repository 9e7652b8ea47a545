"""Atom-centred symmetry functions of one and two neighbours, their derivatives, and their order in DScribe.

With ``f(r) = (cos(pi r / r_cut) + 1) / 2`` below the cutoff and 0 beyond (Behler, J. Chem. Phys. 134, 074106 (2011)),

    G1 = sum_j f(r_j),   G2 = sum_j exp(-eta (r_j - R_s)^2) f(r_j),   G3 = sum_j cos(kappa r_j) f(r_j),
    G4 = sum_{k<j} 2 b^zeta exp(-eta (r_j^2 + r_k^2 + r_jk^2)) f(r_j) f(r_k) f(r_jk),   b = (1 + lambda cos theta) / 2,
    G5 = sum_{k<j} 2 b^zeta exp(-eta (r_j^2 + r_k^2)) f(r_j) f(r_k).

Since ``r_jk = |r_j - r_k|`` all of it is a function of the centre's own pair vectors. Features come as DScribe has
them: for every element, ascending, its G1, G2 ..., G3 ...; then for every pair of elements ``(z, z' <= z)`` its
G4 ..., G5 ....
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from dscribe.descriptors import ACSF
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors.dscribe_settings import acsf_numbers

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SymmetryFunctions:
    """Parameters and order of the symmetry functions of one descriptor.

    Attributes
    ----------
    cutoff : float
    n_slots : int
        Number of elements.
    g2 : ndarray of shape (n_g2, 2)
        ``(eta, R_s)``.
    g3 : ndarray of shape (n_g3,)
        ``kappa``.
    angular : ndarray of shape (n_angular, 3)
        ``(eta, zeta, lambda)`` of every G4, then of every G5.
    n_g4 : int
    """

    cutoff: float
    n_slots: int
    g2: Array
    g3: Array
    angular: Array
    n_g4: int

    @classmethod
    def of(cls, acsf: ACSF) -> SymmetryFunctions:
        """Read a DScribe descriptor."""
        g4, g5 = (np.array(p, dtype=np.float64).reshape(-1, 3) for p in (acsf.g4_params, acsf.g5_params))
        return cls(
            float(acsf.r_cut),
            len(acsf_numbers(acsf)),
            np.array(acsf.g2_params, dtype=np.float64).reshape(-1, 2),
            np.array(acsf.g3_params, dtype=np.float64).reshape(-1),
            np.concatenate([g4, g5]),
            len(g4),
        )

    @property
    def n_radial(self) -> int:
        """Functions of one neighbour, per element."""
        return 1 + len(self.g2) + len(self.g3)

    @property
    def n_angular(self) -> int:
        """Functions of two neighbours, per pair of elements."""
        return len(self.angular)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.n_slots * self.n_radial + self.n_slots * (self.n_slots + 1) // 2 * self.n_angular

    @cached_property
    def offsets(self) -> Index:
        """First angular feature of every pair of species slots, shape (n_slots, n_slots)."""
        a, b = np.indices((self.n_slots, self.n_slots))
        high, low = np.maximum(a, b), np.minimum(a, b)
        first = self.n_slots * self.n_radial + (high * (high + 1) // 2 + low) * self.n_angular
        return np.ascontiguousarray(first, dtype=np.int64)

    @cached_property
    def local_offsets(self) -> Index:
        """Place of :attr:`offsets` among the features of the first slot."""
        rank = np.argsort(np.argsort(self.offsets, axis=1), axis=1)
        return np.ascontiguousarray(self.n_radial + rank * self.n_angular, dtype=np.int64)

    @cached_property
    def of_slot(self) -> list[Tensor]:
        """Per species slot, indices of the features that depend on neighbours in it, ascending."""
        radial, angular = np.arange(self.n_radial), np.arange(self.n_angular)
        return [
            torch.from_numpy(
                np.concatenate(
                    [slot * self.n_radial + radial, (np.sort(self.offsets[slot])[:, None] + angular).reshape(-1)]
                )
            )
            for slot in range(self.n_slots)
        ]

    @cached_property
    def smoothness(self) -> int:
        """Continuous derivatives, wherever atoms are (not on top of each other).

        The cosine ends with a jump of its second derivative, of ``r_jk`` as well: one. For ``|lambda| = 1``, ``b``
        vanishes on a line, like the square of the distance from it; ``b^zeta`` is then smooth for whole ``zeta``, and
        has ``ceil(2 zeta) - 1`` continuous derivatives else.
        """
        _, zeta, lam = self.angular.T
        broken = (np.abs(lam) == 1) & (zeta != np.round(zeta))
        return int(min(1, *np.ceil(2 * zeta[broken]) - 1)) if broken.any() else 1

    def radial(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Functions of one neighbour (p, n_radial) at distances ``r`` (p,), and their derivatives."""
        f, df = (x[:, None] for x in cutoff_function(r, self.cutoff))
        eta, shift = torch.from_numpy(self.g2).T
        kappa, away = torch.from_numpy(self.g3), r[:, None] - shift
        gauss, wave = torch.exp(-eta * away**2), r[:, None] * kappa
        value = torch.cat([torch.ones_like(f), gauss, torch.cos(wave)], 1)
        slope = torch.cat([torch.zeros_like(f), -2 * eta * away * gauss, -kappa * torch.sin(wave)], 1)
        return value * f, slope * f + value * df

    def of_triples(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Functions of two neighbours at ``a`` and ``b`` (t, 3), and their derivatives with respect to ``a``.

        Returns
        -------
        value : Tensor of shape (t, n_angular)
        gradient : Tensor of shape (t, 3, n_angular)
        """
        eta, zeta, lam = torch.from_numpy(self.angular).T
        ra, rb, rab = (torch.linalg.vector_norm(x, dim=1, keepdim=True) for x in (a, b, a - b))
        # Rounding takes collinear neighbours beyond one, where a power of the base would be NaN.
        cos = ((a * b).sum(1, keepdim=True) / (ra * rb)).clamp(-1, 1)
        base = 0.5 * (1 + lam * cos)
        angle = base**zeta
        rest = torch.where(base != 0, base, 1.0) ** (zeta - 1)
        bend = 0.5 * lam * zeta * torch.where((base != 0) | (zeta == 1), rest, 0.0)
        closed = torch.arange(self.n_angular) < self.n_g4
        (fa, da), (fb, _), (fab, dab) = (cutoff_function(x, self.cutoff) for x in (ra, rb, rab))
        spread = torch.exp(-eta * (ra**2 + rb**2 + torch.where(closed, rab**2, 0.0)))
        f = fa * fb * torch.where(closed, fab, 1.0)
        # Derivatives of the product of cutoffs along a, over the length they belong to.
        own = da / ra * fb * torch.where(closed, fab, 1.0) - 2 * eta * f
        far = torch.where(closed, fa * fb * dab / torch.where(rab > 0, rab, 1.0) - 2 * eta * f, 0.0)
        along = torch.einsum("tf,ta->taf", own, a) + torch.einsum("tf,ta->taf", far, a - b)
        turn = b / (ra * rb) - cos * a / ra**2
        gradient = angle[:, None] * along + turn[:, :, None] * (bend * f)[:, None]
        return 2 * angle * spread * f, 2 * spread[:, None] * gradient


def cutoff_function(r: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """``(cos(pi r / cutoff) + 1) / 2`` and its derivative; zeros beyond the cutoff."""
    x = math.pi / cutoff * r.clamp(max=cutoff)
    return torch.where(r < cutoff, 0.5 * (torch.cos(x) + 1), 0.0), -0.5 * math.pi / cutoff * torch.sin(x)
