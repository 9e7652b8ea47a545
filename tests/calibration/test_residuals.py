"""Errors on structures left out: their score, the reach of energies, and how energies lean on forces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kernpot.calibration.residuals import MIN_STRUCTURES, LeaveOneOut, reach_of
from kernpot.structures.kinds import KINDS

SIZES = {"energy": 1, "forces": 12, "stress": 6}


def left_out(n: int = 30, seed: int = 0, reach: float = 0.2, **factors: float) -> LeaveOneOut:
    """Gaussian residuals whose variances are ``1 + factor^2`` times the parameter variances, by kind."""
    rng = np.random.default_rng(seed)
    residuals, own = {}, {}
    for kind, factor in factors.items():
        own[kind] = [1e-4 * np.exp(rng.uniform(-2.0, 2.0, SIZES[kind])) for _ in range(n)]
        residuals[kind] = [rng.normal(size=v.shape) * np.sqrt(v * (1 + factor**2)) for v in own[kind]]
    return LeaveOneOut(residuals, own, own, {kind: [0 * v for v in vs] for kind, vs in own.items()}, reach)


def scaled(found: LeaveOneOut, kind: str, factor: float) -> LeaveOneOut:
    residuals = found.residuals | {kind: [factor * r for r in found.residuals[kind]]}
    return LeaveOneOut(residuals, found.own, found.pooled, found.unrepresented, found.reach)


def test_errors_are_means_over_components_of_all_structures() -> None:
    found = LeaveOneOut({"forces": [np.array([1.0, -2.0]), np.array([6.0])]}, {}, {}, {}, 0.0)
    assert found.mae() == {"forces": 3.0}
    assert found.score() == pytest.approx(np.log(3.0))


def test_score_weighs_a_per_cent_of_any_kind_alike() -> None:
    found = left_out(energy=1.0, forces=2.0, stress=0.0)
    for kind in SIZES:
        assert scaled(found, kind, 1.5).score() - found.score() == pytest.approx(np.log(1.5), rel=1e-9)


def test_reach_makes_variances_of_forces_and_energies_equal(rng: np.random.Generator) -> None:
    energies, forces = rng.uniform(0.1, 1.0, 5), rng.uniform(1.0, 2.0, 5)
    reach = reach_of([*zip(energies, forces, strict=True), (100.0, None)])
    assert reach**2 * forces.mean() == pytest.approx(energies.mean())
    assert reach_of([(1.0, None)]) == 0.0
    assert reach_of([(1.0, 1e-30)]) == 0.0  # forces that vanish by symmetry


def test_energies_are_drawn_half_way_to_forces_that_are_missed_more() -> None:
    found = left_out(energy=1.0, forces=4.0)
    alone = left_out(energy=1.0).misfit()["energy"]
    both = found.misfit()
    assert both["forces"].factor == pytest.approx(4.0, rel=0.2)
    assert both["energy"].factor == pytest.approx(np.sqrt(alone.factor * both["forces"].factor))
    assert both["energy"].reach == alone.reach == 0.2
    assert left_out(energy=4.0, forces=1.0).misfit()["energy"] == left_out(energy=4.0).misfit()["energy"]


def test_energies_without_errors_take_the_factor_of_forces() -> None:
    found = scaled(left_out(energy=1.0, forces=4.0), "energy", 1e-7).misfit()
    assert found["energy"].factor == found["forces"].factor
    assert found["energy"].constant == KINDS["energy"].floor


def test_few_structures_tell_no_misfit() -> None:
    found = left_out(MIN_STRUCTURES - 1, energy=1.0).misfit() | left_out(MIN_STRUCTURES, forces=1.0).misfit()
    assert set(found) == {"forces"}


def by_element(n: int, widths: dict[int, float], seed: int = 0, rare: int = 0) -> LeaveOneOut:
    """Forces on four atoms, errors of an element so many times what its variances say; a rare one in few structures."""
    rng = np.random.default_rng(seed)
    numbers = [np.repeat([1, 1, 6, rare if rare and k < 2 else 6], 3) for k in range(n)]
    own = [1e-4 * np.exp(rng.uniform(-1.0, 1.0, 12)) for _ in range(n)]
    wide = [np.array([widths[int(z)] for z in zs]) for zs in numbers]
    residuals = [w * rng.normal(size=12) * np.sqrt(2 * v) for w, v in zip(wide, own, strict=True)]
    none = {"forces": [0 * v for v in own]}
    return LeaveOneOut({"forces": residuals}, {"forces": own}, {"forces": own}, none, 0.0, numbers=numbers)


def test_elements_that_are_missed_by_more_have_wider_error_bars() -> None:
    found = by_element(200, {1: 0.5, 6: 2.0}).misfit()["forces"]
    assert found.by_element[6] / found.by_element[1] == pytest.approx(4.0, rel=0.1)
    # What is left is one Gaussian, where all together had heavy tails.
    assert found.degrees_of_freedom == np.inf
    total = found.by_element[6] ** 2 * (1 + found.factor**2)
    assert total == pytest.approx(2 * 2.0**2, rel=0.1)


def test_few_structures_leave_an_element_wide() -> None:
    """Two that hold it, with errors as all, and a wide one in the mean: (2 + 1 + 1) / 3."""
    found = by_element(200, {1: 1.0, 6: 1.0, 8: 1.0}, rare=8).misfit()["forces"].by_element
    assert found[6] == pytest.approx(1.0, rel=0.05)
    assert 1.1 < found[8] < 1.7


def test_one_element_has_no_factor() -> None:
    found = by_element(50, {1: 1.0, 6: 1.0})
    alone = [np.full(12, 6) for _ in found.numbers]
    plain = LeaveOneOut(found.residuals, found.own, found.pooled, found.unrepresented, 0.0)
    assert LeaveOneOut(*vars(plain).values()).misfit()["forces"].by_element == {}
    assert replace(found, numbers=alone).misfit()["forces"] == replace(plain.misfit()["forces"], by_element={6: 1.0})


def test_components_that_vanish_by_symmetry_say_nothing_of_their_element() -> None:
    """Of every carbon atom one component is zero, and known to be."""
    found = by_element(100, {1: 1.0, 6: 1.0})
    plain = found.misfit()["forces"].by_element
    gone = np.tile([False] * 6 + [True, False, False] * 2, 1)
    for values in (found.residuals["forces"], found.own["forces"]):
        for one in values:
            one[gone] *= 1e-12
    pooled = [np.where(gone, 1e-4, v) for v in found.own["forces"]]
    again = replace(found, pooled={"forces": pooled}).misfit()["forces"].by_element
    assert again[6] == pytest.approx(plain[6], rel=0.1)
