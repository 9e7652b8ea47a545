"""Functions of the cosine against their power series, and draws against the covariance they are to have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from kernpot.kernels import CosineFunction, Power
from tests.doors.exponential_kernel import Exponential

FUNCTIONS = {"1": Power(1), "2": Power(2), "3": Power(3), "6": Power(6), "exponential": Exponential(0.7)}


class Mixed(CosineFunction):
    """``0.2 + 0.5 s + 0.3 s^2``: a constant, a linear and a quadratic part."""

    def value(self, s: Tensor) -> Tensor:
        return 0.2 + 0.5 * s + 0.3 * s**2

    def slope(self, s: Tensor) -> Tensor:
        return 0.5 + 0.6 * s

    def curvature(self, s: Tensor) -> Tensor:
        return torch.full_like(s, 0.6)

    @property
    def coefficients(self) -> Sequence[float]:
        return 0.2, 0.5, 0.3


def units(rng: np.random.Generator, n: int, n_features: int = 4) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, n_features)) + 0.4), dim=1)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_values_and_derivatives_are_those_of_the_power_series(function: CosineFunction) -> None:
    s = torch.linspace(-1.0, 1.0, 21, dtype=torch.float64)
    series = np.polynomial.Polynomial(function.coefficients)
    for derivative, found in enumerate((function.value(s), function.slope(s), function.curvature(s))):
        expected = series.deriv(derivative)(s.numpy()) if derivative else series(s.numpy())
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=5e-6 if function.power is None else 1e-13)


@pytest.mark.parametrize("n", [1, 9])  # few environments are seen in a basis of their span, many are not
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_energies_are_sums_over_environments(rng: np.random.Generator, function: CosineFunction, n: int) -> None:
    environments, weights, u = units(rng, n), torch.from_numpy(rng.normal(size=(2, n))), units(rng, 3)
    basis = torch.linalg.qr(torch.from_numpy(rng.normal(size=(6, 4)))).Q
    wide = units(rng, 3, 6)
    for own, seen, found in (
        (None, u, u @ environments.T),
        (basis, wide, wide @ (environments @ basis.T).T),
    ):
        energies, _ = function.energies(environments, weights, own)(seen)
        torch.testing.assert_close(energies, function.value(found) @ weights.T, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("function", "excess"), [(Mixed(), 0.0), (Power(3), 3.0**4 / 512)], ids=["mixed", "cubic"])
def test_draws_have_the_covariance_of_the_kernel(rng: np.random.Generator, function, excess: float) -> None:
    u, n = units(rng, 4), 1500
    generator = torch.Generator().manual_seed(0)
    samples = torch.cat([function.draw(4, generator)(u)[0] for _ in range(n)], 1).T
    expected = function.value(u @ u.T)
    variance = expected.diagonal()
    error = ((variance[:, None] * variance * (1 + excess) + expected**2) / n).sqrt()
    assert float((samples.mean(0) / (variance / n).sqrt()).abs().max()) < 4.5
    assert float(((samples.T @ samples / n - expected) / error).abs().max()) < 4.5


def test_the_amplitude_of_a_function_is_the_prior_deviation_of_an_energy() -> None:
    for function in [*FUNCTIONS.values(), Mixed()]:
        assert float(function.value(torch.ones(1, dtype=torch.float64))) == pytest.approx(1.0, abs=1e-12)
        assert math.fsum(function.coefficients) == pytest.approx(1.0, abs=1e-7)


def test_a_function_without_coefficients_is_refused_as_a_covariance() -> None:
    class Nothing(Mixed):
        @property
        def coefficients(self) -> Sequence[float]:
            return 0.0, 0.0

    with pytest.raises(ValueError, match="no coefficient above zero"):
        Nothing().draw(3, torch.Generator())
