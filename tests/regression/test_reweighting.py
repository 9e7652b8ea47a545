"""Leave-one-out residuals at scaled noise, against posteriors made at that noise."""

import numpy as np
import pytest
import torch

from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior, leave_out
from kernpot.regression.reweighting import Reweighting

M = 15
BLOCK, AMPLITUDE = torch.tensor([0] * 9 + [1] * 6), torch.tensor([1.5, 0.7], dtype=torch.float64)


@pytest.mark.parametrize("n_forces", [9, 40])  # fewer labels of a structure than inducing environments, and more
@pytest.mark.parametrize("n_structures", [3, 12])  # fewer scaled labels than inducing environments, and more
@pytest.mark.parametrize("factor", [1.0, 3.0, 50.0])
def test_equals_posteriors_made_anew(rng, n_structures, n_forces, factor):
    kinds = {"energy": 1, "energy[bulk]": 2, "forces": n_forces}
    factors = {group: LabelFactor.empty(M, 2) for group in kinds}
    structures = []
    for _ in range(n_structures):
        parts = {
            group: (torch.from_numpy(rng.normal(size=(n, M))), torch.from_numpy(rng.normal(size=n)))
            for group, n in kinds.items()
        }
        for group, (rows, targets) in parts.items():
            factors[group].add(rows, targets, torch.full((len(targets), 2), 100.0, dtype=torch.float64))
        structures.append(parts)
    noise = {"energy": 0.02, "energy[bulk]": 0.05, "forces": 0.4}
    scaled = {group: sigma * (factor if group.startswith("energy") else 1) for group, sigma in noise.items()}
    posterior = Posterior(factors, BLOCK, scaled, AMPLITUDE)
    free = [group for group in noise if group.startswith("energy")]
    reweighting = Reweighting(
        Posterior(factors, BLOCK, noise, AMPLITUDE),
        [factors[g] for g in free],
        [noise[g] for g in free],
        [3 + n_forces] * n_structures,
    )
    projected, expected = [], []
    for parts in structures:

        def stacked(levels, parts=parts):
            rows = torch.cat([parts[g][0] * posterior.scale / levels[g] for g in levels])
            return rows, torch.cat([parts[g][1] / levels[g] for g in levels])

        rows, y = stacked(scaled)
        expected.append(leave_out(posterior, rows, y - posterior.mean(rows))[0])
        projected.append(reweighting.project(*stacked(noise), torch.tensor([True] * 3 + [False] * n_forces)))
    for found, right in zip(reweighting.residuals(projected, factor), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-7, atol=1e-8)
