"""Conjugate gradients against direct solutions."""

from __future__ import annotations

import torch
from torch import Tensor

from kernpot.regression.conjugate_gradients import ConjugateGradients

K, P = 3, 20


def _systems(condition: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    basis, _ = torch.linalg.qr(torch.randn(K, P, P, dtype=torch.float64, generator=generator))
    values = torch.logspace(0.0, condition, P, dtype=torch.float64)
    return basis @ (values[:, None] * basis.mT), torch.randn(K, P, dtype=torch.float64, generator=generator)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors[:, :, None])[:, :, 0]


def test_several_systems_at_once() -> None:
    matrices, right = _systems(2.0)
    start = torch.ones_like(right)
    solver = ConjugateGradients(start, right - _times(matrices, start), lambda r: r)
    for _ in range(6 * P):
        solver.step(_times(matrices, solver.direction))
    torch.testing.assert_close(solver.solution, torch.linalg.solve(matrices, right), rtol=1e-7, atol=1e-9)
    assert bool((start == 1.0).all())


def test_lengths_follow_what_is_linear_in_the_solution() -> None:
    matrices, right = _systems(2.0)
    seen = torch.randn(5, P, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    solver = ConjugateGradients(torch.zeros_like(right), right, lambda r: r)
    followed = torch.zeros(K, 5, dtype=torch.float64)
    for _ in range(4):
        direction = solver.direction.clone()
        followed += solver.step(_times(matrices, direction))[:, None] * (direction @ seen.mT)
    torch.testing.assert_close(followed, solver.solution @ seen.mT)


def test_the_inverse_as_preconditioner_needs_one_step_and_then_nothing_moves() -> None:
    matrices, right = _systems(6.0)
    inverse = torch.linalg.inv(matrices)
    solver = ConjugateGradients(torch.zeros_like(right), right, lambda r: _times(inverse, r))
    solver.step(_times(matrices, solver.direction))
    once = solver.solution.clone()
    torch.testing.assert_close(_times(matrices, once), right, rtol=1e-8, atol=1e-8)
    still = ConjugateGradients(once, torch.zeros_like(right), lambda r: r)
    assert bool((still.step(_times(matrices, still.direction)) == 0.0).all())
    assert torch.equal(still.solution, once)
