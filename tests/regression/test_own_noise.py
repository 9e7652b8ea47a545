"""The change of the weights when every structure has noise of its own, against dense fits."""

from __future__ import annotations

import pytest
import torch

from kernpot.regression.factor import LabelFactor
from kernpot.regression.own_noise import own_noise_shift
from kernpot.regression.posterior import Posterior

M, N, SIZE = 8, 20, 12
F64 = torch.float64
BLOCK, AMPLITUDE = torch.zeros(M, dtype=torch.int64), torch.ones(1, dtype=F64)
TRUTH = torch.linspace(-1, 1, M, dtype=F64)


def structures(wrong: dict[int, float], size: float = 1.0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Rows and labels, both divided by noise of 0.01; all errors of the wrong ones go one way."""
    generator = torch.Generator().manual_seed(0)
    rows, targets = [], []
    for k in range(N):
        rows.append(100 * torch.randn(SIZE, M, dtype=F64, generator=generator))
        error = torch.randn(SIZE, dtype=F64, generator=generator) * size
        if k in wrong:
            error += 100 * wrong[k] * rows[k][:, 0] / 100
        targets.append(rows[k] @ TRUTH + error)
    return rows, targets


def posterior_of(rows: list[torch.Tensor], targets: list[torch.Tensor]) -> Posterior:
    factor = LabelFactor.empty(M, 1)
    b, y = torch.cat(rows), torch.cat(targets)
    factor.add(b, y, b.square().sum(1, keepdim=True) + 1.0)
    return Posterior({"forces": factor}, BLOCK, {"forces": 1.0}, AMPLITUDE)


def test_it_leads_from_what_a_few_wrong_structures_say_to_what_the_others_do() -> None:
    wrong = {3: 0.3, 8: 0.2, 15: 0.4}
    rows, targets = structures(wrong)
    fit = posterior_of(rows, targets)
    others = [k for k in range(N) if k not in wrong]
    best = posterior_of([rows[k] for k in others], [targets[k] for k in others]).whitened_weights
    found = fit.whitened_weights + own_noise_shift(fit, rows, targets)
    assert float((found - best).norm()) < 0.05 * float((fit.whitened_weights - best).norm())


def test_it_is_a_small_part_of_the_spread_where_the_model_is_right() -> None:
    """Each direction holds a part of its standard deviation: there is nothing that noise could decide."""
    rows, targets = structures({})
    fit = posterior_of(rows, targets)
    assert float((fit.root @ own_noise_shift(fit, rows, targets)).norm()) / M**0.5 < 0.7


def test_nothing_moves_without_structures() -> None:
    assert not own_noise_shift(posterior_of(*structures({})), [], []).any()


def test_a_common_factor_of_all_errors_moves_nothing() -> None:
    """The mean logarithm of the noise stays."""
    wrong = {3: 0.3}
    rows, targets = structures(wrong)
    fit = posterior_of(rows, targets)
    shift = own_noise_shift(fit, rows, targets)
    larger = [b @ TRUTH + 50 * (y - b @ TRUTH) for b, y in zip(rows, targets, strict=True)]
    again = posterior_of(rows, larger)
    torch.testing.assert_close(own_noise_shift(again, rows, larger), 50 * shift, rtol=0.05, atol=1e-2)


@pytest.mark.parametrize("size", [3, 12])  # fewer labels of a structure than weights, and more
def test_equals_fits_without_each_structure(size: int) -> None:
    """The same steps, each error from weights fitted to all others."""
    rows, targets = structures({3: 0.3, 8: 0.2})
    rows, targets = [b[:size] for b in rows], [y[:size] for y in targets]

    def weights(precisions: torch.Tensor, without: int | None = None) -> torch.Tensor:
        some = [k for k in range(N) if k != without]
        roots = [precisions[k].sqrt() for k in some]
        b, y = ([r * of[k] for r, k in zip(roots, some, strict=True)] for of in (rows, targets))
        return posterior_of(b, y).whitened_weights

    precisions = torch.ones(N, dtype=F64)
    for _ in range(3):
        errors = [targets[k] - rows[k] @ weights(precisions, k) for k in range(N)]
        spread = torch.stack([(1 + e.square().sum()) / (1 + size) for e in errors])
        precisions = (spread.log().mean().exp() / spread).clamp(0.01, 100)
    expected = weights(precisions) - weights(torch.ones(N, dtype=F64))
    found = own_noise_shift(posterior_of(rows, targets), rows, targets)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("size", [0.3, 30.0])
def test_a_widened_posterior_has_the_covariance_added(size: float) -> None:
    fit = posterior_of(*structures({}))
    direction = size * torch.linspace(1, 2, M, dtype=F64) * 1e-3
    wide = fit.widened(direction)
    unit = torch.eye(M, dtype=F64)
    torch.testing.assert_close(wide.covariance(unit), fit.covariance(unit) + torch.outer(direction, direction))
    assert torch.equal(wide.root, wide.root.triu())
    torch.testing.assert_close(wide.whitened_weights, fit.whitened_weights, rtol=0, atol=0)
