"""Smaller models inside a fit are the fits with fewer inducing environments."""

from __future__ import annotations

import numpy as np
import torch

from kernpot import SparseGPPotential
from kernpot.functionals.state import InducingBlock
from kernpot.gp.learning.leave_one_out import choose_kept
from kernpot.gp.learning.nested import Compressed, leading
from kernpot.gp.rows.compress import Compressor, compress
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.structures.labels import label_structures
from tests.helpers.systems import crystals, soap


def compressed(rows: Compressor, whitening: Whitening) -> Compressed:
    return Compressed(rows.factors, whitening.block, rows.kept)


def test_leading_columns_are_the_model_with_fewer_environments() -> None:
    frames = crystals(6, symbols="Cu3Au")
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=20, random_state=0, optimize=False).fit(frames)
    fitted, labelled = gp.fitted_, label_structures(frames)
    keep = choose_kept(labelled, np.random.RandomState(0), 20)
    whole = compressed(compress(labelled, fitted.maker, keep), fitted.whitening)
    blocks, start = [], 0
    for b in fitted.whitening.blocks:
        own = b.environments[: max(1, len(b.environments) * 9 // 20)]
        columns = slice(start, start + len(own))
        blocks.append(InducingBlock(b.descriptor, b.element, b.function, own, columns))
        start = columns.stop
    few = Whitening(blocks)
    expected = compressed(
        compress(labelled, RowMaker(fitted.features, few, fitted.noise_model, fitted.isolated), keep), few
    )
    found = leading(whole, 9)
    assert torch.equal(found.block, expected.block)
    assert set(found.factors) == set(expected.factors)
    for group, factor in found.factors.items():
        other = expected.factors[group]
        scale = float(other.triangle.norm())
        for weights in torch.randn(
            (3, len(few.block)), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
        ):
            assert abs(factor.missed(weights) / other.missed(weights) - 1) < 1e-9
        assert torch.allclose(
            factor.triangle.mT @ factor.triangle, other.triangle.mT @ other.triangle, atol=1e-9 * scale**2
        )
        assert factor.n_rows == other.n_rows and torch.equal(factor.prior, other.prior)
    for one, other in zip(found.kept, expected.kept, strict=True):
        for part, same in zip(one.parts, other.parts, strict=True):
            assert torch.allclose(part.rows, same.rows, atol=1e-9)


def test_a_model_that_is_small_enough_stays_itself() -> None:
    whole = Compressed({}, torch.zeros(5, dtype=torch.int64), [])
    assert leading(whole, 5) is whole
