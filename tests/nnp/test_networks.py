"""Stacked perceptrons: slopes, members, shared bodies, activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.errors import KernpotError, NotSmoothError
from kernpot.nnp.inputs import Inputs
from kernpot.nnp.members import HiddenFeatures, MemberEnergies, in_ev
from kernpot.nnp.networks import ACTIVATIONS, Networks, check_activation, random_networks
from tests.nnp.small import generators

P, K, N = 5, 3, 7


def networks(
    activation: str = "silu", shared: bool = False, hidden: tuple[int, ...] = (6, 4), seed: int = 0
) -> Networks:
    net = random_networks(P, hidden, K, shared, activation, generators(K, seed))
    # Biases begin at zero, where a mistake in them would not show.
    more = torch.Generator().manual_seed(99)
    return net.like([t + 0.3 * torch.randn(t.shape, generator=more, dtype=t.dtype) for t in net.tensors])


def environments(n: int = N) -> torch.Tensor:
    return torch.randn((n, P), generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_of_the_activation(name: str) -> None:
    function, slope = ACTIVATIONS[name]
    a = torch.linspace(-6, 6, 101, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(function(a).sum(), a)
    torch.testing.assert_close(slope(a), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_are_those_of_autograd(name: str, shared: bool) -> None:
    net, z = networks(name, shared), environments().requires_grad_()
    energies, slopes = net(z)
    assert energies.shape == (K, N) and slopes.shape == (K, N, P)
    for k in range(K):
        (expected,) = torch.autograd.grad(energies[k].sum(), z, retain_graph=True)
        torch.testing.assert_close(slopes[k], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes_by_finite_differences(name: str) -> None:
    net, z, step = networks(name), environments(), 1e-5
    slopes = net(z)[1]
    for d in range(P):
        ahead, behind = z.clone(), z.clone()
        ahead[:, d] += step
        behind[:, d] -= step
        found = (net(ahead)[0] - net(behind)[0]) / (2 * step)
        torch.testing.assert_close(slopes[..., d], found, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("shared", [False, True])
def test_slopes_can_be_differentiated_by_the_weights(name: str, shared: bool) -> None:
    net, z = networks(name, shared, (4,)), environments(3)

    def slopes(*tensors: torch.Tensor) -> torch.Tensor:
        return net.like(tensors)(z)[1]

    assert torch.autograd.gradcheck(slopes, [t.clone().requires_grad_() for t in net.tensors])


@pytest.mark.parametrize("shared", [False, True])
def test_stacked_members_equal_each_alone(shared: bool) -> None:
    net, z = networks(shared=shared), environments()
    energies, slopes = net(z)
    for k in range(K):
        alone = net.like([t[k : k + 1] if len(t) == K else t for t in net.tensors])
        e, g = alone(z)
        torch.testing.assert_close(e[0], energies[k], rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(g[0], slopes[k], rtol=1e-13, atol=1e-15)


def test_energy_is_the_perceptron_of_the_formula() -> None:
    net, z = networks(), environments()
    for k in range(K):
        x = z.numpy()
        for w, b in zip(net.weights, net.biases, strict=True):
            a = x @ w[k].numpy() + b[k].numpy()
            x = a / (1 + np.exp(-a))
        expected = x @ net.head[k].numpy() + net.offset[k].numpy()
        np.testing.assert_allclose(net(z)[0][k], expected[:, 0], rtol=1e-12)


def test_shared_bodies_have_one_member_and_heads_one_each() -> None:
    net = random_networks(P, (6, 4), K, True, "silu", generators(K))
    assert [tuple(t.shape) for t in net.tensors] == [
        (1, P, 6),
        (1, 6, 4),
        (1, 1, 6),
        (1, 1, 4),
        (K, 4, 1),
        (K, 1, 1),
    ]
    assert net.n_members == K
    assert not torch.equal(net.head[0], net.head[1])


def test_starting_weights_depend_on_the_members_own_seed_only() -> None:
    three = random_networks(P, (6, 4), 3, False, "silu", generators(3, 10))
    two = random_networks(P, (6, 4), 2, False, "silu", [generators(1, 77)[0], generators(1, 11)[0]])
    for a, b in zip(three.tensors, two.tensors, strict=True):
        assert torch.equal(a[1], b[1])
    assert not torch.equal(three.weights[0][0], two.weights[0][0])
    shared = random_networks(P, (6, 4), 3, True, "silu", generators(3, 10))
    assert torch.equal(shared.weights[1][0], three.weights[1][0])


def test_starting_weights_have_the_variance_of_the_fan_in() -> None:
    net = random_networks(200, (300, 100), 2, False, "silu", generators(2))
    for w, n_in in zip(net.weights, (200, 300), strict=True):
        assert float(w.var()) == pytest.approx(1 / n_in, rel=0.03)
    assert not any(b.any() for b in net.biases) and not net.offset.any()


def test_like_keeps_the_order_of_tensors() -> None:
    net = networks()
    for a, b in zip(net.like(net.tensors).tensors, net.tensors, strict=True):
        assert a is b


def test_energies_in_ev() -> None:
    net, z = networks(), environments()
    for found, given in zip(in_ev(net, 2.5)(z), net(z), strict=True):
        torch.testing.assert_close(found, 2.5 * given)


# ------------------------------------------------------------------ as functions of features


@pytest.fixture
def inputs() -> Inputs:
    g = torch.Generator().manual_seed(3)
    return Inputs(
        torch.randn(8, generator=g, dtype=torch.float64), torch.randn((8, P), generator=g, dtype=torch.float64)
    )


@pytest.mark.parametrize("mixed", [False, True])
def test_gradients_with_respect_to_features(inputs: Inputs, mixed: bool) -> None:
    mixing = torch.tensor([[0.2, 0.3, 0.5], [1.5, -1.0, 0.5]], dtype=torch.float64) if mixed else None
    energies = MemberEnergies(inputs, networks(), mixing)
    x = torch.randn((4, 8), generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    e, gradients = energies(x)
    for m in range(e.shape[1]):
        (expected,) = torch.autograd.grad(e[:, m].sum(), x, retain_graph=True)
        torch.testing.assert_close(gradients[:, m], expected, rtol=1e-11, atol=1e-13)
    if mixed:
        torch.testing.assert_close(e, MemberEnergies(inputs, networks())(x)[0] @ mixing.T)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_chosen_functions_are_those_of_all(inputs: Inputs, shared: bool, mixed: bool) -> None:
    mixing = torch.randn((4, K), generator=torch.Generator().manual_seed(2), dtype=torch.float64) if mixed else None
    energies = MemberEnergies(inputs, networks(shared=shared), mixing)
    x = torch.randn((4, 8), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    e, g = energies(x)
    some, slopes = energies.chosen(slice(1, 3))(x)
    torch.testing.assert_close(some, e[:, 1:3], rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(slopes, g[:, 1:3], rtol=1e-13, atol=1e-15)


def test_energy_is_linear_in_the_hidden_features(inputs: Inputs) -> None:
    net = networks()
    one = net.like([t[:1] for t in net.tensors])
    x = torch.randn((4, 8), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    hidden, gradients = HiddenFeatures(inputs, one)(x)
    weights = torch.cat([one.head[0, :, 0], one.offset[0, 0]])
    e, g = MemberEnergies(inputs, one)(x)
    torch.testing.assert_close(hidden @ weights, e[:, 0])
    torch.testing.assert_close(torch.einsum("nhf,h->nf", gradients, weights), g[:, 0])
    with pytest.raises(ValueError, match="together"):
        HiddenFeatures(inputs, one).chosen(slice(0, 1))


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("name", ["relu", "ReLU", "leaky_relu", "elu", "hardtanh"])
def test_kinks_are_refused(name: str) -> None:
    with pytest.raises(NotSmoothError, match=r"has a kink: forces would jump.*Write one of 'silu', 'softplus', 'tanh'"):
        check_activation(name)


@pytest.mark.parametrize("name", ["swish", "", None, 3])
def test_unknown_activations_are_refused(name: object) -> None:
    with pytest.raises(KernpotError, match="activation must be one of 'silu', 'softplus', 'tanh', got") as error:
        check_activation(name)
    assert not isinstance(error.value, NotSmoothError)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_known_activations_pass(name: str) -> None:
    check_activation(name)
