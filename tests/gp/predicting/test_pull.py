"""Everything that speaks of calibrated draws knows along which direction one noise for all structures decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from kernpot.functionals.rows import energy_rows
from kernpot.functionals.state import Structure
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.more import with_inducing, with_labels
from kernpot.gp.predicting.draws import sample_draws
from kernpot.gp.predicting.energy_std import energy_std
from kernpot.gp.predicting.sensitivities import sensitivities
from kernpot.structures.labels import label_structures
from tests.gp.small import fitted
from tests.helpers.systems import crystals, gases

FRAMES = crystals(3, symbols="Cu2Au2")
CRYSTAL = crystals(1, seed=3, symbols="Cu2Au2", strain=0.1)[0]


@pytest.fixture(scope="module")
def plain() -> FittedGP:
    return fitted(FRAMES).fitted_


@pytest.fixture(scope="module")
def pulled(plain: FittedGP) -> FittedGP:
    return replace(plain, pull=3.0 * torch.from_numpy(np.random.default_rng(0).normal(size=plain.n_inducing)))


def answer(gp: FittedGP) -> float:
    """Of the energy to the pull."""
    row, _ = energy_rows(Structure(gp.features, CRYSTAL), gp.whitening.blocks)
    assert gp.pull is not None
    return float((gp.whitening(row) * gp.posterior.scale)[0] @ gp.pull)


def test_variances_of_energies_grow_by_the_square_of_the_answer(plain: FittedGP, pulled: FittedGP) -> None:
    more = answer(pulled) ** 2
    assert more > 0.1 * energy_std(plain, CRYSTAL).std ** 2
    assert energy_std(pulled, CRYSTAL).std ** 2 - energy_std(plain, CRYSTAL).std ** 2 == pytest.approx(more, rel=1e-6)
    linear = [float(np.square(sensitivities(gp, CRYSTAL, ()).energy).sum()) for gp in (plain, pulled)]
    assert linear[1] - linear[0] == pytest.approx(more, rel=1e-6)


def test_calibrated_draws_alone_carry_it(plain: FittedGP, pulled: FittedGP) -> None:
    def energies(gp: FittedGP, posterior: str) -> np.ndarray:
        return sample_draws(gp, 2000, 0, ("parameter",), posterior).evaluate(CRYSTAL).energies

    found, before = (np.var(energies(gp, "calibrated")) for gp in (pulled, plain))
    expected = answer(pulled) ** 2
    assert found - before == pytest.approx(expected, abs=0.2 * (expected + before))
    np.testing.assert_array_equal(energies(pulled, "bayes")[:9], energies(plain, "bayes")[:9])


def test_it_is_the_same_function_after_more_labels_and_more_inducing_environments(pulled: FittedGP) -> None:
    more = with_labels(pulled, label_structures(crystals(1, seed=8, symbols="Cu2Au2")), None, None)
    assert answer(more) == pytest.approx(answer(pulled), rel=1e-12)
    larger = with_inducing(pulled, gases(1, "Cu3Au3", seed=9), None, None)
    assert larger.n_inducing > pulled.n_inducing
    assert answer(larger) == pytest.approx(answer(pulled), rel=1e-6)
