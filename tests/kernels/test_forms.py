"""Forms against the sums they stand for, their gradients against finite differences, and their algebra."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from kernpot.kernels.forms import (
    Constants,
    CosineSums,
    LinearForms,
    LocalEnergies,
    PowerSums,
    QuadraticForms,
    RandomProducts,
    Scaled,
    Sum,
    added,
    together,
)
from tests.helpers.soaps import central_difference

FEATURES, K = 5, 3
NAMES = ("linear", "quadratic", "quadratic in a basis", "powers", "powers in a basis", "cosines", "constants", "random")


def tensor(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.from_numpy(rng.normal(size=shape))


def form(name: str, seed: int = 0) -> LocalEnergies:
    """K random functions of one form."""
    rng = np.random.default_rng(seed)
    basis = torch.linalg.qr(tensor(rng, FEATURES, 2)).Q
    square, small = tensor(rng, K, FEATURES, FEATURES), tensor(rng, K, 2, 2)
    signs = [torch.from_numpy(rng.choice([-1, 1], (3, 6, FEATURES)).astype(np.int8)) for _ in range(K)]
    made: dict[str, LocalEnergies] = {
        "linear": LinearForms(tensor(rng, K, FEATURES)),
        "quadratic": QuadraticForms(list(square + square.mT)),
        "quadratic in a basis": QuadraticForms(list(small + small.mT), basis),
        "powers": PowerSums(tensor(rng, 4, FEATURES), tensor(rng, K, 4), 3),
        "powers in a basis": PowerSums(tensor(rng, 4, 2), tensor(rng, K, 4), 3, basis),
        "cosines": CosineSums(tensor(rng, 4, 2), tensor(rng, K, 4), torch.sin, torch.cos, basis),
        "constants": Constants(tensor(rng, K)),
        "random": RandomProducts(signs, [tensor(rng, 6) for _ in range(K)]),
    }
    return made[name]


def value(function: LocalEnergies, u: Tensor) -> np.ndarray:
    return function(u)[0].numpy().copy()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_energies(rng: np.random.Generator, name: str) -> None:
    function, u, direction = form(name), tensor(rng, 4, FEATURES), tensor(rng, 4, FEATURES)
    for f in (function, Scaled(function, -1.7), Sum(function, form("powers", 1))):
        slope = central_difference(lambda t, f=f: value(f, u + t * direction), 1e-2)
        along = torch.einsum("nkf,nf->nk", f(u)[1], direction)
        np.testing.assert_allclose(along, slope, rtol=0, atol=1e-8 * (1 + np.abs(slope).max()))


def test_energies_are_the_sums_written_by_hand(rng: np.random.Generator) -> None:
    environments, weights, u = tensor(rng, 4, FEATURES), tensor(rng, K, 4), tensor(rng, 2, FEATURES)
    basis = torch.linalg.qr(tensor(rng, FEATURES, 3)).Q
    inside = environments @ basis  # what is left of the environments in these directions
    expected = np.zeros((3, 2, K))
    for i, k, m in product(range(2), range(K), range(4)):
        expected[0, i, k] += weights[k, m] * float(u[i] @ environments[m]) ** 5
        expected[1, i, k] += weights[k, m] * float(u[i] @ (basis @ inside[m])) ** 5
        expected[2, i, k] += weights[k, m] * np.exp(float(u[i] @ environments[m]))
    np.testing.assert_allclose(value(PowerSums(environments, weights, 5), u), expected[0], rtol=1e-11)
    np.testing.assert_allclose(value(PowerSums(inside, weights, 5, basis), u), expected[1], rtol=1e-11)
    np.testing.assert_allclose(value(CosineSums(environments, weights, torch.exp, torch.exp), u), expected[2])
    signs = torch.tensor([[[1, -1], [1, 1]], [[1, 1], [-1, 1]]], dtype=torch.int8)  # (x - y)(x + y), (x + y)(y - x)
    products = RandomProducts([signs], [torch.tensor([2.0, 3.0], dtype=torch.float64)])
    x, y = u[:, 0], u[:, 1]
    np.testing.assert_allclose(value(products, u[:, :2])[:, 0], 2 * (x**2 - y**2) + 3 * (y**2 - x**2), rtol=1e-12)


def test_a_product_with_a_factor_of_zero_keeps_its_gradient() -> None:
    """Of ``(x - y)(x + y)`` at ``x = y`` one factor vanishes, and the gradient ``(2 x, -2 y)`` does not."""
    signs = torch.tensor([[[1, -1]], [[1, 1]]], dtype=torch.int8)
    energies, gradient = RandomProducts([signs], [torch.ones(1, dtype=torch.float64)])(torch.full((1, 2), 0.5).double())
    assert energies.tolist() == [[0.0]]
    assert gradient.tolist() == [[[1.0, -1.0]]]


@pytest.mark.parametrize("second", [name for name in NAMES if "basis" not in name])  # priors have none
@pytest.mark.parametrize("first", NAMES)
def test_added_functions_are_the_sum(rng: np.random.Generator, first: str, second: str) -> None:
    u, a, b = tensor(rng, 4, FEATURES), form(first, 1), form(second, 2)
    expected = [x + 0.7 * y for x, y in zip(a(u), b(u), strict=True)]
    for found, wanted in zip(added(a, b, 0.7)(u), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_functions_taken_apart_and_put_together_are_the_same(rng: np.random.Generator, name: str) -> None:
    u, function = tensor(rng, 4, FEATURES), form(name)
    singles = [function.chosen(slice(k, k + 1)) for k in (2, 0)]
    mixed = together([*singles, form("linear", 3).chosen(slice(0, 1))])
    for whole, alike, unlike, other in zip(
        function(u), together(singles)(u), mixed(u), form("linear", 3)(u), strict=True
    ):
        torch.testing.assert_close(alike, whole[:, [2, 0]])
        torch.testing.assert_close(unlike, torch.cat([whole[:, [2, 0]], other[:, :1]], 1))
    for some, all_ in zip(mixed.chosen(slice(1, 3))(u), mixed(u), strict=True):
        torch.testing.assert_close(some, all_[:, 1:])


def test_a_sum_leaves_its_parts_alone() -> None:
    first, second = (QuadraticForms([torch.eye(2, dtype=torch.float64)]) for _ in range(2))
    u = torch.ones((1, 2), dtype=torch.float64)
    assert float(added(first, second, 10.0)(u)[0]) == 22.0
    assert float(first(u)[0]) == float(second(u)[0]) == 2.0
