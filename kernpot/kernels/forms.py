"""Energies of environments as functions of their unit features: several functions of one form at once.

For ``zeta = 2`` a posterior mean or draw is a quadratic form ``u^T A u``, ``A = sum_m w_m u_m u_m^T``, whatever the
number of inducing environments. The weights of nearly dependent environments are large and of both signs (1e6 eV and
more for energies of 1 eV); in the form they cancel once and for all, instead of anew, and with another rounding error,
for every environment: energies are then smooth to 1e-13 eV rather than 1e-9. For ``zeta = 1`` the form is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from kernpot.kernels.powers import power_slope

Elementwise = Callable[[Tensor], Tensor]


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
        """Energies (n, K) and gradients (n, K, n_features), in the precision of the forms."""
        u = u.to(self.forms[0].dtype)
        v = u if self.basis is None else u @ self.basis
        half = v.new_empty((len(v), len(self.forms), v.shape[1]))
        for k, form in enumerate(self.forms):
            torch.mm(v, form, out=half[:, k])
        energies = (half * v[:, None]).sum(2)
        slope = half.mul_(2.0)
        return energies, slope if self.basis is None else slope @ self.basis.T

    def single(self) -> QuadraticForms:
        """The same in single precision."""
        return QuadraticForms([f.float() for f in self.forms], None if self.basis is None else self.basis.float())

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


class CosineSums:
    """``sum_m w_km f(u . u_m)`` of any function of the cosine.

    Parameters
    ----------
    environments : Tensor of shape (m, q)
    weights : Tensor of shape (K, m)
    value, slope : callable
        ``f`` and its derivative.
    basis : Tensor of shape (n_features, q), optional
        Directions that the environments are coordinates in.
    """

    def __init__(
        self, environments: Tensor, weights: Tensor, value: Elementwise, slope: Elementwise, basis: Tensor | None = None
    ) -> None:
        self.environments, self.weights, self.basis = environments, weights, basis
        self.value, self.slope = value, slope

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        s = (u if self.basis is None else u @ self.basis) @ self.environments.T
        slope = (self.slope(s)[:, None] * self.weights) @ self.environments
        return self.value(s) @ self.weights.T, slope if self.basis is None else slope @ self.basis.T

    def chosen(self, which: slice) -> CosineSums:
        """Some of the functions; shares memory."""
        return CosineSums(self.environments, self.weights[which], self.value, self.slope, self.basis)


class Constants:
    """The same energy everywhere, ``c_k``.

    Parameters
    ----------
    values : Tensor of shape (K,)
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        return self.values.expand(len(u), -1).clone(), u.new_zeros((len(u), len(self.values), u.shape[1]))

    def chosen(self, which: slice) -> Constants:
        """Some of the functions; shares memory."""
        return Constants(self.values[which])


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


class Scaled:
    """Functions times a number.

    Parameters
    ----------
    functions : LocalEnergies
    factor : float
    """

    def __init__(self, functions: LocalEnergies, factor: float) -> None:
        self.functions, self.factor = functions, factor

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        energies, slope = self.functions(u)
        return energies * self.factor, slope * self.factor

    def chosen(self, which: slice) -> Scaled:
        """Some of the functions; shares memory."""
        return Scaled(self.functions.chosen(which), self.factor)


class Together:
    """Several functions of one form or of many, one after the other.

    Parameters
    ----------
    functions : sequence of LocalEnergies
        Of a single function each.
    """

    def __init__(self, functions: Sequence[LocalEnergies]) -> None:
        self.functions = list(functions)

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) and gradients (n, K, n_features)."""
        energies, slopes = zip(*(f(u) for f in self.functions), strict=True)
        return torch.cat(energies, 1), torch.cat(slopes, 1)

    def chosen(self, which: slice) -> Together:
        """Some of the functions; shares memory."""
        return Together(self.functions[which])


def together(functions: Sequence[LocalEnergies]) -> LocalEnergies:
    """Single functions as one form of all of them; what has a form for several is evaluated at once."""
    if all(isinstance(f, LinearForms) for f in functions):
        return LinearForms(torch.cat([f.vectors for f in functions if isinstance(f, LinearForms)]))
    if all(isinstance(f, QuadraticForms) and f.basis is None for f in functions):
        return QuadraticForms([form for f in functions if isinstance(f, QuadraticForms) for form in f.forms])
    if all(isinstance(f, RandomProducts) for f in functions):
        products = [f for f in functions if isinstance(f, RandomProducts)]
        return RandomProducts([s for p in products for s in p.signs], [c for p in products for c in p.coefficients])
    return Together(functions)


def added(first: LocalEnergies, second: LocalEnergies, factor: float) -> LocalEnergies:
    """``first + factor second``, function by function; linear and quadratic forms stay what they are."""
    if isinstance(first, LinearForms) and isinstance(second, LinearForms):
        return LinearForms(first.vectors + factor * second.vectors)
    if isinstance(first, QuadraticForms) and isinstance(second, QuadraticForms):
        own = first.in_all_directions().forms
        return QuadraticForms([torch.add(a, g, alpha=factor) for a, g in zip(own, second.forms, strict=True)])
    if isinstance(second, RandomProducts):
        return Sum(first, RandomProducts(second.signs, [factor * c for c in second.coefficients]))
    return Sum(first, Scaled(second, factor))
