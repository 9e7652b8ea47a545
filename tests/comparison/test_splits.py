"""Splits keep together what belongs together, and hide nothing that a potential could have copied."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.comparison import Shift, Split, blocks, default_shift, hold_out, without_group, without_hottest
from kernpot.comparison.curve import nested_subsets, sizes
from kernpot.comparison.splits import HOTTEST, elements_of
from kernpot.errors import KernpotError, KernpotWarning, StructureError
from tests.comparison.rivals import argon


def walk(n: int, step: float = 0.02, seed: int = 0) -> list[Atoms]:
    """A trajectory: each frame is near the one before."""
    rng = np.random.default_rng(seed)
    atoms = argon(1, seed)[0]
    atoms.calc = None
    frames = []
    for _ in range(n):
        atoms = atoms.copy()
        atoms.positions += rng.normal(0, step, atoms.positions.shape)
        frames.append(atoms)
    for frame in frames:
        frame.info["config_type"] = "walk"
    return frames


def alone() -> Atoms:
    return Atoms("Ar", info={"config_type": "isolated_atom"})


def places(some: list[Atoms], everything: list[Atoms]) -> list[int]:
    return [next(k for k, other in enumerate(everything) if other is atoms) for atoms in some]


def test_frames_of_a_trajectory_stay_together_and_others_do_not() -> None:
    found = blocks([*walk(40), *argon(40)])
    assert len(set(found[:40])) == 10 and (np.diff(found[:40]) >= 0).all()
    assert len(set(found[40:])) == 40 and not set(found[:40]) & set(found[40:])


def test_named_trajectories_are_blocks_wherever_their_frames_are() -> None:
    frames = argon(12)
    for k, atoms in enumerate(frames):
        atoms.info["trajectory"] = k % 6
    assert blocks(frames).tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_whole_blocks_of_each_group_are_held_out() -> None:
    frames = [alone(), *walk(50), *argon(20, group="a"), *argon(10, seed=1, group="b")]
    train, test = hold_out(frames, seed=3)
    block = blocks(frames)
    held, kept = places(test, frames), places(train, frames)
    assert sorted(held + kept) == list(range(len(frames))) and 0 in kept
    assert not set(block[held]) & set(block[kept])
    assert {g: sum(a.info["config_type"] == g for a in test) for g in ("walk", "a", "b")} == {
        "walk": 10,
        "a": 4,
        "b": 2,
    }
    assert places(hold_out(frames, seed=3)[1], frames) == held != places(hold_out(frames, seed=4)[1], frames)


def test_nothing_to_hold_out_is_said() -> None:
    with pytest.raises(KernpotError, match=r"nothing can be held out of 1 structure.*--test"):
        hold_out([alone(), *argon(1)])
    with pytest.raises(KernpotError, match="must lie between 0 and 1"):
        hold_out(argon(10), share=1.0)


def test_a_group_left_out_is_nowhere_in_training_and_test() -> None:
    train, test = [alone(), *argon(8, group="a"), *argon(6, 1, "b")], [*argon(3, 2, "a"), *argon(2, 3, "b")]
    shift = without_group(train, test, "b")
    assert shift.train is not None and len(shift.train) == 9 and len(shift.familiar) == 3 and len(shift.shifted) == 8
    assert all(a.info["config_type"] == "b" for a in shift.shifted)
    assert not any(a.info["config_type"] == "b" for a in [*shift.train, *shift.familiar])
    with pytest.raises(KernpotError, match="config_type 'c'; there are a, b, isolated_atom"):
        without_group(train, test, "c")
    with pytest.raises(KernpotError, match="nothing is left"):
        without_group(argon(5), argon(2, 1), "crystal")


def test_by_default_the_group_with_the_largest_forces_is_left_out() -> None:
    train = [*argon(10, group="calm", rattle=0.02), *argon(6, 1, "wild", 0.3), *argon(6, 2, "middling")]
    chosen = default_shift(train, argon(4, 5, "calm"))
    assert chosen is not None and chosen.name == "wild"
    # Most of the data is no candidate, nor is the only home of an element.
    foreign = argon(6, 3, "foreign", 0.4)
    for atoms in foreign:
        labels, atoms.calc = atoms.calc.results, None
        atoms.numbers[0] = 36
        atoms.calc = SinglePointCalculator(atoms, **labels)
    chosen = default_shift([*train, *argon(30, 4, "huge", 0.5), *foreign], argon(4, 5, "calm"))
    assert chosen is not None and chosen.name == "wild"


def test_of_one_group_the_highest_energies_are_left_out() -> None:
    train, test = argon(40), argon(10, 1)
    shift = default_shift(train, test)
    assert shift is not None and shift.name == HOTTEST and shift.train is not None
    energy = lambda frames: [a.get_potential_energy() for a in frames]  # noqa: E731
    assert len(shift.train) == 30 and max(energy([*shift.train, *shift.familiar])) <= min(energy(shift.shifted))
    assert default_shift(argon(6), test) is None
    with pytest.raises(KernpotError, match="too few to leave the highest out"):
        without_hottest(argon(6), test)


def test_elements_that_nobody_learns_are_refused_before_any_fit() -> None:
    foreign = argon(1, 7)[0]
    foreign.numbers[:] = 36
    foreign.info["source"] = "kr.xyz#0"
    with pytest.raises(StructureError, match=r"kr\.xyz#0 of the test structures holds Kr"):
        Split(argon(3), [foreign])
    with pytest.raises(StructureError, match="of the shifted structures holds Kr"):
        Split(argon(3), argon(2, 1), [Shift("krypton", None, argon(2, 1), [foreign])])
    with pytest.raises(KernpotError, match="no test structures"):
        Split(argon(3), [])


def test_copies_of_training_structures_are_warned_of() -> None:
    frames = argon(5)
    with pytest.warns(KernpotWarning, match="2 of 3 test structures are copies"):
        Split(frames, [*frames[:2], *argon(1, 9)])


def test_subsets_are_nested_and_know_every_element() -> None:
    frames = [alone(), *argon(50)]
    frames[33].numbers[0] = 36
    subsets = nested_subsets(frames, seed=1)
    assert [sum(len(a) > 1 for a in s) for s in subsets] == [10, 20, 50] and subsets[-1] == frames
    assert sizes(27) == [10, 27] and sizes(28) == [10, 20, 28] and sizes(12) == [12]
    for small, large in itertools.pairwise(subsets):
        assert set(places(small, frames)) < set(places(large, frames)) and frames[0] in small
        assert elements_of(small) == {18, 36}
    assert places(nested_subsets(frames, seed=2)[0], frames) != places(subsets[0], frames)


def test_primitive_cells_are_no_isolated_atoms() -> None:
    cells = []
    for k in range(30):
        atoms = Atoms("Ar", cell=(5.2 + 0.01 * k) / 2 * (np.ones((3, 3)) - np.eye(3)), pbc=True)
        atoms.info["config_type"] = "hot" if k < 12 else "cold"
        atoms.calc = SinglePointCalculator(atoms, energy=0.01 * k, forces=np.full((1, 3), 0.1 * (k < 12)))
        cells.append(atoms)
    subsets = nested_subsets([*cells, alone()])
    for subset, n in zip(subsets, (10, 20, 30), strict=True):
        assert len({id(a) for a in subset}) == len(subset) == n + 1
    train, test = cells[:25], cells[25:]
    for shift in (without_group(train, test, "hot"), default_shift(train, test)):
        assert shift is not None and shift.train is not None
        assert not {id(a) for a in shift.train} & {id(a) for a in shift.shifted} and len(shift.shifted) == 12
