"""Sketches of labels are their products with predictions, whatever the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.gp.rows.maker import LabelRows
from kernpot.gp.rows.sketch import Sketching


def part(group: str, n: int, rng: np.random.Generator) -> LabelRows:
    rows, y = torch.from_numpy(rng.normal(size=(n, 5))), torch.from_numpy(rng.normal(size=n))
    return LabelRows(group, rows, y, torch.ones((n, 1), dtype=torch.float64), torch.arange(n))


def test_agreement_is_that_of_all_parts(rng: np.random.Generator) -> None:
    parts = [part("forces", 6, rng), part("energy", 1, rng), part("forces", 3, rng), part("stress[own]", 6, rng)]
    drawing = Sketching()
    for one in parts:
        drawing.add(one)
    found = drawing.done()
    weights = torch.from_numpy(rng.normal(size=5))
    rows, y = torch.cat([parts[0].rows, parts[2].rows]), torch.cat([parts[0].targets, parts[2].targets])
    expected = float(y @ (rows @ weights) / (y @ y))
    assert found.components["forces"].agreement(weights) == pytest.approx(expected, rel=1e-12)
    assert set(found.components) == {"forces", "stress"}
    assert found.energy is not None
    assert torch.equal(found.energy.row, parts[1].rows[0])
    assert found.energy.target == float(parts[1].targets[0])
