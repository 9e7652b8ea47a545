"""The streamed factor is the batch least-squares problem, however the rows arrive."""

from __future__ import annotations

import pickle

import pytest
import torch

from kernpot.errors import NumericalError
from kernpot.regression import factor as factor_module
from kernpot.regression.factor import LabelFactor, triangle_of

M, BLOCKS = 12, 2


def labels(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows with correlated columns of very different size, as whitening by a Cholesky factor leaves them."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, M, dtype=torch.float64, generator=generator) @ torch.triu(
        torch.ones(M, M, dtype=torch.float64)
    )
    rows = rows * torch.logspace(0, -6, M, dtype=torch.float64)
    targets = 3.0 * torch.randn(n, dtype=torch.float64, generator=generator)
    return rows, targets, 10.0 + torch.rand(n, BLOCKS, dtype=torch.float64, generator=generator)


def factor_of(*batches: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> LabelFactor:
    factor = LabelFactor.empty(M, BLOCKS)
    for batch in batches:
        factor.add(*batch)
    return factor


def assert_same(a: LabelFactor, b: LabelFactor) -> None:
    """Column by column, because the columns differ by orders of magnitude."""
    scale = b.triangle.norm(dim=0)
    assert torch.allclose(a.triangle / scale, b.triangle / scale, atol=1e-11, rtol=0)
    assert torch.allclose(a.projected, b.projected, atol=1e-10, rtol=1e-10)
    assert a.residual == pytest.approx(b.residual, rel=1e-11)
    assert a.n_rows == b.n_rows
    assert torch.allclose(a.prior, b.prior, rtol=1e-13)


@pytest.mark.parametrize("n", [1, M - 1, M, M + 1, 2 * M, 3 * M + 1, 3 * M + 2, 200])
def test_represents_every_least_squares_misfit(n: int) -> None:
    rows, targets, prior = labels(n)
    factor = factor_of((rows, targets, prior))
    for seed in range(3):
        weights = torch.randn(M, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        misfit = (factor.projected - factor.triangle @ weights).square().sum() + factor.residual
        assert float(misfit) == pytest.approx(float((targets - rows @ weights).square().sum()), rel=1e-12)
    assert factor.n_rows == n
    assert torch.equal(factor.triangle, factor.triangle.triu())
    assert (factor.triangle.diagonal() >= 0).all()
    assert torch.allclose(factor.prior, prior.sum(dim=0))


@pytest.mark.parametrize("chunk", [1, 5, M, 37, 100])
def test_streamed_equals_batch(chunk: int) -> None:
    rows, targets, prior = labels(300)
    streamed = LabelFactor.empty(M, BLOCKS)
    for start in range(0, 300, chunk):
        part = slice(start, start + chunk)
        streamed.add(rows[part], targets[part], prior[part])
        if start % 3 == 0:
            assert streamed.residual >= 0  # looking at the state must not change what follows
    assert_same(streamed, factor_of((rows, targets, prior)))
    direct = triangle_of(torch.cat([rows, targets[:, None]], dim=1))
    assert torch.allclose(streamed.triangle / rows.norm(dim=0), direct[:M, :M] / rows.norm(dim=0), atol=1e-12)


@pytest.mark.parametrize("sizes", [(150, 90), (150, 3), (3, 150), (2, 3), (150, 0), (0, 150)])
def test_merge_equals_batch_and_leaves_the_other_alone(sizes: tuple[int, int]) -> None:
    first, second = labels(sizes[0], seed=1), labels(sizes[1], seed=2)
    merged, other = factor_of(first), factor_of(second)
    merged.merge(other)
    both = factor_of(tuple(torch.cat(pair) for pair in zip(first, second, strict=True)))  # type: ignore[arg-type]
    if sum(sizes) > M:
        assert_same(merged, both)
    assert merged.residual == pytest.approx(both.residual, rel=1e-9, abs=1e-12)
    assert other.n_rows == sizes[1]
    if sizes[1] > M:
        assert_same(other, factor_of(second))


def test_state_survives_the_model_file_and_grows_on() -> None:
    factor = factor_of(labels(70))
    tensors = factor.as_tensors()
    again = LabelFactor.from_tensors(tensors)
    assert torch.equal(again.triangle, factor.triangle)
    assert torch.equal(again.projected, factor.projected)
    assert again.residual == pytest.approx(factor.residual, rel=1e-15)
    more = labels(40, seed=5)
    factor.add(*more)
    again.add(*more)
    assert_same(again, factor)
    assert int(tensors["n_rows"]) == 70  # a snapshot, not a view of the growing buffer
    assert not torch.equal(tensors["triangle"], factor.triangle)


def test_workers_send_triangles_not_buffers() -> None:
    factor = factor_of(labels(70))
    sent = pickle.dumps(factor)
    assert len(sent) < 8 * 2 * M * M + 4000
    assert_same(pickle.loads(sent), factor)


def test_memory_does_not_grow_with_the_labels() -> None:
    factor = LabelFactor.empty(M, BLOCKS)
    for seed in range(20):
        factor.add(*labels(500, seed=seed))
    held = sum(value.untyped_storage().nbytes() for value in vars(factor).values() if isinstance(value, torch.Tensor))
    assert held <= 8 * (3 * M + 1) * (M + 1) + 8 * BLOCKS


def test_empty_factor_is_zero() -> None:
    factor = LabelFactor.empty(M, BLOCKS)
    assert factor.n_rows == 0 and factor.residual == 0.0
    assert not factor.triangle.any() and not factor.projected.any()
    assert_same_empty = LabelFactor.from_tensors(factor.as_tensors())
    assert assert_same_empty.residual == 0.0 and assert_same_empty.n_rows == 0


def test_bad_input_is_named() -> None:
    rows, targets, prior = labels(4)
    factor = LabelFactor.empty(M, BLOCKS)
    with pytest.raises(ValueError, match=r"rows: expected a float64 tensor of shape \(4, 12\)"):
        factor.add(rows[:, :-1], targets, prior)
    with pytest.raises(ValueError, match="targets: expected a float64"):
        factor.add(rows, targets.float(), prior)
    with pytest.raises(NumericalError, match="prior_variance: expected no negative"):
        factor.add(rows, targets, -prior)
    with pytest.raises(NumericalError, match="targets: not every number is finite"):
        factor.add(rows, targets * float("nan"), prior)
    assert factor.n_rows == 0 and not factor.triangle.any()
    with pytest.raises(ValueError, match="share their inducing environments"):
        factor.merge(LabelFactor.empty(M + 1, BLOCKS))
    with pytest.raises(ValueError, match="at least one inducing"):
        LabelFactor.empty(0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triangle": torch.ones(M, M, dtype=torch.float64)}, "upper triangle"),
        ({"residual": torch.tensor(-1.0, dtype=torch.float64)}, "residual >= 0"),
        ({"residual": torch.tensor(float("nan"), dtype=torch.float64)}, "residual >= 0"),
    ],
)
def test_damaged_state_is_refused(change: dict[str, torch.Tensor], message: str) -> None:
    tensors = factor_of(labels(30)).as_tensors()
    with pytest.raises(ValueError, match=message):
        LabelFactor.from_tensors(tensors | change)
    with pytest.raises(ValueError, match="missing: prior"):
        LabelFactor.from_tensors({name: value for name, value in tensors.items() if name != "prior"})


@pytest.mark.parametrize("n", [2 * M, 3 * M + 1, 200, 10 * M])
def test_large_factors_are_made_in_place(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, targets, prior = labels(n)
    expected = factor_of((rows, targets, prior))
    monkeypatch.setattr(factor_module, "_LARGE", 1)
    assert_same(factor_of((rows, targets, prior)), expected)
    assert_same(factor_of((rows[:7], targets[:7], prior[:7]), (rows[7:], targets[7:], prior[7:])), expected)


def test_a_compact_factor_takes_more_rows() -> None:
    rows, targets, prior = labels(100)
    factor = factor_of((rows[:60], targets[:60], prior[:60]))
    factor.compact()
    factor.add(rows[60:], targets[60:], prior[60:])
    factor.compact()
    assert_same(factor, factor_of((rows, targets, prior)))


def test_columns_of_a_factor_are_the_factor_of_the_columns() -> None:
    rows, targets, prior = labels(100)
    some = torch.tensor([0, 3, 4, 9])
    expected = LabelFactor.empty(len(some), BLOCKS)
    expected.add(rows[:, some], targets, prior)
    assert_same(factor_of((rows, targets, prior)).of_columns(some), expected)
    few = LabelFactor.empty(len(some), BLOCKS)
    few.add(rows[:3, some], targets[:3], prior[:3])
    found = factor_of((rows[:3], targets[:3], prior[:3])).of_columns(some)
    assert torch.allclose(found.triangle.mT @ found.triangle, few.triangle.mT @ few.triangle, rtol=1e-10)
    assert found.residual == pytest.approx(few.residual, abs=1e-9)
