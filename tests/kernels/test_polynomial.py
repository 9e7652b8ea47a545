"""The sum of powers against single powers, and a fit with it against one with a descriptor for each of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.errors import KernpotError
from kernpot.kernels import PolynomialKernel
from tests.helpers.systems import crystals, gases, soap

ELEMENTS = (29, 79)
AMPLITUDES = torch.tensor([[0.5, 1.5], [2.0, 0.7], [0.3, 1.1]], dtype=torch.float64)


def rows(rng: np.random.Generator, n: int) -> Tensor:
    """``[atomic number, features]``, the features not of unit length."""
    return torch.from_numpy(np.hstack([rng.choice(ELEMENTS, (n, 1)), rng.normal(size=(n, 4))]))


def three_powers() -> PolynomialKernel:
    kernel = PolynomialKernel((1, 2, 4), ELEMENTS)
    kernel.set_amplitude(AMPLITUDES)
    return kernel


@pytest.mark.parametrize("diag", [False, True])
def test_it_is_the_sum_of_its_powers(rng: np.random.Generator, diag: bool) -> None:
    x, y = rows(rng, 6), rows(rng, 6)
    total = torch.zeros((6,) if diag else (6, 6), dtype=torch.float64)
    for zeta, amplitudes in zip((1, 2, 4), AMPLITUDES, strict=True):
        single = SOAPKernel(zeta, ELEMENTS)
        single.set_amplitude(amplitudes)
        total += single.forward(x, y, diag=diag).detach()
    torch.testing.assert_close(three_powers().forward(x, y, diag=diag).detach(), total, rtol=1e-13, atol=1e-13)


def test_elements_in_another_order_keep_every_amplitude(rng: np.random.Generator) -> None:
    x, kernel = rows(rng, 8), three_powers()
    turned = kernel.for_elements(ELEMENTS[::-1])
    assert turned.amplitude.tolist() == pytest.approx(AMPLITUDES.flip(1).numpy())
    torch.testing.assert_close(turned.forward(x, x), kernel.forward(x, x))


def test_a_fit_is_that_of_one_descriptor_for_every_power() -> None:
    """Two descriptors that are the same, with a power each, are the same prior: amplitudes have to find their place."""
    small, frames, new = soap(["Cu", "Au"], n_max=2, l_max=1), crystals(2, symbols="Cu2Au2"), gases(1, "Cu2Au2", 5)
    amplitudes = torch.tensor([[0.4, 1.5], [2.0, 0.9]], dtype=torch.float64)
    kernels = [SOAPKernel(1, ELEMENTS), SOAPKernel(2, ELEMENTS)]
    both = PolynomialKernel((1, 2), ELEMENTS)
    both.set_amplitude(amplitudes)
    for kernel, amplitude in zip(kernels, amplitudes, strict=True):
        kernel.set_amplitude(amplitude)
    noise = {"energy": 0.01, "forces": 0.1, "stress": 0.01}
    settings = {"noise": noise, "optimize": False, "inducing": gases(2, "Cu2Au2")}
    one = SparseGPPotential(small, kernel=both, **settings).fit(frames)
    two = SparseGPPotential([small, small], kernel=kernels, **settings).fit(frames)
    assert one.log_evidence_ == pytest.approx(two.log_evidence_, rel=1e-9)
    for a, b in zip(one.predict_full(new), two.predict_full(new), strict=True):
        np.testing.assert_allclose(a.forces.mean, b.forces.mean, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(a.forces.epistemic_std, b.forces.epistemic_std, rtol=1e-6)
        assert float(a.energy.std) == pytest.approx(float(b.energy.std), rel=1e-6)


@pytest.mark.parametrize("powers", [(), (0, 1), (1, 1), (1.5,), (True, 2), (-1,)])
def test_powers_that_are_no_different_positive_integers_are_refused(powers: tuple) -> None:
    with pytest.raises(KernpotError, match="different positive integers"):
        PolynomialKernel(powers)
