from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from kernpot.errors import PropertyError
from kernpot.uncertainty.propagated import Propagated
from kernpot.uncertainty.propagation import FixedGeometries, propagate
from tests.helpers.scaled import AlongX, GivenDraws, ScaledEMT, scaled_draws

DIMER = Atoms("Cu2", [[0, 0, 0], [2.4, 0, 0]])
WIDE = Atoms("Cu2", [[0, 0, 0], [2.6, 0, 0]])


def energy(potential):
    return potential.mean(DIMER).energy


def test_values_are_those_of_the_draws():
    found = propagate(energy, scaled_draws((0.5, 1.5, 3.0)), unit="eV")
    assert found.of_mean == energy(ScaledEMT())
    np.testing.assert_allclose(found.values, np.array([0.5, 1.5, 3.0]) * energy(ScaledEMT()), rtol=1e-14)
    assert found.unit == "eV" and found.failures == ()


def test_a_calculator_can_be_asked():
    def force(potential):
        atoms = DIMER.copy()
        atoms.calc = potential.calculator()
        return atoms.get_forces()

    found = propagate(force, scaled_draws((0.5, 2.0)))
    np.testing.assert_allclose(found.values[1], 2.0 * found.of_mean)
    assert found.shape == (2, 3)


class Difference(FixedGeometries):
    structures = (DIMER, WIDE)
    unit = "eV"

    def combine(self, answers):
        return np.asarray(answers[1].energy - answers[0].energy)


def test_fixed_geometries_give_the_same_as_one_draw_at_a_time():
    draws = scaled_draws()
    together, alone = propagate(Difference(), draws), propagate(lambda p: Difference()(p), draws)
    np.testing.assert_array_equal(together.values, alone.values)
    assert together.unit == "eV" and alone.unit == ""


def test_differences_are_taken_inside_a_draw():
    shifted = [AlongX(lambda x, c=c: x + c, np.ones_like) for c in (-50.0, 0.0, 80.0)]
    draws = GivenDraws(shifted[1], shifted)
    assert propagate(Difference(), draws).std < 1e-13
    assert propagate(energy, draws).std > 100


def fails_above(limit):
    def function(potential):
        if potential.factor > limit:
            raise PropertyError("did not converge")
        return potential.factor

    return function


def test_failures_are_counted_and_reported():
    found = propagate(fails_above(1.2), scaled_draws((0.9, 1.0, 1.1, 1.3)), max_failed=0.25)
    np.testing.assert_array_equal(found.values, [0.9, 1.0, 1.1])
    assert found.failures == ("draw 3: did not converge",)
    assert "1 failed" in repr(found)


def test_too_many_failures_are_refused():
    with pytest.raises(PropertyError, match="2 of 4 draws found no value, at most 25%"):
        propagate(fails_above(1.0), scaled_draws((0.9, 1.0, 1.1, 1.3)), max_failed=0.25)


def test_numbers_that_are_not_finite_are_failures():
    with pytest.raises(PropertyError, match="1 of 3 draws"):
        propagate(lambda p: np.nan if p.factor > 2 else 1.0, scaled_draws((1.0, 1.5, 3.0)))


def test_a_mean_without_a_value_is_refused_before_the_draws():
    with pytest.raises(PropertyError, match="mean potential: did not converge"):
        propagate(fails_above(0.5), scaled_draws((0.1, 0.2)))


def test_a_mistake_in_the_property_is_not_a_failure():
    with pytest.raises(AttributeError):
        propagate(lambda p: p.no_such_thing if p.factor > 1 else 1.0, scaled_draws((0.5, 1.5)))


def test_what_is_no_potential_is_refused():
    with pytest.raises(TypeError, match="sample_potentials"):
        propagate(energy, ScaledEMT())
    with pytest.raises(ValueError, match="at least 2 draws"):
        propagate(energy, scaled_draws((1.0,)))
    with pytest.raises(ValueError, match="max_failed"):
        propagate(energy, scaled_draws(), max_failed=1.0)


def test_progress_reaches_the_end():
    seen = []
    propagate(Difference(), scaled_draws(), progress=lambda *a: seen.append(a))
    assert ("structures", 2, 2) in seen and seen[-1] == ("draws", 4, 4)


@pytest.mark.parametrize("n", [3, 10, 50])
def test_gaussian_interval_holds_another_draw_as_often_as_it_says(n, rng):
    repeats = 4000
    inside = 0
    for _ in range(repeats):
        values = rng.normal(3.0, 2.0, n + 1)
        low, high = Propagated(values[:n], np.array(3.0), "").interval(0.9)
        inside += low <= values[n] <= high
    assert abs(inside / repeats - 0.9) < 4 * np.sqrt(0.9 * 0.1 / repeats)


def test_quantiles_of_a_skewed_property(rng):
    values = np.exp(rng.normal(size=20000))
    low, high = Propagated(values, np.array(1.0), "").quantiles(0.9)
    assert np.isclose(low, np.exp(-1.645), rtol=0.05) and np.isclose(high, np.exp(1.645), rtol=0.05)


def test_map_acts_inside_each_draw(rng):
    values = rng.normal(size=(30, 2))
    found = Propagated(values, np.array([0.5, 2.0]), "eV").map(lambda v: v[0] * v[1], "eV²")
    np.testing.assert_allclose(found.values, values[:, 0] * values[:, 1])
    assert found.of_mean == 1.0 and found.unit == "eV²"


def test_covariance_and_shapes(rng):
    mixing = np.array([[1.0, 0.0], [0.9, 0.1]])
    found = Propagated(rng.normal(size=(5000, 2)) @ mixing.T, np.zeros(2), "eV")
    np.testing.assert_allclose(found.covariance, mixing @ mixing.T, atol=0.08)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), found.std)
    with pytest.raises(ValueError, match="shape"):
        Propagated(np.zeros((3, 2)), np.zeros(3), "eV")
    with pytest.raises(ValueError, match="level"):
        found.interval(90)


@pytest.mark.parametrize("bad", ["text", [], [1.0, [2.0]]])
def test_values_that_are_no_numbers_are_refused(bad: object) -> None:
    with pytest.raises(PropertyError, match="expected"):
        propagate(lambda _: bad, scaled_draws())  # type: ignore[arg-type, return-value]


def test_values_of_different_shapes_are_refused() -> None:
    sizes = iter([1, 2, 1, 1, 1])
    with pytest.raises(PropertyError, match="one shape for all potentials"):
        propagate(lambda _: np.ones(next(sizes)), scaled_draws())
