"""Gains and updated roots against determinants and normal equations written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kernpot.regression.gain import gain, log_det, updated

M = 7


def root_and_rows(rng: np.random.Generator, n: int, m: int = M) -> tuple[Tensor, Tensor]:
    """A positive upper triangle (m, m) and rows (n, m)."""
    triangle = np.triu(rng.normal(size=(m, m)), 1) + np.diag(rng.uniform(1.0, 3.0, m))
    return torch.from_numpy(triangle), torch.from_numpy(rng.normal(size=(n, m)))


def log_determinant(matrix: np.ndarray) -> float:
    sign, value = np.linalg.slogdet(matrix)
    assert sign == 1
    return float(value)


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (5, 5), (4, 1), (1, 4)])
def test_log_det_is_that_of_either_gram_matrix(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    half = rng.normal(size=shape)
    found = log_det(torch.from_numpy(half))
    assert found == pytest.approx(log_determinant(np.eye(shape[1]) + half.T @ half), rel=1e-12)
    assert found == pytest.approx(log_determinant(np.eye(shape[0]) + half @ half.T), rel=1e-12)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_gain_is_the_growth_of_the_log_determinant_of_the_precision(rng: np.random.Generator, n: int) -> None:
    root, rows = root_and_rows(rng, n)
    before = (root.mT @ root).numpy()
    expected = log_determinant(before + (rows.mT @ rows).numpy()) - log_determinant(before)
    assert gain(root, rows) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("n", "m"), [(1, M), (3, M), (20, M), (9, 45), (50, 1)])  # also more columns than one panel
def test_updated_root_is_that_of_the_sum_of_precisions(rng: np.random.Generator, n: int, m: int) -> None:
    root, rows = root_and_rows(rng, n, m)
    before = root.clone(), rows.clone()
    found = updated(root, rows)
    torch.testing.assert_close(found.triu().mT @ found.triu(), root.mT @ root + rows.mT @ rows, rtol=1e-12, atol=1e-12)
    assert torch.equal(found, found.triu())
    assert torch.equal(root, before[0]) and torch.equal(rows, before[1])


def test_what_is_learnt_in_two_steps_is_what_is_learnt_at_once(rng: np.random.Generator) -> None:
    """The chain rule of information: what the second rows add counts from where the first left."""
    root, rows = root_and_rows(rng, 9)
    in_two = gain(root, rows[:4]) + gain(updated(root, rows[:4]), rows[4:])
    assert in_two == pytest.approx(gain(root, rows), rel=1e-11)
    assert gain(updated(root, rows[:4]), rows[:4]) < gain(root, rows[:4])
