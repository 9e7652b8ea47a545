"""All noise scaled to make errors on structures left out small."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.gp.learning import noise_scale as module
from kernpot.gp.learning.leave_one_out import leave_one_out
from kernpot.gp.learning.nested import Compressed
from kernpot.gp.learning.noise_scale import noise_scale
from kernpot.gp.rows.maker import KeptRows, LabelRows
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior

M = 12
BLOCK, AMPLITUDE = torch.zeros(M, dtype=torch.int64), torch.ones(1, dtype=torch.float64)


class Alone:
    """Stands for `Surroundings`: the average is the label's own variance."""

    def pool(self, own):
        return own


def drawn(rng: np.random.Generator, noise: dict[str, float], n_forces: int = 9, n_exact: int = 0) -> Compressed:
    """Eighty structures whose labels scatter by the noise about a linear model, but for the first ``n_exact``."""
    truth = torch.from_numpy(rng.normal(size=M))
    factors = {group: LabelFactor.empty(M, 1) for group in noise}
    kept = []
    for place in range(80):
        parts = []
        for group, n in (("energy", 1), ("forces", n_forces)):
            rows = torch.from_numpy(rng.normal(size=(n, M)))
            scatter = 0.0 if place < n_exact else noise[group]
            targets = rows @ truth + scatter * torch.from_numpy(rng.normal(size=n))
            parts.append(LabelRows(group, rows, targets, rows.square().sum(1, keepdim=True), torch.arange(n)))
            factors[group].add(parts[-1].rows, parts[-1].targets, parts[-1].prior)
        kept.append(KeptRows(parts, Alone(), {"energy": 1, "forces": n_forces}))
    return Compressed(factors, BLOCK, kept)


@pytest.mark.parametrize("n_forces", [9, 30])
def test_the_score_is_that_of_leave_one_out_at_the_scaled_noise(rng, n_forces: int) -> None:
    noise = {"energy": 0.01, "forces": 0.3}
    data = drawn(rng, noise, n_forces)
    given = {group: 200 * level for group, level in noise.items()}
    found = noise_scale(data, given, set(), AMPLITUDE)
    assert found.factor < 0.5
    scaled = {group: found.factor * level for group, level in given.items()}
    posterior = Posterior(data.factors, BLOCK, scaled, AMPLITUDE)
    assert found.score == pytest.approx(leave_one_out(data.kept, posterior, scaled, BLOCK, AMPLITUDE).score(), abs=1e-6)
    as_given = Posterior(data.factors, BLOCK, given, AMPLITUDE)
    assert found.score < leave_one_out(data.kept, as_given, given, BLOCK, AMPLITUDE).score() - 0.01


def test_right_noise_stays(rng) -> None:
    noise = {"energy": 0.01, "forces": 0.3}
    assert noise_scale(drawn(rng, noise), noise, set(), AMPLITUDE).factor == 1.0


def test_where_not_all_structures_are_left_out_those_that_are_do_not_come_first(rng, monkeypatch) -> None:
    data = drawn(rng, {"energy": 0.3, "forces": 0.3}, n_exact=20)
    given = {"energy": 3.0, "forces": 3.0}
    monkeypatch.setattr(module, "_LABELS", sum(sum(one.sizes.values()) for one in data.kept) // 2)
    half = noise_scale(data, given, set(), AMPLITUDE)
    monkeypatch.undo()
    monkeypatch.setattr(module, "FEWEST", 40)
    assert half == noise_scale(data._replace(kept=data.kept[::2]), given, set(), AMPLITUDE)
    assert half != noise_scale(data._replace(kept=data.kept[:40]), given, set(), AMPLITUDE)


def test_noise_that_is_held_is_not_scaled(rng) -> None:
    noise = {"energy": 0.01, "forces": 0.3}
    data = drawn(rng, noise)
    given = {group: 200 * level for group, level in noise.items()}
    assert noise_scale(data, given, set(noise), AMPLITUDE).factor == 1.0
    one = noise_scale(data, given, {"energy"}, AMPLITUDE)
    scaled = {"energy": given["energy"], "forces": one.factor * given["forces"]}
    posterior = Posterior(data.factors, BLOCK, scaled, AMPLITUDE)
    assert one.score == pytest.approx(leave_one_out(data.kept, posterior, scaled, BLOCK, AMPLITUDE).score(), abs=1e-6)


def test_less_noise_must_pay_off_beyond_what_chance_makes_of_few_structures(rng) -> None:
    noise = {"energy": 0.01, "forces": 0.3}
    data = drawn(rng, noise)
    given = {group: 200 * level for group, level in noise.items()}
    chosen = noise_scale(data, given, set(), AMPLITUDE)
    scores, parts = {}, {}
    for steps in range(11):
        factor = 0.5 ** (steps / 2)
        scaled = {group: factor * level for group, level in given.items()}
        errors = leave_one_out(data.kept, Posterior(data.factors, BLOCK, scaled, AMPLITUDE), scaled, BLOCK, AMPLITUDE)
        scores[factor] = errors.score()
        mae = errors.mae()
        # A structure's part of the score to first order: its own mean over that of all, as there are equally many.
        own = {kind: np.array([np.abs(r).mean() for r in of]) for kind, of in errors.residuals.items()}
        parts[factor] = sum(e / mae[kind] for kind, e in own.items())
    best = min(scores, key=scores.__getitem__)
    assert best < 1.0
    good = [f for f in scores if scores[f] - scores[best] <= np.std(parts[f] - parts[best]) / np.sqrt(len(data.kept))]
    assert chosen.factor == pytest.approx(max(good))
