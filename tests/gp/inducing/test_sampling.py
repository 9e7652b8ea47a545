"""The choice of inducing environments: spread, reproducible, never the same environment twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kernpot.gp.inducing.sampling import Method, select_environments

METHODS: tuple[Method, ...] = ("fps", "cur", "leverage", "random")


def unit(n: int, d: int = 6, seed: int = 0) -> NDArray[np.float64]:
    features = np.random.default_rng(seed).normal(size=(n, d))
    return normalised(features)


def normalised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    unit_rows: NDArray[np.float64] = features / np.linalg.norm(features, axis=1, keepdims=True)
    return unit_rows


def crystal_with_defects() -> NDArray[np.float64]:
    """Ninety-five nearly equal environments (a crystal) and five odd ones (a defect) at the end."""
    rng = np.random.default_rng(3)
    bulk = unit(1, 20, 1) + 0.01 * rng.normal(size=(95, 20))
    return normalised(np.concatenate([bulk, unit(5, 20, 2)]))


@pytest.mark.parametrize("method", METHODS)
def test_chooses_distinct_and_repeats_itself(method: Method) -> None:
    features = unit(60)
    chosen = select_environments(features, 25, method, random_state=4)
    assert len(set(chosen.tolist())) == 25 and chosen.dtype == np.int64
    assert np.array_equal(chosen, select_environments(torch.as_tensor(features), 25, method, random_state=4))
    assert not np.array_equal(chosen, select_environments(features, 25, method, random_state=5))
    assert np.array_equal(chosen[:10], select_environments(features, 10, method, random_state=4))


def test_fps_is_greedy_farthest_point() -> None:
    features = unit(80)
    chosen = select_environments(features, 30, "fps", random_state=0)
    distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    for k in range(1, 30):
        to_earlier = distances[:, chosen[:k]].min(axis=1)
        assert to_earlier[chosen[k]] == pytest.approx(to_earlier.max(), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_are_never_both_selected(method: Method) -> None:
    """A perfect crystal: many atoms, few environments, equal up to the rounding of the descriptor."""
    distinct = unit(7)
    rng = np.random.default_rng(1)
    features = np.repeat(distinct, 9, axis=0) + 1e-13 * rng.normal(size=(63, 6))
    features = features[rng.permutation(63)]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    chosen = select_environments(features, 30, method, random_state=0)
    assert len(chosen) == 7
    distances = np.linalg.norm(features[chosen][:, None] - distinct[None], axis=2)
    assert sorted(distances.argmin(axis=1)) == list(range(7))


@pytest.mark.parametrize("method", METHODS)
def test_close_but_different_environments_are_kept(method: Method) -> None:
    """Small displacements of a crystal, 1e-4 in feature space, carry all the information on its phonons."""
    features = unit(1) + 1e-4 * np.random.default_rng(0).normal(size=(12, 6))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    assert len(select_environments(features, 12, method, random_state=0)) == 12


def test_rare_environments_are_found() -> None:
    """Five defect atoms among a hundred: all by distance, most often by leverage, hardly ever by chance."""
    features, defects = crystal_with_defects(), set(range(95, 100))

    def found(method: Method) -> float:
        draws = [select_environments(features, 15, method, seed).tolist() for seed in range(20)]
        return float(np.mean([len(defects & set(draw)) for draw in draws]))

    assert found("fps") == 5
    assert found("cur") > 2.2 and found("leverage") > 2.2
    assert found("random") < 1.5


def test_fps_is_the_same_when_the_leaders_change() -> None:
    """More candidates than are looked at together: compare with the plain loop."""
    features = unit(1500, 8)
    chosen = select_environments(features, 200, "fps", random_state=1)
    nearest = np.full(1500, np.inf)
    for k in range(199):
        nearest = np.minimum(nearest, ((features - features[chosen[k]]) ** 2).sum(axis=1))
        assert nearest[chosen[k + 1]] == pytest.approx(nearest.max(), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_small_sets(method: Method) -> None:
    assert select_environments(unit(1), 5, method, random_state=0).tolist() == [0]
    assert len(select_environments(unit(4), 1, method, random_state=0)) == 1
    one_feature = np.array([[1.0], [-1.0], [1.0]])
    assert len(select_environments(one_feature, 3, method, random_state=0)) == 2
    assert sorted(select_environments(unit(8), 100, method, random_state=0).tolist()) == list(range(8))


def test_leaves_features_alone() -> None:
    features = unit(20)
    before = features.copy()
    select_environments(features, 5, "fps", random_state=0)
    assert np.array_equal(features, before)


def test_bad_input_is_named() -> None:
    features = unit(5)
    with pytest.raises(ValueError, match="n_select: expected at least 1"):
        select_environments(features, 0)
    with pytest.raises(ValueError, match="method: expected one of fps, cur, leverage, random, got 'best'"):
        select_environments(features, 2, "best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="non-empty array"):
        select_environments(features[:0], 2)
    with pytest.raises(ValueError, match="unit norm"):
        select_environments(2 * features, 2)
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="1 rows with NaN or inf, first row 3"):
        select_environments(features, 2)
