"""Compressed labels against the stacked rows they stand for, and shares of work."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import Structure
from kernpot.gp.rows.compress import Compressor, compress, deal
from kernpot.gp.rows.maker import LabelRows, RowMaker
from kernpot.regression.factor import LabelFactor
from kernpot.structures.labels import LabelledStructure, label_structures, n_labels
from tests.gp.small import fitted
from tests.helpers.systems import cluster, crystals, labelled

FRAMES = label_structures(
    [*crystals(2, symbols="Cu3Au"), labelled(cluster("Cu2Au2"), ["energy"]), cluster("CuAu3", seed=1)]
)


@pytest.fixture(scope="module")
def maker() -> RowMaker:
    return fitted().fitted_.maker


def rows_of(maker: RowMaker, structures: Iterable[LabelledStructure]) -> dict[str, list[LabelRows]]:
    found: dict[str, list[LabelRows]] = {}
    for s in structures:
        for part in maker(s, Structure(maker.descriptors, s.atoms)):
            found.setdefault(part.group, []).append(part)
    return found


def require_equal(factors: dict[str, LabelFactor], maker: RowMaker, structures: Iterable[LabelledStructure]) -> None:
    """Products of rows and labels of each group, and sums of prior variances."""
    parts = rows_of(maker, structures)
    assert set(factors) == set(parts)
    for group, factor in factors.items():
        rows, y = (torch.cat([getattr(part, name) for part in parts[group]]) for name in ("rows", "targets"))
        r, c = factor.triangle, factor.projected
        torch.testing.assert_close(r.mT @ r, rows.mT @ rows, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(r.mT @ c, rows.mT @ y, rtol=1e-10, atol=1e-10)
        assert float(c.square().sum() + factor.residual) == pytest.approx(float(y.square().sum()), rel=1e-10)
        torch.testing.assert_close(factor.prior, sum(part.prior.sum(0) for part in parts[group]))
        assert factor.n_rows == len(y)


@pytest.mark.parametrize("described", [False, True])
def test_factors_are_those_of_all_rows_stacked(maker: RowMaker, described: bool) -> None:
    ready = Descriptions(maker.descriptors, [s.atoms for s in FRAMES]) if described else None
    told: list[tuple[str, int, int]] = []
    found = compress(FRAMES, maker, described=ready, progress=lambda *what: told.append(what))
    require_equal(found.factors, maker, FRAMES)
    assert told == [("rows", k + 1, len(FRAMES)) for k in range(len(FRAMES))] and not found.kept


def test_parts_that_others_made_merge_into_the_whole(maker: RowMaker) -> None:
    """Also where one of them has labels of a kind that the other has none of."""
    first, second = compress(FRAMES[2:3], maker), compress([FRAMES[3], *FRAMES[:2]], maker)
    total = Compressor(maker)
    for part in (first, second):
        total.merge(part.result())
    require_equal(total.factors, maker, FRAMES)


def test_kept_rows_are_those_of_their_structures(maker: RowMaker) -> None:
    """They lie in one piece of memory, where none may overwrite another."""
    found = compress(FRAMES, maker, keep={3, 0})
    for kept, k in zip(found.kept, (0, 3), strict=True):
        parts = rows_of(maker, [FRAMES[k]])
        assert sum(len(part.targets) for part in kept.parts) == n_labels(FRAMES[k])
        for part in kept.parts:
            torch.testing.assert_close(part.rows, torch.cat([p.rows for p in parts[part.group]]))
        v = torch.arange(3.0 * len(FRAMES[k].atoms), dtype=torch.float64)
        assert float(kept.surroundings.pool(v).min()) >= 1.0  # between the means of the first and of the last atom
    require_equal(found.factors, maker, FRAMES)


@pytest.mark.parametrize(
    ("sizes", "m"),
    [([4] * 50, 10), ([9, *7 * [1]] * 6, 10), ([1, 90, 2, 3, 40, 5, 5, 5, 5, 7, 60], 2), ([3, 2], 100)],
)
def test_shares_are_all_structures_once_and_of_similar_cost(sizes: list[int], m: int) -> None:
    shares = deal(sizes, m)
    assert sorted(k for share in shares for k in share) == list(range(len(sizes)))
    assert len(shares) % 4 == 0 or len(shares) == len(sizes)
    cost = [sum(sizes[k] for k in share) for share in shares]
    assert max(cost) - min(cost) <= max(sizes)
