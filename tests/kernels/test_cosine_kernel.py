"""Kernels of any functions: their formula, amplitudes by element, and what files hold of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kernpot.errors import KernpotError
from kernpot.kernels import CosineKernel, PolynomialKernel, Power, SOAPKernel
from kernpot.kernels.cosine_kernel import kernel_from_dict, kernel_to_dict
from tests.doors.exponential_kernel import Exponential, ExponentialKernel

ELEMENTS = (1, 8)
AMPLITUDES = torch.tensor([[0.5, 2.0], [1.3, 0.7]], dtype=torch.float64)


def rows(rng: np.random.Generator, numbers: list[int]) -> Tensor:
    return torch.from_numpy(np.hstack([np.array(numbers)[:, None], rng.normal(size=(len(numbers), 4))]))


def two_functions() -> CosineKernel:
    kernel = CosineKernel([Power(2), Exponential(0.5)], ELEMENTS)
    kernel.set_amplitude(AMPLITUDES)
    return kernel


def test_several_functions_add_up_with_amplitudes_of_their_own(rng: np.random.Generator) -> None:
    x, y = rows(rng, [1, 8, 1, 8, 6]), rows(rng, [8, 1, 1, 6])
    expected = np.zeros((5, 4))
    for i, a in enumerate(x.numpy()):
        for j, b in enumerate(y.numpy()):
            if a[0] == b[0] and a[0] in ELEMENTS:
                place = ELEMENTS.index(int(a[0]))
                s = a[1:] @ b[1:] / np.linalg.norm(a[1:]) / np.linalg.norm(b[1:])
                expected[i, j] = AMPLITUDES[0, place] ** 2 * s**2 + AMPLITUDES[1, place] ** 2 * np.exp((s - 1) / 0.5)
    np.testing.assert_allclose(two_functions().forward(x, y).detach(), expected, rtol=1e-12, atol=1e-13)
    diagonal = two_functions().forward(x[:4], y, diag=True).detach()
    np.testing.assert_allclose(diagonal, expected.diagonal(), rtol=1e-12, atol=1e-13)


def test_lengths_of_features_do_not_matter_and_covariances_are_positive(rng: np.random.Generator) -> None:
    x = rows(rng, [1, 8] * 8)
    covariance = two_functions().forward(x, x).detach()
    longer = torch.cat([x[:, :1], x[:, 1:] * torch.from_numpy(rng.uniform(0.1, 9.0, (16, 1)))], 1)
    torch.testing.assert_close(two_functions().forward(longer, longer).detach(), covariance)
    assert float(torch.linalg.eigvalsh(covariance)[0]) > -1e-12


def test_other_elements_start_at_the_mean_amplitude_and_known_ones_stay() -> None:
    kernel = two_functions().for_elements((8, 6))
    mean = float(AMPLITUDES.mean())
    np.testing.assert_allclose(kernel.amplitude.detach(), [[2.0, mean], [0.7, mean]], rtol=1e-14)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("make", [SOAPKernel, PolynomialKernel, ExponentialKernel])
def test_files_bring_a_kernel_back_to_the_last_bit(make: Any, fixed: bool, rng: np.random.Generator) -> None:
    kernel = make(elements=(1, 8, 14))
    kernel.set_amplitude(torch.from_numpy(rng.uniform(0.1, 9.0, kernel.raw_amplitude.shape)))
    kernel.raw_amplitude.requires_grad_(not fixed)
    again = kernel_from_dict(json.loads(json.dumps(kernel_to_dict(kernel))))
    assert type(again) is make and again.raw_amplitude.requires_grad is not fixed
    x = rows(rng, [1, 8, 14, 1])
    assert torch.equal(again.forward(x, x), kernel.forward(x, x))


def test_damaged_files_and_unknown_kernels_are_refused() -> None:
    data = kernel_to_dict(SOAPKernel(2, ELEMENTS, 0.7))
    for change, message in (
        ({"amplitude": [0.7]}, "positive amplitudes of shape"),
        ({"amplitude": [0.7, -0.7]}, "positive amplitudes of shape"),
        ({"raw_amplitude": [0.0, float("nan")]}, "finite raw amplitudes"),
        ({"raw_amplitude": [0.0, 0.0]}, "raw and other amplitudes differ"),
    ):
        with pytest.raises(ValueError, match=message):
            kernel_from_dict(data | change)
    with pytest.raises(KernpotError, match="import the module"):
        kernel_from_dict(data | {"kind": "of another day"})
    with pytest.raises(KernpotError, match="give the class a kind"):
        kernel_to_dict(two_functions())


@pytest.mark.parametrize("functions", [[], [2], [Power(2), None]])
def test_without_functions_there_is_no_kernel(functions: Any) -> None:
    with pytest.raises(KernpotError, match=r"expected one or more functions of the cosine for CosineKernel, such as"):
        CosineKernel(functions)


def test_a_subclass_without_a_kind_of_its_own_is_not_written_as_its_parent() -> None:
    class Changed(SOAPKernel):
        pass

    with pytest.raises(KernpotError, match="Changed cannot be written to a model file: give the class a kind"):
        kernel_to_dict(Changed(2, [29]))
