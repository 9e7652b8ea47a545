"""Whitened rows against dense solves, and jitter where inducing environments are alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.errors import JitterWarning, NumericalError
from kernpot.functionals.state import InducingBlock
from kernpot.gp.rows.whitening import Whitening
from kernpot.kernels import Power


def block(rng: np.random.Generator, n: int, start: int = 0, zeta: int = 2, noise: float = 1.0) -> InducingBlock:
    """Environments that scatter about one by so much."""
    u = torch.from_numpy(np.ones(6) + noise * rng.normal(size=(n, 6)))
    return InducingBlock(0, 29, Power(zeta), torch.nn.functional.normalize(u, dim=1), slice(start, start + n))


def prior(whitening: Whitening) -> np.ndarray:
    """``K_MM + jitter``, block by block."""
    parts = [
        block.function.value(block.environments @ block.environments.T) + jitter * torch.eye(len(block.environments))
        for block, jitter in zip(whitening.blocks, whitening.jitter, strict=True)
    ]
    return torch.block_diag(*parts).numpy()


def test_products_of_whitened_rows_are_what_inducing_environments_represent(rng: np.random.Generator) -> None:
    whitening, rows = Whitening([block(rng, 4), block(rng, 3, 4, zeta=3)]), rng.normal(size=(5, 7))
    b = whitening(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(b @ b.T, rows @ np.linalg.solve(prior(whitening), rows.T), rtol=1e-9)
    assert whitening.block.tolist() == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
def test_weights_of_rows_give_what_those_of_whitened_rows_do(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    whitening = Whitening([block(rng, 4), block(rng, 3, 4)])
    rows, whitened = torch.from_numpy(rng.normal(size=(5, 7))), torch.from_numpy(rng.normal(size=shape))
    found = whitening.weights(whitened)
    assert found.shape == shape
    torch.testing.assert_close(found @ rows.T, whitened @ whitening(rows).T, rtol=1e-9, atol=1e-9)


def test_inducing_environments_are_white_themselves(rng: np.random.Generator) -> None:
    one = block(rng, 5)
    whitened = Whitening([one])(one.function.value(one.environments @ one.environments.T))
    torch.testing.assert_close(whitened @ whitened.mT, one.function.value(one.environments @ one.environments.T))


def test_jitter_is_added_to_every_prior_variance(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is large enough to be seen."""
    for name in ("_JITTER", "_LARGEST"):
        monkeypatch.setattr(f"kernpot.gp.rows.whitening.{name}", 0.05)
    (factor,), one = Whitening([block(rng, 5)]).factors, torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close((factor @ factor.mT).diagonal(), 1.05 * one)


def test_nearly_equal_environments_get_more_jitter_and_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """With twice as many environments as directions, so that half the eigenvalues are rounding."""
    monkeypatch.setattr("kernpot.gp.rows.whitening._JITTER", 1e-17)
    alike = block(np.random.default_rng(0), 12, zeta=1)
    with pytest.warns(JitterWarning, match="12 inducing environments of element 29 needed jitter"):
        whitening = Whitening([alike])
    (factor,), (jitter,) = whitening.factors, whitening.jitter
    assert 1e-17 < jitter < 1e-12
    torch.testing.assert_close(factor @ factor.mT, torch.from_numpy(prior(whitening)), rtol=0, atol=1e-14)


def test_features_that_are_no_numbers_are_refused(rng: np.random.Generator) -> None:
    bad = block(rng, 3)
    bad.environments[1, 2] = float("nan")
    with pytest.raises(NumericalError, match="Check the features for NaN"):
        Whitening([bad])
