"""Functions of the cosine between environments: what a kernel is made of, and all that the rest asks of it.

A covariance ``f(u . u')`` of unit features is one in any number of dimensions if and only if ``f(s) = sum_p c_p s^p``
with ``c_p >= 0`` (Schoenberg, Duke Math. J. 9, 96 (1942)). Functions here are normalised, ``f(1) = 1``: a kernel's
amplitude is then the prior standard deviation of an atom's energy.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kernpot.errors import KernpotError
from kernpot.kernels.forms import (
    Constants,
    CosineSums,
    LinearForms,
    LocalEnergies,
    PowerSums,
    QuadraticForms,
    RandomProducts,
    added,
)
from kernpot.kernels.powers import LARGEST, is_power, power, power_slope

# Products in a function drawn from the prior of a power above two; of a power series, shared out by their weight, but
# never fewer for a power than so many.
_PRODUCTS, _FEWEST = 512, 8


class CosineFunction(ABC):
    """A function ``f`` of the cosine; a new one gives its value, two derivatives, and its power series.

    Attributes
    ----------
    power : int or None
        The power where ``f`` is one: sums over environments then have shortcuts.
    """

    power: int | None = None

    @abstractmethod
    def value(self, s: Tensor) -> Tensor:
        """``f(s)``, element by element."""

    @abstractmethod
    def slope(self, s: Tensor) -> Tensor:
        """``f'(s)``."""

    @abstractmethod
    def curvature(self, s: Tensor) -> Tensor:
        """``f''(s)``."""

    @property
    @abstractmethod
    def coefficients(self) -> Sequence[float]:
        """``c_p >= 0`` for ``p = 0, 1, ...``, as many as matter: draws from the prior are made with them."""

    def energies(self, environments: Tensor, weights: Tensor, basis: Tensor | None) -> LocalEnergies:
        """Functions ``sum_m w_km f(u . u_m)`` of unit features.

        Parameters
        ----------
        environments : Tensor of shape (m, q)
        weights : Tensor of shape (K, m)
        basis : Tensor of shape (n_features, q), optional
            Directions that the environments are coordinates in.
        """
        environments, basis = in_few_directions(environments, basis)
        return CosineSums(environments, weights, self.value, self.slope, basis)

    def draw(self, n_features: int, generator: torch.Generator) -> LocalEnergies:
        """One function from the prior of unit amplitude, by the power series."""
        total: LocalEnergies | None = None
        high = sum(self.coefficients[3:])
        for p, c in enumerate(self.coefficients):
            if c > 0:
                term: LocalEnergies
                if p > 2:
                    term = _products(p, max(_FEWEST, round(_PRODUCTS * c / high)), n_features, generator)
                else:
                    term = Power(p).draw(n_features, generator) if p else _constant(generator)
                total = added(total or Constants(torch.zeros(1, dtype=torch.float64)), term, math.sqrt(c))
        if total is None:
            raise ValueError(f"{self!r} has no coefficient above zero, so it is no covariance")
        return total


@dataclass(frozen=True)
class Power(CosineFunction):
    """``s^zeta``.

    Functions drawn from its prior are

        zeta = 1    g . u,        g ~ N(0, I)
        zeta = 2    u^T G u,      G_ij ~ N(0, 1) independent
        zeta > 2    S^(-1/2) sum_s e_s prod_(j=1..zeta) r_sj . u,    e_s ~ N(0, 1),   r_sj of random signs

    The first two are exact: ``E (u^T G u)(u'^T G u') = sum_ij u_i u_j u'_i u'_j = (u.u')^2``, and ``u^T G u`` does not
    notice when ``G`` is made symmetric. The third (random Maclaurin features; Kar and Karnick, AISTATS 2012) has the
    prior's covariance exactly when its signs are drawn anew for every function, which they are. It is Gaussian only for
    many products: the excess kurtosis of a value is below ``3^(zeta + 1) / S``.

    Parameters
    ----------
    power : int
        ``zeta``, from 1 to 100.

    Raises
    ------
    KernpotError
        For any other.
    """

    power: int

    def __post_init__(self) -> None:
        if not is_power(self.power):
            raise KernpotError(f"power must be a positive integer, at most {LARGEST}, got {self.power!r}.")

    def value(self, s: Tensor) -> Tensor:
        """``s^zeta``."""
        return power(s, self.power)

    def slope(self, s: Tensor) -> Tensor:
        """``zeta s^(zeta - 1)``."""
        return power_slope(s, self.power)

    def curvature(self, s: Tensor) -> Tensor:
        """``zeta (zeta - 1) s^(zeta - 2)``."""
        return torch.zeros_like(s) if self.power == 1 else self.power * power_slope(s, self.power - 1)

    @property
    def coefficients(self) -> Sequence[float]:
        """One, at the power."""
        return (*(0.0,) * self.power, 1.0)

    def energies(self, environments: Tensor, weights: Tensor, basis: Tensor | None) -> LocalEnergies:
        """Linear and quadratic forms for the first two powers, see :mod:`kernpot.kernels.forms`."""
        if self.power == 1:
            vectors = weights @ environments
            return LinearForms(vectors if basis is None else vectors @ basis.T)
        environments, basis = in_few_directions(environments, basis)
        if self.power == 2:
            return QuadraticForms([environments.T @ (w[:, None] * environments) for w in weights], basis)
        return PowerSums(environments, weights, self.power, basis)

    def draw(self, n_features: int, generator: torch.Generator) -> LocalEnergies:
        """One function from the prior of unit amplitude."""
        normal: dict[str, Any] = {"dtype": torch.float64, "generator": generator}
        if self.power == 1:
            return LinearForms(torch.randn((1, n_features), **normal))
        if self.power == 2:
            form = torch.randn((n_features, n_features), **normal)
            return QuadraticForms([0.5 * (form + form.T)])
        return _products(self.power, _PRODUCTS, n_features, generator)


def in_few_directions(environments: Tensor, basis: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Few environments in a basis of their span, which is small; others as they are."""
    if basis is None and 2 * len(environments) < environments.shape[1]:
        basis, triangle = torch.linalg.qr(environments.T)
        environments = triangle.T.contiguous()
    return environments, basis


def _products(power: int, n: int, n_features: int, generator: torch.Generator) -> RandomProducts:
    """A function from the prior of a power above two."""
    signs = torch.randint(0, 2, (power, n, n_features), dtype=torch.int8, generator=generator).mul_(2).sub_(1)
    weights = torch.randn(n, dtype=torch.float64, generator=generator)
    return RandomProducts([signs], [weights / math.sqrt(n)])


def _constant(generator: torch.Generator) -> LocalEnergies:
    return Constants(torch.randn(1, dtype=torch.float64, generator=generator))
