"""The square-root posterior against dense formulas, refits and exact arithmetic."""

from __future__ import annotations

import pytest
import torch

from kernpot.errors import NumericalError
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior, leave_out

F64 = torch.float64
BLOCK = torch.tensor([0, 1] * 5)
M, BLOCKS = len(BLOCK), 2
NOISE = {"energy": 0.02, "forces": 0.3}
AMPLITUDES = torch.tensor([2.0, 0.5], dtype=F64)
SCALE = AMPLITUDES[BLOCK]


def draw(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, M, dtype=F64, generator=generator), torch.randn(n, dtype=F64, generator=generator)


def factor_of(rows: torch.Tensor, targets: torch.Tensor) -> LabelFactor:
    factor = LabelFactor.empty(M, BLOCKS)
    factor.add(rows, targets, torch.full((len(rows), BLOCKS), 1e3, dtype=F64))
    return factor


@pytest.fixture
def labels() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    return {"energy": draw(6, 0), "forces": draw(25, 1)}


def posterior_of(labels: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> Posterior:
    return Posterior({group: factor_of(*pair) for group, pair in labels.items()}, BLOCK, NOISE, AMPLITUDES)


def stacked(labels: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplitude- and noise-scaled rows and targets."""
    rows = torch.cat([pair[0] * SCALE / NOISE[group] for group, pair in labels.items()])
    return rows, torch.cat([pair[1] / NOISE[group] for group, pair in labels.items()])


def test_equals_dense_gaussian_conditioning(labels: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Function-space conditioning, N x N, knows nothing of weights."""
    posterior = posterior_of(labels)
    b, y = stacked(labels)
    test = draw(7, 9)[0] * SCALE
    gain = torch.linalg.solve(b @ b.T + torch.eye(len(b), dtype=F64), torch.cat([(b @ test.T), y[:, None]], dim=1))
    covariance = test @ test.T - (test @ b.T) @ gain[:, :-1]
    assert torch.allclose(posterior.mean(test), (test @ b.T) @ gain[:, -1], atol=1e-10)
    assert torch.allclose(posterior.covariance(test), covariance, atol=1e-10)
    assert torch.allclose(posterior.covariance(test[:2], test[3:]), covariance[:2, 3:], atol=1e-10)
    assert torch.allclose(posterior.variance(test), covariance.diagonal(), atol=1e-10)
    assert torch.equal(posterior.root, posterior.root.triu())
    assert (posterior.root.diagonal() >= 1 - 1e-12).all()  # a datum only ever adds information


@pytest.mark.parametrize("factors", [{}, {"forces": LabelFactor.empty(M, BLOCKS)}])
def test_no_labels_give_the_prior(factors: dict[str, LabelFactor]) -> None:
    posterior = Posterior(factors, BLOCK, NOISE, AMPLITUDES)
    rows = draw(4, 2)[0] * SCALE
    assert torch.allclose(posterior.root, torch.eye(M, dtype=F64), atol=1e-15)
    assert not posterior.whitened_weights.any()
    assert torch.allclose(posterior.covariance(rows), rows @ rows.T)


def test_more_labels_never_raise_the_variance(labels: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    few = {"energy": labels["energy"]}
    rows = draw(20, 3)[0] * SCALE
    assert (posterior_of(labels).variance(rows) <= posterior_of(few).variance(rows) * (1 + 1e-12)).all()


def test_extreme_conditioning_against_exact_arithmetic() -> None:
    """Columns over six decades, noise over six: cond(A)^2 is beyond 1e20 and normal equations would be noise."""
    mpmath = pytest.importorskip("mpmath")
    noise = {"energy": 1e-7, "forces": 1e-1}
    decay = torch.logspace(0, -6, M, dtype=F64)
    mixing = torch.triu(torch.ones(M, M, dtype=F64))
    labels = {group: (draw(n, n)[0] @ mixing * decay, draw(n, n)[1]) for group, n in (("energy", 6), ("forces", 25))}
    posterior = Posterior({g: factor_of(*pair) for g, pair in labels.items()}, BLOCK, noise, AMPLITUDES)
    rows = draw(3, 4)[0] @ mixing * decay * SCALE
    with mpmath.workdps(60):
        information, right = mpmath.eye(M), mpmath.zeros(M, 1)
        for group, (b, y) in labels.items():
            exact = mpmath.matrix((b * SCALE).tolist())
            information += exact.T * exact / mpmath.mpf(noise[group]) ** 2
            right += exact.T * mpmath.matrix(y.tolist()) / mpmath.mpf(noise[group]) ** 2
        covariance = information**-1
        test = mpmath.matrix(rows.tolist())
        mean = test * (covariance * right)
        variance = test * covariance * test.T
    for k in range(3):
        assert float(posterior.mean(rows)[k]) == pytest.approx(float(mean[k]), rel=1e-6)
        assert float(posterior.variance(rows)[k]) == pytest.approx(float(variance[k, k]), rel=1e-6)


def test_draws_have_the_posterior_moments(labels: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    posterior = posterior_of(labels)
    n = 40_000
    draws = posterior.sample(n, torch.Generator().manual_seed(0))
    whitened = (draws - posterior.whitened_weights) @ posterior.root.T  # N(0, I) if and only if the covariance is right
    assert draws.shape == (n, M)
    assert float(whitened.mean(dim=0).abs().max()) < 5 / n**0.5
    assert float((whitened.T @ whitened / n - torch.eye(M, dtype=F64)).abs().max()) < 5 * (2 / n) ** 0.5
    assert torch.equal(draws, posterior.sample(n, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("n_left_out", [1, 8, 25])
def test_leave_out_equals_a_refit(labels: dict[str, tuple[torch.Tensor, torch.Tensor]], n_left_out: int) -> None:
    """The left-out structure has an energy and forces; sizes below and above the number of weights."""
    posterior = posterior_of(labels)
    part = {group: (b[:n_left_out], y[:n_left_out]) for group, (b, y) in labels.items()}
    rest = {group: (b[n_left_out:], y[n_left_out:]) for group, (b, y) in labels.items() if len(b) > n_left_out}
    rows, targets = stacked(part)
    residual, variance = leave_out(posterior, rows, targets - posterior.mean(rows))
    refit = posterior_of(rest)
    assert torch.allclose(residual, targets - refit.mean(rows), rtol=1e-8, atol=1e-8)
    assert torch.allclose(variance, refit.variance(rows), rtol=1e-8)


def test_leave_out_of_rows_that_were_never_fitted_is_refused(
    labels: dict[str, tuple[torch.Tensor, torch.Tensor]],
) -> None:
    posterior = posterior_of(labels)
    rows, targets = stacked(labels)
    with pytest.raises(NumericalError, match="not among those the posterior was fitted with"):
        leave_out(posterior, 10 * rows, targets)


def test_leave_out_of_the_only_label_returns_the_prior() -> None:
    """Leverage 1 - 1e-8: the hardest case, where nearly everything known came from the structure itself."""
    rows, targets = draw(1, 5)
    noise = {"forces": 1e-4}
    posterior = Posterior({"forces": factor_of(rows, targets)}, BLOCK, noise, AMPLITUDES)
    b, y = rows * SCALE / noise["forces"], targets / noise["forces"]
    residual, variance = leave_out(posterior, b, y - posterior.mean(b))
    assert torch.allclose(variance, b.square().sum(1), rtol=1e-5)
    assert torch.allclose(residual, y, rtol=1e-5)


def test_leave_out_survives_almost_exact_labels() -> None:
    """Rows of norm 1e10 against a prior of one: leverages are one to the last digits, and rounding may exceed it."""
    noise = {"energy": 1e-9}
    rows, targets = draw(M // 2, 7)
    rows = rows @ torch.triu(torch.ones(M, M, dtype=F64))
    posterior = Posterior({"energy": factor_of(rows, targets)}, BLOCK, noise, AMPLITUDES)
    for k in range(len(rows)):
        b, y = rows[k : k + 1] * SCALE / noise["energy"], targets[k : k + 1] / noise["energy"]
        residual, variance = leave_out(posterior, b, y - posterior.mean(b))
        assert torch.isfinite(residual).all() and (variance > 1e4).all()


def test_bad_input_is_named(labels: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    factors = {group: factor_of(*pair) for group, pair in labels.items()}
    with pytest.raises(ValueError, match="the noise of group 'energy' must be positive and finite, got 0"):
        Posterior(factors, BLOCK, {"energy": 0.0, "forces": 1.0}, AMPLITUDES)
    with pytest.raises(ValueError, match="group 'energy' has no noise"):
        Posterior(factors, BLOCK, {"forces": 1.0}, AMPLITUDES)
    with pytest.raises(ValueError, match="every amplitude must be positive"):
        Posterior(factors, BLOCK, NOISE, -AMPLITUDES)
    with pytest.raises(ValueError, match="expected amplitudes float64"):
        Posterior(factors, BLOCK, NOISE, AMPLITUDES.float())
    with pytest.raises(ValueError, match="block must name one of 2 amplitudes"):
        Posterior(factors, BLOCK + 1, NOISE, AMPLITUDES)
    with pytest.raises(ValueError, match=r"expected \(M, n_blocks\) = \(9, 2\)"):
        Posterior(factors, BLOCK[:-1], NOISE, AMPLITUDES)
