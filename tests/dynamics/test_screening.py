"""The bound follows what full checks of the run found: down, up, atom by atom, and not beyond what they have seen."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from kernpot.calculator import KernpotCalculator
from kernpot.dynamics.screening import Screening
from kernpot.prediction import MeanPrediction
from kernpot.structures.neighbours import Pairs
from tests.helpers.fakes import TRIANGLE, LennardJones

ATOMS = Atoms("Ar3", TRIANGLE)
ROUGH = np.array([0.1, 0.1, 0.1])


def screening() -> Screening:
    return Screening(LennardJones(), lambda atoms, pairs=None: (LennardJones().mean(atoms, pairs), np.ones(len(atoms))))


def test_knows_no_bound_before_a_full_check_of_the_same_atoms() -> None:
    watched = screening()
    assert watched.bound(ATOMS, ROUGH) == np.inf
    watched.learn(ATOMS, ROUGH, ROUGH)
    assert watched.bound(ATOMS, ROUGH) < np.inf
    others = Atoms("Ar4", np.eye(4, 3))
    assert watched.bound(others, np.ones(4)) == np.inf
    watched.learn(others, np.ones(4), np.ones(4))
    assert watched.bound(others, np.ones(4)) == pytest.approx(1.5)
    assert watched.bound(ATOMS, ROUGH) == np.inf


def test_follows_full_checks_up_at_once_and_down_when_the_old_ones_are_many_checks_ago() -> None:
    watched = screening()
    watched.learn(ATOMS, ROUGH, 0.2 * ROUGH)
    assert watched.bound(ATOMS, ROUGH) == pytest.approx(1.5 * 0.02)
    watched.learn(ATOMS, ROUGH, 0.8 * ROUGH)
    for _ in range(9):
        assert watched.bound(ATOMS, ROUGH) == pytest.approx(1.5 * 0.08)
        watched.learn(ATOMS, ROUGH, 0.4 * ROUGH)
    watched.learn(ATOMS, ROUGH, 0.4 * ROUGH)
    assert watched.bound(ATOMS, ROUGH) == pytest.approx(1.5 * 0.04)


def test_every_atom_has_its_own_ratio_but_for_those_of_lower_ones() -> None:
    watched = screening()
    watched.learn(ATOMS, ROUGH, np.array([0.01, 0.03, 0.07]))
    # The upper quartile of the ratios 0.1, 0.3 and 0.7 is 0.5.
    assert watched.bound(ATOMS, np.array([0.1, 0.1, 0.01])) == pytest.approx(1.5 * 0.05)
    assert watched.bound(ATOMS, np.array([0.01, 0.01, 0.1])) == pytest.approx(1.5 * 0.07)


def test_grows_faster_than_the_screen_beyond_what_full_checks_have_seen() -> None:
    watched = screening()
    watched.learn(ATOMS, ROUGH, 0.5 * ROUGH)
    inside, outside = watched.bound(ATOMS, 0.5 * ROUGH), watched.bound(ATOMS, 2 * ROUGH)
    assert inside == pytest.approx(1.5 * 0.025) and outside == pytest.approx(1.5 * 4 * 0.05)
    watched.learn(ATOMS, 2 * ROUGH, ROUGH)
    assert watched.bound(ATOMS, 2 * ROUGH) == pytest.approx(1.5 * 0.1)


def test_a_screen_that_says_nothing_lets_nothing_through() -> None:
    watched = Screening(
        LennardJones(), lambda atoms, pairs=None: (LennardJones().mean(atoms, pairs), np.zeros(len(atoms)))
    )
    watched.learn(ATOMS, watched.rough(ATOMS), np.full(3, 0.02))
    assert watched.bound(ATOMS, watched.rough(ATOMS)) > 0.02


def test_the_screen_comes_with_the_forces_of_a_calculator_of_the_potential_only() -> None:
    asked = []

    def screen(atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, np.ndarray]:
        asked.append(atoms)
        return LennardJones().mean(atoms, pairs), np.ones(len(atoms))

    potential, atoms = LennardJones(), ATOMS.copy()
    for driver, expected in ((potential, 1), (LennardJones(), 2)):
        watched = Screening(potential, screen)
        atoms.calc = KernpotCalculator(driver)
        watched.rough(atoms)
        asked.clear()
        atoms.positions += 0.01
        atoms.get_forces()
        watched.rough(atoms)
        watched.rough(atoms)
        assert len(asked) == expected
