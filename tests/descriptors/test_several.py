"""Gradients of several sums of features at once are those of one at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.descriptors import SOAPFeatures, blocks
from tests.helpers.soaps import COMPRESSIONS, make_soap, random_atoms


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("weighting", ["poly m=2", "none"])
def test_many_gradients_are_those_of_single_pulls(
    compression: str, weighting: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_TANGENT_PAIRS", 7)  # neighbours of one centre in several parts
    features = SOAPFeatures(make_soap(weighting, compression, weighted=True))
    atoms = random_atoms(rng, 6)
    pairs = features.pairs(atoms)
    block = features.environments(torch.from_numpy(atoms.numbers), pairs, 1, 5)
    v = torch.from_numpy(rng.normal(size=(4, blocks._MANY, features.n_features)))
    for k, found in enumerate(block.pull(v)):
        expected = block.environments.pull(v[:, k].contiguous())
        torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))
