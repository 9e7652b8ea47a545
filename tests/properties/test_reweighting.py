from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from kernpot.errors import PropertyError
from kernpot.properties import reweighted_average
from tests.helpers.scaled import AlongX, GivenDraws

T = 600.0
KT = units.kB * T
STIFFNESS = 2.0  # eV/A^2
N = 6000


def spring(stiffness, force=0.0):
    return AlongX(lambda x: 0.5 * stiffness * x**2 + force * x, lambda x: stiffness * x + force)


class Fast(GivenDraws):
    """Frames of one atom whose energies are asked for by the thousand."""

    def evaluate(self, atoms, pairs=None):
        x = atoms.positions[:, 0]
        return type("Answer", (), {"energies": np.array([m.value(x).sum() for m in self.members])})


@pytest.fixture(scope="module")
def frames():
    x = np.random.default_rng(0).normal(0, np.sqrt(KT / STIFFNESS), N)
    return [Atoms("Ar", [[value, 0.0, 0.0]]) for value in x]


@pytest.fixture(scope="module")
def x(frames):
    return np.array([a.positions[0, 0] for a in frames])


@pytest.mark.parametrize("form", ["exact", "cumulant"])
def test_shift_of_a_spring_under_a_force_is_known(frames, x, form):
    forces = np.array([-0.15, 0.05, 0.1])
    draws = Fast(spring(STIFFNESS), [spring(STIFFNESS, f) for f in forces])
    found = reweighted_average(draws, frames, x, T, "Å", form)
    error = 5 * np.sqrt(KT / STIFFNESS / N / found.effective_share.min())
    np.testing.assert_allclose(found.over_draws.values, -forces / STIFFNESS, atol=error)
    expected = np.exp(-(forces**2) / (KT * STIFFNESS))
    np.testing.assert_allclose(found.effective_share, expected, rtol=0.05)
    assert found.over_draws.unit == "Å"


def test_mean_square_of_springs_of_other_stiffness(frames, x):
    stiffness = np.array([1.7, 2.0, 2.6])
    draws = Fast(spring(STIFFNESS), [spring(k) for k in stiffness])
    exact = reweighted_average(draws, frames, x**2, T)
    np.testing.assert_allclose(exact.over_draws.values, KT / stiffness, rtol=0.08)
    cumulant = reweighted_average(draws, frames, x**2, T, form="cumulant")
    first_order = KT / STIFFNESS * (1 - (stiffness - STIFFNESS) / STIFFNESS)
    np.testing.assert_allclose(cumulant.over_draws.values, first_order, rtol=0.08)
    np.testing.assert_allclose(exact.over_draws.of_mean, (x**2).mean())


def test_sampling_error_is_that_of_independent_frames(frames, x):
    draws = Fast(spring(STIFFNESS), [spring(2.0), spring(2.1)])
    found = reweighted_average(draws, frames, x, T)
    assert np.isclose(found.sampling_error, x.std() / np.sqrt(N), rtol=0.7)


def test_correlated_frames_have_a_larger_sampling_error(frames, x):
    draws = Fast(spring(STIFFNESS), [spring(2.0), spring(2.1)])
    order = np.argsort(x.reshape(-1, 60).mean(1)).repeat(60).reshape(-1, 60)
    sorted_x = x.reshape(-1, 60)[order[:, 0]].ravel()
    found = reweighted_average(draws, frames, sorted_x, T)
    assert found.sampling_error > 3 * x.std() / np.sqrt(N)


def test_weights_on_few_frames_are_refused(frames, x):
    draws = Fast(spring(STIFFNESS), [spring(STIFFNESS, f) for f in (0.01, 1.0)])
    with pytest.raises(PropertyError, match=r"1 of 2 draws have an effective sample size below 10%.*cumulant"):
        reweighted_average(draws, frames, x, T)
    with pytest.raises(PropertyError, match="single draws"):
        reweighted_average(draws, frames, x, T, form="cumulant")
    assert reweighted_average(draws, frames, x, T, form="cumulant", floor=0.0).over_draws.values[1] < -0.4


def test_bad_input_is_refused(frames, x):
    draws = Fast(spring(STIFFNESS), [spring(2.0), spring(2.1)])
    with pytest.raises(ValueError, match="one value for each"):
        reweighted_average(draws, frames, x[:-1], T)
    with pytest.raises(ValueError, match="at least 20 frames"):
        reweighted_average(draws, frames[:5], x[:5], T)
    with pytest.raises(ValueError, match="temperature"):
        reweighted_average(draws, frames, x, 0.0)
    with pytest.raises(ValueError, match="form"):
        reweighted_average(draws, frames, x, T, form="third")


def test_vector_observables_keep_their_shape(frames, x):
    draws = Fast(spring(STIFFNESS), [spring(2.0), spring(2.1)])
    found = reweighted_average(draws, frames, np.stack([x, x**2], axis=1), T)
    assert found.over_draws.values.shape == (2, 2) and found.sampling_error.shape == (2,)
