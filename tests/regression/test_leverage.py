"""A structure left out by a matrix of its labels and by one of inducing environments: the same."""

from __future__ import annotations

import pytest
import torch

from kernpot.errors import NumericalError
from kernpot.regression.leverage import WithoutStructure, inverse_root

F64 = torch.float64
M = 9


def half_of(n: int, largest: float, least: float = 1e-6) -> torch.Tensor:
    """Columns (M, n) whose leverages lie between two numbers, evenly in the logarithm of what is left of one."""
    generator = torch.Generator().manual_seed(n)
    k = min(M, n)
    left, right = (torch.linalg.qr(torch.randn(size, k, dtype=F64, generator=generator))[0] for size in (M, n))
    leverage = 1 - torch.logspace(*(float(torch.tensor(1 - x, dtype=F64).log10()) for x in (least, largest)), k)
    return (left * leverage.to(F64).sqrt()) @ right.mT


def labels(n: int) -> torch.Tensor:
    return torch.randn(n, dtype=F64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("largest", [0.5, 1 - 1e-6])
@pytest.mark.parametrize("n", [1, 4, M])
def test_both_ways_agree(n: int, largest: float) -> None:
    """Labels of nothing beside the others make a structure large and change nothing."""
    half, residual = half_of(n, largest), labels(n)
    few = WithoutStructure(half, 1.0)
    many = WithoutStructure(torch.cat([half, torch.zeros(M, M, dtype=F64)], dim=1), 1.0)
    tolerance = 1e-13 / (1 - largest)
    padded = torch.cat([residual, labels(M)])
    torch.testing.assert_close(many.residual(padded)[:n], few.residual(residual), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(many.residual(padded)[n:], labels(M), rtol=0, atol=0)
    torch.testing.assert_close(many.variance()[:n], few.variance(), rtol=tolerance, atol=0)
    assert not many.variance()[n:].any()


@pytest.mark.parametrize("n", [4, M, 3 * M, 20 * M])
def test_equals_the_inverse_of_what_is_left_of_one(n: int) -> None:
    half, residual = half_of(n, 0.99), labels(n)
    inverse = torch.linalg.inv(torch.eye(n, dtype=F64) - half.mT @ half)
    without = WithoutStructure(half, 1.0)
    torch.testing.assert_close(without.residual(residual), inverse @ residual, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(without.variance(), inverse.diagonal() - 1, rtol=1e-8, atol=1e-12)


def test_a_hundred_thousand_labels_make_no_matrix_of_one_another() -> None:
    """It would have 80 GB."""
    n = 100_000
    half = half_of(n, 0.9)
    without = WithoutStructure(half, 1.0)
    assert without.residual(labels(n)).shape == (n,)
    left_of_one = torch.linalg.inv(torch.eye(M, dtype=F64) - half @ half.mT)
    assert float(without.variance().sum()) == pytest.approx(float(left_of_one.trace()) - M, rel=1e-10)


@pytest.mark.parametrize("n", [4, 3 * M])
def test_leverages_of_one_to_rounding_are_taken_as_what_rounding_leaves(n: int) -> None:
    """As many as are exactly one: what is left is 1e-11 or so, and neither nothing nor negative."""
    half = half_of(n, 1 - 1e-15, 1 - 1e-15)
    without = WithoutStructure(half, 1e4)
    rounding = torch.finfo(F64).eps * (100 * max(n, M) + 1e4)
    along = half[0] / half[0].norm()
    torch.testing.assert_close(without.residual(along), along / rounding, rtol=1e-3, atol=1e-3 / rounding)
    assert float(without.variance().sum()) == pytest.approx(min(n, M) / rounding, rel=1e-3)


@pytest.mark.parametrize("n", [4, 3 * M])
def test_leverages_above_one_are_refused(n: int) -> None:
    with pytest.raises(NumericalError, match=r"leverages of at most 1, got 1 \+ 0.21"):
        WithoutStructure(1.1 * half_of(n, 1 - 1e-15, 1 - 1e-15), 1.0)


def test_no_labels_leave_nothing_out() -> None:
    assert inverse_root(torch.empty((0, 0), dtype=F64), M, 0.0).shape == (0, 0)
