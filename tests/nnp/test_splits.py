"""What is held out, and which structures train which member."""

from __future__ import annotations

from collections import Counter
from itertools import count

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.nnp.splits import held_out, member_weights
from kernpot.structures.labels import LabelledStructure, label_structures

_NUMBERS = count()


def frames(n: int, symbol: str = "Cu2", trajectory: object = None, config_type: str = "") -> list[Atoms]:
    """Structures with an energy, no two alike."""
    found = []
    for _ in range(n):
        distance = 2.5 + 1e-3 * next(_NUMBERS)
        atoms = Atoms(symbol, [[distance * k, 0, 0] for k in range(len(Atoms(symbol)))])
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
        if trajectory is not None:
            atoms.info["trajectory"] = trajectory
        if config_type:
            atoms.info["config_type"] = config_type
        found.append(atoms)
    return found


def split(structures: list[Atoms], part: float = 0.1, seed: int = 0) -> tuple[list[LabelledStructure], list[int]]:
    labelled = label_structures(structures)
    return labelled, held_out(labelled, part, np.random.RandomState(seed)).tolist()


@pytest.mark.parametrize(
    ("n", "part", "expected"), [(150, 0.1, 15), (100, 0.5, 50), (60, 0.1, 10), (30, 0.1, 7), (12, 0.1, 3)]
)
def test_number_held_out(n: int, part: float, expected: int) -> None:
    found = split(frames(n), part)[1]
    assert len(found) == expected
    assert found == sorted(set(found))


@pytest.mark.parametrize(("n", "expected"), [(1, 0), (2, 0), (3, 0), (4, 1), (7, 1), (8, 2)])
def test_few_structures_are_spared(n: int, expected: int) -> None:
    assert len(split(frames(n))[1]) == expected


def test_none_when_none_are_wanted() -> None:
    assert split(frames(50), 0.0)[1] == []


def test_another_seed_holds_out_others() -> None:
    assert split(frames(40), seed=1)[1] == split(frames(40), seed=1)[1]
    assert len({tuple(split(frames(40), seed=k)[1]) for k in range(5)}) > 3


@pytest.mark.parametrize("seed", range(6))
def test_a_trajectory_of_several_types_stays_together(seed: int) -> None:
    structures = [a for k in range(6) for name in ("cold", "hot") for a in frames(3, trajectory=k, config_type=name)]
    labelled, found = split(structures, 0.3, seed)
    whole = {labelled[k].atoms.info["trajectory"] for k in found}
    assert found and found == [k for k, s in enumerate(labelled) if s.atoms.info["trajectory"] in whole]


@pytest.mark.parametrize("seed", range(6))
def test_exact_copies_stay_together_and_what_has_no_labels_is_not_held_out(seed: int) -> None:
    once = frames(12)
    structures = [*once, *(a.copy() for a in once), *(a.copy() for a in frames(6))]
    assert structures[-1].calc is None
    for copied, atoms in zip(structures[12:24], once, strict=True):
        copied.calc = atoms.calc
    labelled, found = split(structures, 0.3, seed)
    assert found and max(found) < 24  # the last six hold nothing
    assert {k % 12 for k in found} == {k for k in found if k < 12} == {k - 12 for k in found if k >= 12}
    assert all(labelled[k].kinds for k in found)


@pytest.mark.parametrize("seed", range(8))
def test_trajectories_stay_together(seed: int) -> None:
    structures = [a for k in range(12) for a in frames(3 + k % 4, trajectory=k)]
    structures += frames(15)
    labelled, found = split(structures, 0.3, seed)
    of = [s.atoms.info.get("trajectory") for s in labelled]
    for name in set(of) - {None}:
        members = {k for k, t in enumerate(of) if t == name}
        assert members <= set(found) or not members & set(found)
    assert len(found) >= round(0.3 * len(structures)) - 3


def test_trajectories_of_any_name() -> None:
    """Names need not be strings, and a name is not mistaken for the place of a structure without one."""
    structures = [*frames(10, trajectory=("a", 1)), *frames(10, trajectory=0), *frames(30)]
    for seed in range(5):
        found = split(structures, 0.2, seed)[1]
        for span in (range(10), range(10, 20)):
            assert set(span) <= set(found) or not set(span) & set(found)
        assert found


def test_one_trajectory_is_not_held_out_whole() -> None:
    assert split(frames(20, trajectory="only"))[1] == []


def test_trajectory_larger_than_half_stays_in_training() -> None:
    structures = [*frames(30, trajectory="long"), *frames(5, trajectory="short"), *frames(5)]
    for seed in range(5):
        assert min(split(structures, 0.2, seed)[1]) >= 30


@pytest.mark.parametrize("seed", range(10))
def test_every_element_stays_in_training(seed: int) -> None:
    structures = [*frames(6), *frames(1, "CuAu"), *frames(2, "CuPt"), *frames(1, "Ag2")]
    labelled, found = split(structures, 0.5, seed)
    left = {int(z) for k, s in enumerate(labelled) if k not in found for z in s.atoms.numbers}
    assert left == {29, 47, 78, 79}
    assert found


def test_every_element_stays_where_trajectories_hold_it() -> None:
    structures = [*frames(3, "Au2", trajectory="gold"), *frames(20)]
    for seed in range(10):
        assert not {0, 1, 2} & set(split(structures, 0.5, seed)[1])


@pytest.mark.parametrize("seed", range(3))
def test_types_give_their_shares(seed: int) -> None:
    counts = {"bulk": 60, "surface": 30, "liquid": 10}
    structures = [a for name, n in counts.items() for a in frames(n, config_type=name)]
    labelled, found = split(structures, 0.2, seed)
    assert Counter(labelled[k].config_type for k in found) == {"bulk": 12, "surface": 6, "liquid": 2}


def test_a_single_one_of_many_types_comes_from_the_largest() -> None:
    structures = [*frames(1, config_type="a"), *frames(4, config_type="b"), *frames(2, config_type="c")]
    labelled, found = split(structures)
    assert [labelled[k].config_type for k in found] == ["b"]


def test_isolated_atoms_are_never_held_out() -> None:
    structures = [*frames(6, "Cu"), *frames(8), *frames(6, "Au"), *frames(4, "Au2")]
    for seed in range(10):
        labelled, found = split(structures, 0.5, seed)
        assert found and all(len(labelled[k].atoms) == 2 for k in found)
    assert split(frames(20, "Cu"), 0.5)[1] == []


# ------------------------------------------------------------------ members


def weights(resample: str | None, n: int = 50, members: int = 6, seed: int = 0) -> np.ndarray:
    return member_weights(n, members, resample, np.random.RandomState(seed))


def test_all_members_see_everything_once() -> None:
    np.testing.assert_array_equal(weights(None), np.ones((6, 50)))


def test_bootstrap_draws_with_replacement() -> None:
    found = weights("bootstrap")
    np.testing.assert_array_equal(found.sum(1), 50)
    np.testing.assert_array_equal(found, found.round())
    assert (found.max(1) > 1).all()
    unseen = (weights("bootstrap", 2000) == 0).mean(1)
    np.testing.assert_allclose(unseen, np.exp(-1), atol=0.04)
    assert len({tuple(row) for row in found}) == 6


@pytest.mark.parametrize("n", [1, 3, 4, 5, 12, 50])
def test_split_leaves_a_fifth(n: int) -> None:
    found = weights("split", n)
    np.testing.assert_array_equal((found == 0).sum(1), int(0.2 * n))
    np.testing.assert_allclose(found.sum(1), n)
    for row in found:
        assert len(set(row[row > 0])) == 1


def test_split_leaves_other_structures_for_every_member() -> None:
    assert len({tuple(row) for row in weights("split")}) == 6


@pytest.mark.parametrize("resample", ["bootstrap", "split"])
def test_members_are_drawn_in_order(resample: str) -> None:
    np.testing.assert_array_equal(weights(resample, members=6)[:3], weights(resample, members=3))
