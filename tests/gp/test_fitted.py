"""One frozen state: its evidence and posterior are dense Gaussians, and follow from its parts alone."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from kernpot.gp.fitted import FittedGP
from tests.gp.small import ISOLATED, MISFIT, NOISE, bound, dense, fitted, rows_of
from tests.helpers.systems import cluster, crystals

FRAMES = [*crystals(2, symbols="Cu2Au2"), cluster("CuAu3")]
NEW = crystals(1, seed=9, symbols="Cu3Au")[0]


@pytest.fixture(scope="module")
def gp() -> FittedGP:
    return fitted(FRAMES).fitted_


def test_evidence_is_the_bound_with_matrices_of_all_labels(gp: FittedGP) -> None:
    assert gp.log_evidence == pytest.approx(bound(gp.maker, FRAMES, gp.amplitudes.numpy(), NOISE), rel=1e-8)


def test_mean_is_that_of_dense_normal_equations(gp: FittedGP) -> None:
    expected, mean = dense(gp, FRAMES).mean(rows_of(gp, NEW)), gp.mean(NEW)
    energy = mean.energy - sum(ISOLATED[z] for z in NEW.numbers)
    found = np.concatenate([[energy], mean.forces.ravel(), mean.stress])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_a_state_with_other_noise_answers_anew(gp: FittedGP) -> None:
    """What the first state was asked before does not stay with the second."""
    noise = {kind: 3 * sigma for kind, sigma in NOISE.items()} | {"energy": 0.001}
    assert gp.ready().log_evidence == gp.log_evidence
    other = replace(gp, noise=noise, found_posterior=None)
    expected = dense(gp, FRAMES, noise).mean(rows_of(gp, NEW))[1:13]
    np.testing.assert_allclose(other.mean(NEW).forces.ravel(), expected, rtol=0, atol=5e-5)
    assert other.log_evidence == pytest.approx(bound(gp.maker, FRAMES, gp.amplitudes.numpy(), noise), rel=1e-8)
    with pytest.raises(FrozenInstanceError):
        gp.noise = noise  # type: ignore[misc]


def test_it_travels_without_what_follows_from_it(gp: FittedGP) -> None:
    counted: list[int] = []

    def made(state: FittedGP) -> float:
        counted.append(1)
        return state.mean(NEW).energy

    assert gp.once(made) == gp.once(made) and counted == [1]
    again = pickle.loads(pickle.dumps(gp))
    assert again.mean(NEW).energy == pytest.approx(gp.mean(NEW).energy, rel=1e-12)
    assert again.log_evidence == pytest.approx(gp.log_evidence, rel=1e-10)
    assert again.once(made) and counted == [1, 1]
    assert len(pickle.dumps(again)) <= len(pickle.dumps(replace(gp, found_posterior=None))) * 1.01


def test_energies_are_known_as_well_as_the_best_group_of_them(gp: FittedGP) -> None:
    noise = {"energy": 0.01, "energy[bulk]": 0.003, "energy[odd]": 0.2, "forces": 1e-5}
    assert replace(gp, noise=noise, found_posterior=None).energy_noise == 0.003


def test_scale_of_draws_is_that_of_forces_or_of_energies_where_there_are_none(gp: FittedGP) -> None:
    assert gp.draw_scale == pytest.approx(np.hypot(1.0, MISFIT["forces"].factor))
    alone = replace(gp, factors={"energy": gp.factors["energy"]}, found_posterior=None)
    assert alone.kinds == {"energy"}
    assert alone.draw_scale == pytest.approx(np.hypot(1.0, MISFIT["energy"].factor))
