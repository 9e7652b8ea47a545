"""The kernel against its formula, written as loops."""

from __future__ import annotations

import math
import pickle

import gpytorch
import numpy as np
import pytest
import torch
from sklearn.base import clone

from kernpot.errors import KernpotError
from kernpot.kernels import PolynomialKernel, SOAPKernel

AMPLITUDES = {1: 0.5, 8: 2.0, 14: 1.3}


def rows(rng: np.random.Generator, n: int, elements=(1, 8, 14)) -> torch.Tensor:
    """``[atomic number, features]`` of n random environments; the features are not normalised."""
    numbers = np.resize(elements, n)[:, None]
    return torch.from_numpy(np.hstack([numbers, rng.normal(size=(n, 4)) * rng.uniform(0.1, 10, (n, 1))]))


def known(zeta: int = 2, **kwargs) -> SOAPKernel:
    kernel = SOAPKernel(zeta, tuple(AMPLITUDES), **kwargs)
    kernel.set_amplitude(torch.tensor(list(AMPLITUDES.values()), dtype=torch.float64))
    return kernel


def by_loops(x1: torch.Tensor, x2: torch.Tensor, zeta: int, amplitudes: dict[int, float] = AMPLITUDES) -> np.ndarray:
    out = np.zeros((len(x1), len(x2)))
    for i, a in enumerate(x1.tolist()):
        for j, b in enumerate(x2.tolist()):
            if a[0] == b[0]:
                dot = sum(p * q for p, q in zip(a[1:], b[1:], strict=True))
                cosine = dot / math.sqrt(sum(p * p for p in a[1:]) * sum(q * q for q in b[1:]))
                out[i, j] = amplitudes[int(a[0])] ** 2 * cosine**zeta
    return out


@pytest.mark.parametrize("zeta", [1, 2, 3, 4, 5])
def test_formula(rng, zeta):
    x1, x2 = rows(rng, 7), rows(rng, 5)
    kernel = known(zeta)
    np.testing.assert_allclose(kernel(x1, x2).to_dense().detach(), by_loops(x1, x2, zeta), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(kernel(x1, x2).to_dense().detach(), kernel.forward(x1, x2).detach())


@pytest.mark.parametrize("zeta", [1, 2, 3])
def test_diagonal(rng, zeta):
    x1, x2 = rows(rng, 6), rows(rng, 6, elements=(1, 14, 8))  # some of them differ
    kernel = known(zeta)
    np.testing.assert_allclose(kernel(x1, diag=True).detach(), [AMPLITUDES[int(z)] ** 2 for z in x1[:, 0]])
    np.testing.assert_allclose(
        kernel(x1, x2, diag=True).detach(), np.diag(by_loops(x1, x2, zeta)), rtol=1e-13, atol=1e-14
    )
    np.testing.assert_allclose(kernel(x1).diagonal().detach(), kernel(x1).to_dense().diagonal().detach())


def test_gpytorch_slices_sums_and_scales(rng):
    x = rows(rng, 6)
    two, three = known(2), known(3)
    dense = by_loops(x, x, 2)
    np.testing.assert_allclose(two(x)[1:4, 2:].to_dense().detach(), dense[1:4, 2:], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose((two + three)(x).to_dense().detach(), dense + by_loops(x, x, 3), rtol=1e-13, atol=1e-14)
    scaled = gpytorch.kernels.ScaleKernel(two).double()
    scaled.outputscale = 3.0
    np.testing.assert_allclose(scaled(x).to_dense().detach(), 3 * dense, rtol=1e-12, atol=1e-13)


def test_batches(rng):
    x = torch.stack([rows(rng, 4), rows(rng, 4)])
    got = known()(x).to_dense().detach()
    np.testing.assert_allclose(got, np.stack([by_loops(b, b, 2) for b in x]), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("zeta", [1, 2, 3, 4, 5])
def test_covariances_are_positive_semidefinite(rng, zeta):
    eigenvalues = torch.linalg.eigvalsh(known(zeta)(rows(rng, 30)).to_dense())
    assert eigenvalues.min() > -1e-12 * eigenvalues.max()


def test_element_without_an_amplitude_has_no_energy(rng):
    x = rows(rng, 6, elements=(8, 42))
    covariance = known()(x).to_dense()
    assert not covariance[x[:, 0] == 42].any()
    assert not covariance[:, x[:, 0] == 42].any()
    assert covariance[0, 0] > 0


def test_environment_without_density_has_no_energy(rng):
    x = rows(rng, 3, elements=(8,))
    x[1, 1:] = 0
    covariance = known()(x).to_dense()
    assert torch.isfinite(covariance).all()
    assert not covariance[1].any()


def test_gradients_with_respect_to_amplitudes(rng):
    x = rows(rng, 6)
    kernel, weights = known(), torch.from_numpy(rng.normal(size=(6, 6)))

    def value(amplitude: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            kernel.set_amplitude(amplitude)
            return (weights * kernel(x).to_dense()).sum()

    start = kernel.amplitude.detach().clone()
    expected = []
    for k in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[k] = 1e-5
        expected.append((value(start + step) - value(start - step)) / 2e-5)
    kernel.set_amplitude(start)
    (weights * kernel(x).to_dense()).sum().backward()
    # raw_amplitude is the logarithm of the amplitude
    np.testing.assert_allclose(kernel.raw_amplitude.grad / start, expected, rtol=1e-8, atol=1e-9)


def test_gradients_with_respect_to_features(rng):
    x = rows(rng, 3).requires_grad_()
    y = rows(rng, 2)
    assert torch.autograd.gradcheck(lambda f: known(3).forward(torch.cat([x[:, :1].detach(), f], 1), y), x[:, 1:])


def test_prior_enters_with_its_own_gradient():
    prior = gpytorch.priors.LogNormalPrior(0.0, 0.5)
    kernel = known(amplitude_prior=prior)
    (entry,) = kernel.named_priors()
    name, module, found, closure, _ = entry
    assert name == "amplitude_prior"
    assert found is prior
    torch.testing.assert_close(closure(module), torch.tensor(list(AMPLITUDES.values()), dtype=torch.float64))
    prior.log_prob(closure(module)).sum().backward()
    assert kernel.raw_amplitude.grad.shape == (3,)
    # the closure follows the copy, not the original
    copied = kernel.for_elements((8, 42))
    ((_, module, _, closure, setting),) = copied.named_priors()
    assert closure(module).shape == (2,)
    setting(module, torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(copied.amplitude.detach(), torch.tensor([3.0, 4.0], dtype=torch.float64))
    torch.testing.assert_close(kernel.amplitude[1].item(), 2.0)


def test_for_elements_keeps_what_is_known():
    kernel = known()
    copied = kernel.for_elements((42, 8))
    assert copied.elements == (42, 8)
    assert kernel.elements == (1, 8, 14)
    mean = np.mean(list(AMPLITUDES.values()))
    np.testing.assert_allclose(copied.amplitude.detach(), [mean, 2.0])
    assert copied.raw_amplitude.requires_grad
    fresh = SOAPKernel(3, amplitude=0.7).for_elements([6, 1])
    np.testing.assert_allclose(fresh.amplitude.detach(), [0.7, 0.7])
    assert fresh.zeta == 3


def test_amplitudes_that_are_held_fixed_stay_fixed():
    kernel = SOAPKernel(amplitude=0.7)
    kernel.raw_amplitude.requires_grad_(False)
    copied = kernel.for_elements([6, 1])
    assert not copied.raw_amplitude.requires_grad
    np.testing.assert_allclose(copied.amplitude, [0.7, 0.7])


def test_double_precision_whatever_torch_defaults_to(rng):
    assert torch.get_default_dtype() == torch.float32
    assert known()(rows(rng, 3)).to_dense().dtype == torch.float64
    assert SOAPKernel(amplitude=0.1).amplitude.item() == pytest.approx(0.1, rel=1e-15)


def test_pickling(rng):
    """Parallel grid searches send estimators, and their kernels, to other processes."""
    kernel, x = known(amplitude_prior=gpytorch.priors.GammaPrior(2.0, 1.0)), rows(rng, 4)
    again = pickle.loads(pickle.dumps(kernel))
    torch.testing.assert_close(again(x).to_dense(), kernel(x).to_dense())
    assert len(list(again.named_priors())) == 1


@pytest.mark.parametrize("zeta", [0, -1, 1.5, float("nan"), float("inf"), "2", None])
def test_zeta_is_checked(zeta):
    with pytest.raises(KernpotError, match="zeta must be a positive integer"):
        SOAPKernel(zeta)


@pytest.mark.parametrize("amplitude", [0, -1.0, float("nan"), float("inf")])
def test_amplitude_is_checked(amplitude):
    with pytest.raises(KernpotError, match="amplitude must be a positive energy"):
        SOAPKernel(amplitude=amplitude)


@pytest.mark.parametrize("elements", [(), (1, 8, 1)])
def test_elements_are_checked(elements):
    with pytest.raises(KernpotError, match="different atomic numbers"):
        SOAPKernel(elements=elements)
    with pytest.raises(KernpotError, match="different atomic numbers"):
        SOAPKernel().for_elements(elements)


def test_elements_must_be_known_before_use(rng):
    with pytest.raises(KernpotError, match="for_elements"):
        SOAPKernel()(rows(rng, 2)).to_dense()


def test_a_grid_can_change_it_and_tells_what_it_found() -> None:
    """As scikit-learn asks of what an estimator holds; amplitudes and what is fixed stay."""
    kernel = SOAPKernel(2, [29, 79])
    kernel.set_amplitude(torch.tensor([1.5, 0.8], dtype=torch.float64))
    kernel.raw_amplitude.requires_grad_(False)
    copied = clone(kernel)
    assert copied is not kernel and copied.set_params(zeta=4) is copied
    assert copied.zeta == 4 and copied.functions[0].power == 4 and kernel.zeta == 2
    np.testing.assert_allclose(copied.amplitude.detach(), [1.5, 0.8], rtol=1e-12)
    assert not copied.raw_amplitude.requires_grad
    assert repr(SOAPKernel(3)) == "SOAPKernel(zeta=3)" and "zeta=4" in repr(copied)
    assert repr(PolynomialKernel((1, 3), amplitude=2.0)) == "PolynomialKernel(powers=[1, 3], amplitude=2.0)"
    with pytest.raises(KernpotError, match=r"has no parameters .'nu'., expected some of zeta"):
        kernel.set_params(nu=1.5)
    with pytest.raises(KernpotError, match="zeta must be a positive integer"):
        kernel.set_params(zeta=-1)
    assert kernel.set_params(amplitude=3.0).amplitude.tolist() == pytest.approx([3.0, 3.0])
