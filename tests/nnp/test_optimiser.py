"""Adam for stacked members: the formula, clipping, averages, state."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from kernpot.nnp.optimiser import Optimiser

K = 3


def parameters(shared: bool = False, members: Sequence[int] = range(K)) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    found = [torch.randn((1 if shared else K, 4, 2), generator=g), torch.randn((K, 5), generator=g)]
    return [(t[list(members)] if len(t) == K else t).clone().requires_grad_() for t in found]


def gradients(step: int, members: Sequence[int] = range(K), shared: bool = False) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(100 + step)
    found = [torch.randn((1 if shared else K, 4, 2), generator=g), torch.randn((K, 5), generator=g)]
    return [t[list(members)] if len(t) == K else t for t in found]


def take(optimiser: Optimiser, given: Sequence[torch.Tensor | None], rate: float = 0.01) -> None:
    for p, g in zip(optimiser.parameters, given, strict=True):
        p.grad = None if g is None else g.clone()
    optimiser.step(rate)


def test_equals_adam_where_nothing_is_clipped() -> None:
    ours, theirs = parameters(), parameters()
    optimiser, adam = Optimiser(ours, 1e9, 10), torch.optim.Adam(theirs, lr=0.02)
    for step in range(30):
        take(optimiser, gradients(step), 0.02)
        for p, g in zip(theirs, gradients(step), strict=True):
            p.grad = g
        adam.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_gradients_are_used_up() -> None:
    optimiser = Optimiser(parameters(), 5.0, 10)
    take(optimiser, gradients(0))
    assert all(p.grad is None for p in optimiser.parameters)


def test_a_member_is_the_same_in_any_company() -> None:
    """Also when the others run away."""
    three, two = Optimiser(parameters(), 5.0, 10), Optimiser(parameters(members=[2, 1]), 5.0, 10)
    for step in range(20):
        loud = gradients(step)
        if step == 7:
            for g in loud:
                g[0] *= 1e6
        take(three, loud)
        take(two, gradients(step, [2, 1]))
    for a, b in zip([*three.parameters, *three.average], [*two.parameters, *two.average], strict=True):
        assert torch.equal(a[[2, 1]], b)


def test_a_sudden_gradient_is_clipped() -> None:
    calm, sudden = Optimiser(parameters(), 5.0, 10), Optimiser(parameters(), 5.0, 10)
    for step in range(10):
        for optimiser in (calm, sudden):
            take(optimiser, gradients(step))
    before = [m.clone() for m in sudden.first]
    usual = sudden.usual.clone()
    large = gradients(10)
    for g in large:
        g[1] *= 1e5
    take(sudden, large)
    norm = torch.stack([g.flatten(1).square().sum(1) for g in large]).sum(0).sqrt()
    scale = torch.where(norm > 5 * usual, 5 * usual / norm, 1.0)
    assert float(scale[1]) < 1e-3 and scale[0] == scale[2] == 1
    for m, old, g in zip(sudden.first, before, large, strict=True):
        expected = 0.9 * old + 0.1 * g * scale.view(-1, *[1] * (g.ndim - 1))
        torch.testing.assert_close(m, expected, rtol=1e-5, atol=1e-6)
    assert float(sudden.usual[1]) < 1.01 * float(usual[1])


def test_a_shared_body_follows_the_member_that_is_clipped_most() -> None:
    optimiser = Optimiser(parameters(shared=True), 5.0, 10)
    for step in range(5):
        take(optimiser, gradients(step, shared=True))
    body, before = optimiser.first[0].clone(), optimiser.usual.clone()
    given = gradients(5, shared=True)
    given[1][2] *= 1e4
    take(optimiser, given)
    norm = (given[0].flatten(1).square().sum(1) + given[1].square().sum(1)).sqrt()
    least = float((5 * before / norm)[2])
    assert least < 0.01
    torch.testing.assert_close(optimiser.first[0], 0.9 * body + 0.1 * least * given[0], rtol=1e-4, atol=1e-6)


def test_a_member_without_a_gradient_at_first_learns_later() -> None:
    """A bootstrap may leave out all structures of the first batch."""
    optimiser = Optimiser(parameters(), 5.0, 10)
    first = gradients(0)
    for g in first:
        g[1] = 0.0
    start = [p.detach().clone() for p in optimiser.parameters]
    take(optimiser, first)
    for p, old in zip(optimiser.parameters, start, strict=True):
        assert torch.equal(p[1], old[1]) and not torch.equal(p[0], old[0])
    for step in (1, 2, 3):
        take(optimiser, gradients(step))
    for p, old in zip(optimiser.parameters, start, strict=True):
        assert float((p.detach()[1] - old[1]).abs().max()) > 0.005
    assert bool(torch.isfinite(torch.cat([p.flatten() for p in optimiser.parameters])).all())


def test_a_shared_body_learns_though_a_member_has_no_gradient_at_first() -> None:
    optimiser = Optimiser(parameters(shared=True), 5.0, 10)
    start = optimiser.parameters[0].detach().clone()
    first = gradients(0, shared=True)
    first[0][:] = 0.0
    first[1][1] = 0.0
    take(optimiser, first)
    for step in (1, 2, 3):
        take(optimiser, gradients(step, shared=True))
    assert float((optimiser.parameters[0].detach() - start).abs().max()) > 0.005


def test_parameters_that_no_structure_of_a_batch_asks_for() -> None:
    """No gradient is a gradient of zero."""
    without, zero = Optimiser(parameters(), 5.0, 10), Optimiser(parameters(), 5.0, 10)
    for step in range(6):
        given = gradients(step)
        given[1] *= step % 2
        take(zero, given)
        take(without, [given[0], given[1] if step % 2 else None])
    for a, b in zip(without.parameters, zero.parameters, strict=True):
        assert torch.equal(a, b)


def test_average_begins_as_a_mean_and_goes_on_exponentially() -> None:
    optimiser = Optimiser(parameters(), 5.0, 4)
    seen: list[torch.Tensor] = []
    expected = torch.zeros(())
    for step in range(12):
        take(optimiser, gradients(step))
        seen.append(optimiser.parameters[1].detach().clone())
        expected = torch.stack(seen).mean(0) if step < 4 else 0.75 * expected + 0.25 * seen[-1]
        torch.testing.assert_close(optimiser.average[1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_restored_goes_on_to_the_same_bits(shared: bool) -> None:
    through, stopped = Optimiser(parameters(shared), 5.0, 10), Optimiser(parameters(shared), 5.0, 10)
    for step in range(5):
        take(through, gradients(step, shared=shared))
        take(stopped, gradients(step, shared=shared))
    state = {name: t.clone() for name, t in stopped.state().items()}
    again = Optimiser([torch.zeros_like(p).requires_grad_() for p in parameters(shared)], 5.0, 10)
    again.restore(state)
    for step in range(5, 12):
        take(through, gradients(step, shared=shared))
        take(again, gradients(step, shared=shared))
    assert again.steps == 12
    for name, t in through.state().items():
        assert torch.equal(t, again.state()[name]), name
