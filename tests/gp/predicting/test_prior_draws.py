"""Functions drawn from the prior have its covariance, and gradients that are their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernpot.functionals.state import InducingBlock
from kernpot.gp.predicting.prior_draws import represented_weights
from kernpot.gp.rows.whitening import Whitening
from kernpot.kernels import Power
from kernpot.kernels.forms import LocalEnergies, added, together
from kernpot.surfaces.potentials import weighted

DIMENSION = 5
ZETAS = [1, 2, 3, 4]


def units(n: int, seed: int, dimension: int = DIMENSION) -> Tensor:
    x = torch.randn((n, dimension), dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.5
    return x / x.norm(dim=1, keepdim=True)


def draws(zeta: int, n: int) -> list[LocalEnergies]:
    generator = torch.Generator().manual_seed(zeta)
    return [Power(zeta).draw(DIMENSION, generator) for _ in range(n)]


def require_covariance(samples: Tensor, expected: Tensor, excess: float = 0.0) -> None:
    """Moments of zero-mean samples (n, k) within five standard errors of a Gaussian's (with some excess kurtosis)."""
    n = len(samples)
    variance = expected.diagonal()
    error = ((variance[:, None] * variance * (1 + excess) + expected.square()) / n).sqrt()
    assert float((samples.mean(0) / (variance / n).sqrt()).abs().max()) < 5
    assert float(((samples.T @ samples / n - expected) / error).abs().max()) < 5


@pytest.mark.parametrize("zeta", ZETAS)
def test_covariance_is_the_kernel(zeta: int) -> None:
    u = units(6, 0)
    values = torch.stack([prior(u)[0][:, 0] for prior in draws(zeta, 3000)])
    require_covariance(values, (u @ u.T) ** zeta, 3.0 ** (zeta + 1) / 512)


@pytest.mark.parametrize("zeta", [2, 3])
def test_gradients_have_the_prior_covariance(zeta: int) -> None:
    """Covariance of df/du along fixed directions, from the kernel's second derivative."""
    u, a = units(3, 1), units(3, 2)
    slopes = torch.stack([(prior(u)[1][:, 0] * a).sum(1) for prior in draws(zeta, 3000)])
    s, across, both = u @ u.T, a @ u.T, a @ a.T
    expected = zeta * s ** (zeta - 1) * both + zeta * (zeta - 1) * s ** (zeta - 2) * across * across.T
    require_covariance(slopes, expected, 0.2)


def functions(zeta: int) -> dict[str, LocalEnergies]:
    """Every kind of function, two of each."""
    block = InducingBlock(0, 29, Power(zeta), units(4, 3), slice(0, 4))
    basis = torch.linalg.qr(units(DIMENSION, 4)).Q[:, :2].contiguous()
    projected = InducingBlock(0, 29, Power(zeta), units(4, 5, 2), slice(0, 4), basis)
    weights = torch.tensor([[1.0, -2.0, 0.5, 0.3], [0.1, 0.2, -0.7, 2.0]], dtype=torch.float64)
    priors = draws(zeta, 2)
    return {
        "weighted": weighted(block, weights),
        "in a basis": weighted(projected, weights),
        "with priors": added(weighted(block, weights), together(priors), 1.5),
        "in a basis with priors": added(weighted(projected, weights), together(priors), 1.5),
    }


@pytest.mark.parametrize("zeta", ZETAS)
def test_gradients_are_those_of_the_energies(zeta: int) -> None:
    u, step = units(3, 6), 1e-5
    for name, function in functions(zeta).items():
        _, gradient = function(u)
        for x in range(DIMENSION):
            move = torch.zeros(DIMENSION, dtype=torch.float64)
            move[x] = step
            slope = (function(u + move)[0] - function(u - move)[0]) / (2 * step)
            torch.testing.assert_close(
                gradient[:, :, x], slope, rtol=1e-7, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("zeta", ZETAS)
def test_one_of_several_is_itself(zeta: int) -> None:
    u = units(3, 6)
    for function in functions(zeta).values():
        together, alone = function(u), function.chosen(slice(1, 2))(u)
        torch.testing.assert_close(alone[0], together[0][:, 1:])
        torch.testing.assert_close(alone[1], together[1][:, 1:])


@pytest.mark.parametrize("zeta", ZETAS)
def test_sums_are_those_of_kernels_and_priors(zeta: int) -> None:
    u, block = units(3, 6), InducingBlock(0, 29, Power(zeta), units(4, 3), slice(0, 4))
    weights = torch.tensor([[1.0, -2.0, 0.5, 0.3]], dtype=torch.float64)
    prior = draws(zeta, 1)[0]
    found, _ = added(weighted(block, weights), prior, 1.5)(u)
    expected = (u @ block.environments.T) ** zeta @ weights.T + 1.5 * prior(u)[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("zeta", [1, 2, 3])
@pytest.mark.parametrize("jitter", [1e-10, 1e-2])
def test_conditioned_priors_have_the_unrepresented_covariance(
    zeta: int, jitter: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``k - k_uM (K + eps)^-1 k_Mu``, exactly, however large the jitter."""
    monkeypatch.setattr("kernpot.gp.rows.whitening._JITTER", jitter)
    monkeypatch.setattr("kernpot.gp.rows.whitening._LARGEST", jitter)
    block = InducingBlock(0, 29, Power(zeta), units(3, 3), slice(0, 3))
    whitening = Whitening([block])
    generator = torch.Generator().manual_seed(7)
    u = units(5, 6)
    samples = []
    for prior in draws(zeta, 3000):
        weights = -represented_weights(block, whitening.factors[0], jitter, prior, generator)[None]
        samples.append(added(weighted(block, weights), prior, 1.0)(u)[0][:, 0])
    rows = whitening((u @ block.environments.T) ** zeta)
    require_covariance(torch.stack(samples), (u @ u.T) ** zeta - rows @ rows.T, 3.0 ** (zeta + 1) / 512)
