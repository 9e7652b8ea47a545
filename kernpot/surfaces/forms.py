"""Energies of environments as functions of their unit features: several functions of one form at once.

For ``zeta = 2`` a posterior mean or draw is a quadratic form ``u^T A u``, ``A = sum_m w_m u_m u_m^T``, whatever the
number of inducing environments. The weights of nearly dependent environments are large and of both signs (1e6 eV and
more for energies of 1 eV); in the form they cancel once and for all, instead of anew, and with another rounding error,
for every environment: energies are then smooth to 1e-13 eV rather than 1e-9. For ``zeta = 1`` the form is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from kernpot.functionals.rows import power_slope
from kernpot.functionals.state import InducingBlock


class LocalEnergies(Protocol):
    """K functions of (unit) features, with their gradients."""

    def __call__(self, u: Tensor, /) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features), to keep, at features (n, n_features)."""

    def chosen(self, which: slice) -> Self:
        """Some of the functions; shares memory."""


class LinearForms:
    """``v_k . u``.

    Parameters
    ----------
    vectors : Tensor of shape (K, n_features)
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        return u @ self.vectors.T, self.vectors.expand(len(u), -1, -1).clone()

    def chosen(self, which: slice) -> LinearForms:
        """Some of the functions; shares memory."""
        return LinearForms(self.vectors[which])


class QuadraticForms:
    """``v^T A_k v`` of ``v = u``, or of its coordinates in a basis.

    Parameters
    ----------
    forms : sequence of K Tensors of shape (q, q)
        Symmetric.
    basis : Tensor of shape (n_features, q), optional
        Orthonormal directions.
    """

    def __init__(self, forms: Sequence[Tensor], basis: Tensor | None = None) -> None:
        self.forms, self.basis = list(forms), basis

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        v = u if self.basis is None else u @ self.basis
        half = v.new_empty((len(v), len(self.forms), v.shape[1]))
        for k, form in enumerate(self.forms):
            torch.mm(v, form, out=half[:, k])
        energies = (half * v[:, None]).sum(2)
        slope = half.mul_(2.0)
        return energies, slope if self.basis is None else slope @ self.basis.T

    def in_all_directions(self) -> QuadraticForms:
        """The same with forms (n_features, n_features)."""
        basis = self.basis
        return self if basis is None else QuadraticForms([basis @ form @ basis.T for form in self.forms])

    def chosen(self, which: slice) -> QuadraticForms:
        """Some of the functions; shares memory."""
        return QuadraticForms(self.forms[which], self.basis)


class PowerSums:
    """``sum_m w_km (u . u_m)^zeta``.

    Parameters
    ----------
    environments : Tensor of shape (m, q)
    weights : Tensor of shape (K, m)
    zeta : int
    basis : Tensor of shape (n_features, q), optional
        Directions that the environments are coordinates in.
    """

    def __init__(self, environments: Tensor, weights: Tensor, zeta: int, basis: Tensor | None = None) -> None:
        self.environments, self.weights, self.zeta, self.basis = environments, weights, zeta, basis

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        v = u if self.basis is None else u @ self.basis
        s = v @ self.environments.T
        slope = power_slope(s, self.zeta)[:, None] * self.weights
        energies = (slope * s[:, None]).sum(2) / self.zeta
        slope = slope @ self.environments
        return energies, slope if self.basis is None else slope @ self.basis.T

    def chosen(self, which: slice) -> PowerSums:
        """Some of the functions; shares memory."""
        return PowerSums(self.environments, self.weights[which], self.zeta, self.basis)


class Sum:
    """Sum of two kinds of functions."""

    def __init__(self, first: LocalEnergies, second: LocalEnergies) -> None:
        self.first, self.second = first, second

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        energies, slope = self.first(u)
        more, steeper = self.second(u)
        return energies + more, slope.add_(steeper)

    def chosen(self, which: slice) -> Sum:
        """Some of the functions; shares memory."""
        return Sum(self.first.chosen(which), self.second.chosen(which))


def weighted(block: InducingBlock, weights: Tensor) -> LocalEnergies:
    """Functions ``sum_m w_km k(u, u_m)`` of one inducing block.

    Parameters
    ----------
    block : InducingBlock
    weights : Tensor of shape (K, m)
        Weights of the block's (unwhitened, unit-amplitude) rows, eV.
    """
    if block.zeta == 1:
        return LinearForms(block.combined(weights))
    basis, environments = block.basis, block.environments
    if basis is None and 2 * len(environments) < environments.shape[1]:
        # Few environments span few directions.
        basis, triangle = torch.linalg.qr(environments.T)
        environments = triangle.T.contiguous()
    if block.zeta == 2:
        return QuadraticForms([environments.T @ (w[:, None] * environments) for w in weights], basis)
    return PowerSums(environments, weights, block.zeta, basis)


class RandomProducts:
    """Functions ``sum_s c_ks prod_j r_ksj . u``.

    Parameters
    ----------
    signs : sequence of K Tensors of shape (zeta, S, n_features), int8
    coefficients : sequence of K Tensors of shape (S,)
    """

    def __init__(self, signs: Sequence[Tensor], coefficients: Sequence[Tensor]) -> None:
        self.signs, self.coefficients = list(signs), list(coefficients)

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        energies = u.new_empty((len(u), len(self.signs)))
        gradients = u.new_empty((len(u), len(self.signs), u.shape[1]))
        for k, (signs, c) in enumerate(zip(self.signs, self.coefficients, strict=True)):
            directions = signs.to(u.dtype).flatten(0, 1)
            factors = (u @ directions.T).unflatten(1, signs.shape[:2])
            # Products of all factors but one, without a division by it.
            before = torch.cat([torch.ones_like(factors[:, :1]), factors[:, :-1]], 1).cumprod(1)
            after = torch.cat([torch.ones_like(factors[:, :1]), factors[:, 1:].flip(1)], 1).cumprod(1).flip(1)
            others = before * after * c
            energies[:, k] = (others[:, 0] * factors[:, 0]).sum(1)
            torch.mm(others.flatten(1), directions, out=gradients[:, k])
        return energies, gradients

    def chosen(self, which: slice) -> RandomProducts:
        """Some of the functions; shares memory."""
        return RandomProducts(self.signs[which], self.coefficients[which])
