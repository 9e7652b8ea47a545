"""Radial part of DScribe's GTO basis and its neighbour weighting, with derivatives.

DScribe expands a Gaussian of width ``sigma`` on each neighbour in primitive Gaussians ``r^l exp(-alpha r^2)``.
The overlap integral is analytic: with ``eta = 1 / (2 sigma^2)``, a neighbour at distance ``r`` contributes

    g_nl(r) r^l,   g_nl(r) = sum_n' beta_nn'l (pi / (alpha_n'l + eta))^(3/2) (eta / (alpha_n'l + eta))^l
                              * exp(-alpha_n'l eta / (alpha_n'l + eta) r^2)

(Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013); basis of Jaeger et al., npj Comput. Mater. 4, 37 (2018)).
The factor ``r^l`` is left to the solid harmonics, so nothing is singular at ``r = 0``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from dscribe.descriptors import SOAP
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors.dscribe_settings import soap_settings
from kernpot.errors import DescriptorError

# DScribe pads its search radius until a Gaussian has decayed to this value (SOAP.get_cutoff_padding).
_PADDING_THRESHOLD = 1e-3


@dataclass(frozen=True)
class Weighting:
    """DScribe's weighting ``w(r)`` of a neighbour's density by its distance.

    Attributes
    ----------
    function : str or None
        ``"poly"``, ``"pow"``, ``"exp"`` or None (no weighting).
    r0, c, d, m : float
        Parameters as named in :class:`dscribe.descriptors.SOAP`.
    w0 : float or None
        Weight of an atom exactly on the centre, when it overrides ``w(0)``.
    """

    function: str | None
    r0: float = 1.0
    c: float = 1.0
    d: float = 0.0
    m: float = 0.0
    w0: float | None = None

    @classmethod
    def of(cls, soap: SOAP) -> Weighting:
        """Read the weighting of a DScribe descriptor.

        Raises
        ------
        DescriptorError
            The weighting is infinite on the central atom.
        """
        given = soap_settings(soap).weighting
        names = ("r0", "c", "d", "m", "w0")
        weighting = cls(given.get("function"), **{k: given[k] for k in names if k in given})
        if not math.isfinite(weighting.at_centre()):
            raise DescriptorError(
                "the weighting c / (d + (r / r0)^m) with d = 0 is infinite on the central atom, where DScribe gives "
                "NaN. Give d > 0, or the central atom's weight as 'w0'."
            )
        return weighting

    def at_centre(self) -> float:
        """Weight of the central atom in its own density."""
        return float(self(torch.zeros(1, dtype=torch.float64))[0])

    def __call__(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and its derivative at distances ``r`` (Angstrom)."""
        if self.function is None:
            w, dw = torch.ones_like(r), torch.zeros_like(r)
        elif self.function == "poly":
            x = (r / self.r0).clamp(max=1.0)
            base = (1 - x) ** 2 * (1 + 2 * x)  # 1 + 2 x^3 - 3 x^2 without its cancellation at the cutoff
            w = self.c * base**self.m
            if self.m == 0:
                w, dw = torch.where(r > self.r0, 0.0, w), torch.zeros_like(r)
            else:
                # For m < 1/2 the derivative diverges at r0; such a weighting is refused for forces.
                power = torch.where(base > 0, base, 1.0) ** (self.m - 1)
                dw = torch.where(base > 0, self.c * self.m * power * (6 * x**2 - 6 * x) / self.r0, 0.0)
        elif self.function == "pow":
            x = r / self.r0
            denominator = self.d + x**self.m
            w = self.c / denominator
            slope = self.m * torch.where(x > 0, x, 1.0) ** (self.m - 1) / self.r0
            dw = torch.where(x > 0, -w / denominator * slope, 0.0)
        else:
            decay = torch.exp(-r / self.r0)
            w = self.c / (self.d + decay)
            dw = w / (self.d + decay) * decay / self.r0
        if self.w0 is not None:
            w = torch.where(r == 0, self.w0, w)
        return w, dw


class GTORadial:
    """Weighted radial functions of a DScribe SOAP with ``rbf="gto"``.

    Parameters
    ----------
    soap : dscribe.descriptors.SOAP
        The descriptor whose ``alpha``, ``beta``, ``eta`` and weighting are used as they are.
    """

    def __init__(self, soap: SOAP) -> None:
        settings = soap_settings(soap)
        alpha, beta = torch.from_numpy(settings.alphas), torch.from_numpy(settings.betas)
        eta = settings.eta
        degree = torch.arange(len(alpha), dtype=torch.float64)[:, None]
        scale = (math.pi / (alpha + eta)) ** 1.5 * (eta / (alpha + eta)) ** degree
        self.n_max, self.l_max = settings.n_max, settings.l_max
        self.weighting = Weighting.of(soap)
        self.exponent = (alpha * eta / (alpha + eta)).reshape(-1)
        self.mix = (beta * scale[:, None, :]).transpose(1, 2).contiguous()  # (l, n', n)

    def __call__(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Values and radial derivatives ``w(r) g_nl(r)`` for distances ``r``.

        Parameters
        ----------
        r : Tensor of shape (p,), Angstrom

        Returns
        -------
        value, derivative : Tensor of shape (l_max + 1, p, n_max)
        """
        w, dw = self.weighting(r)
        primitive = torch.exp(-torch.outer(r * r, self.exponent))
        slope = primitive * (-2.0 * self.exponent) * r[:, None]
        shape = (len(r), self.l_max + 1, self.n_max)
        g = torch.bmm(primitive.view(shape).transpose(0, 1), self.mix)
        dg = torch.bmm(slope.view(shape).transpose(0, 1), self.mix)
        return w[None, :, None] * g, w[None, :, None] * dg + dw[None, :, None] * g

    def extended(self, r: NDArray[np.longdouble]) -> tuple[NDArray[np.longdouble], NDArray[np.longdouble]]:
        """``g_nl(r)`` without the weighting, and derivatives, in extended precision: the sums over primitives cancel.

        Returns
        -------
        value, derivative : ndarray of shape (p, l_max + 1, n_max)
        """
        primitive = np.exp(-np.outer(r * r, self.exponent.numpy())).reshape(len(r), self.l_max + 1, -1)
        slope = primitive * (-2.0 * self.exponent.numpy().reshape(self.l_max + 1, -1)) * r[:, None, None]
        mix = self.mix.numpy().astype(np.longdouble)
        g, dg = (np.einsum("plk,lkn->pln", f, mix) for f in (primitive, slope))
        return g, dg

    def taylor(self, r: NDArray[np.float64], degree: int, scale: float) -> NDArray[np.float64]:
        """Taylor coefficients of ``g_nl(r + scale t)``, without the weighting, in powers of ``t``.

        Of a primitive ``f = exp(-a r^2)`` they follow from ``f' = -2 a r f``.

        Returns
        -------
        ndarray of shape (p, degree + 1, (l_max + 1) * n_max)
        """
        a, x = self.exponent.numpy().astype(np.longdouble), r.astype(np.longdouble)[:, None]
        terms = [np.exp(-a * x * x)]
        previous = np.zeros_like(terms[0])
        for k in range(degree):
            terms.append(-2 * a * scale * (x * terms[-1] + scale * previous) / (k + 1))
            previous = terms[-2]
        primitives = np.stack(terms, 1).reshape(len(r), degree + 1, self.l_max + 1, -1)
        mixed = np.einsum("pdlk,lkn->pdln", primitives, self.mix.numpy().astype(np.longdouble))
        return np.asarray(mixed.reshape(len(r), degree + 1, -1).astype(np.float64))


def search_radius(soap: SOAP) -> float:
    """Distance (Angstrom) beyond which DScribe sees no neighbour: ``r_cut`` plus the padding of a Gaussian's tail."""
    settings = soap_settings(soap)
    return settings.r_cut + settings.sigma * math.sqrt(-2.0 * math.log(_PADDING_THRESHOLD))


def effective_cutoff(soap: SOAP) -> float:
    """Distance (Angstrom) beyond which a neighbour contributes nothing to the features."""
    weighting = Weighting.of(soap)
    radius = search_radius(soap)
    return min(radius, weighting.r0) if weighting.function == "poly" else radius


def smoothness(soap: SOAP) -> int:
    """Number of continuous derivatives at the cutoff: -1 for a jump, 1 for continuous forces, 2 or more for phonons.

    ``(1 + 2 x^3 - 3 x^2)^m`` vanishes like ``(1 - x)^(2 m)``, so ``ceil(2 m) - 1`` derivatives are continuous. Kernels
    see features scaled to unit length: where the central atom weighs nothing, the first neighbour to cross the cutoff
    turns the zero vector into one of length one, a jump whatever the weighting.
    """
    weighting = Weighting.of(soap)
    if weighting.function != "poly" or weighting.r0 > search_radius(soap):
        return -1
    if weighting.at_centre() == 0 or not soap_settings(soap).species_weights.all():
        return -1
    return math.ceil(2 * weighting.m) - 1
