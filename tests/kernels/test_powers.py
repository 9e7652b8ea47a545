"""Powers by multiplications against whole numbers, which doubles hold exactly, and against automatic derivatives."""

from __future__ import annotations

import pytest
import torch

from kernpot.kernels.powers import power, power_slope

ZETAS = range(1, 14)


@pytest.mark.parametrize("zeta", ZETAS)
def test_powers_of_whole_numbers_are_exact(zeta: int) -> None:
    """No product on the way, nor a slope, has more than 53 bits."""
    numbers = [-7, -3, -2, -1, 0, 1, 2, 3, 5, 7]
    s = torch.tensor(numbers, dtype=torch.float64)
    assert power(s, zeta).tolist() == [n**zeta for n in numbers]
    assert power_slope(s, zeta).tolist() == [zeta * n ** (zeta - 1) for n in numbers]


@pytest.mark.parametrize("zeta", ZETAS)
def test_slope_is_the_derivative(rng, zeta: int) -> None:
    s = torch.from_numpy(rng.uniform(-1.0, 1.0, 20)).requires_grad_()
    (derivative,) = torch.autograd.grad(power(s, zeta).sum(), s)
    torch.testing.assert_close(power_slope(s.detach(), zeta), derivative, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("zeta", ZETAS)
def test_opposite_cosines_have_opposite_odd_powers_and_equal_even_ones(rng, zeta: int) -> None:
    """To the last bit, so that mirrored environments cancel exactly."""
    s = torch.from_numpy(rng.uniform(0.0, 1.0, 20))
    assert torch.equal(power(-s, zeta), (-1) ** zeta * power(s, zeta))


def test_nothing_is_written_into_what_is_given() -> None:
    s = torch.tensor([0.5, -2.0], dtype=torch.float64)
    for zeta in ZETAS:
        power(s, zeta).zero_()
        power_slope(s, zeta).zero_()
    assert s.tolist() == [0.5, -2.0]
