"""Conformal intervals hold what they promise for new blocks, whatever the errors, and refuse what they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from scipy.stats import norm

from kernpot.errors import KernpotError, StructureError
from kernpot.uncertainty import ConformalIntervals, conformal
from kernpot.uncertainty.conformal import block_scores
from tests.helpers.fakes import LennardJones, drawn_frames


def heavy_tailed_block(rng: np.random.Generator) -> np.ndarray:
    """Scores of a trajectory: Student-t, with a scale of its own and a length that has to do with it."""
    scale = rng.lognormal(0.3, 0.6)
    return np.abs(scale * rng.standard_t(3, size=5 + int(20 * scale)))


@pytest.mark.parametrize(("level", "n_blocks"), [(0.5, 5), (0.9, 12), (0.9, 40)])
def test_new_blocks_are_covered_whatever_the_errors(level: float, n_blocks: int) -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(600):
        blocks = [heavy_tailed_block(rng) for _ in range(n_blocks + 1)]
        scores = block_scores(
            np.concatenate(blocks[:-1]), np.repeat(np.arange(n_blocks), [block.size for block in blocks[:-1]])
        )
        held.append(np.mean(blocks[-1] <= ConformalIntervals({"forces": scores}).factor("forces", level)))
    error = 3 * np.std(held) / np.sqrt(600)
    # Never below the level; above by no more than the weight of the block to come, but for ties.
    assert level - error < np.mean(held) < level + 1 / (n_blocks + 1) + error


def test_one_score_in_each_block_is_ordinary_split_conformal() -> None:
    score = np.random.default_rng(1).exponential(size=37)
    intervals = ConformalIntervals({"energy": block_scores(score, np.arange(37))})
    for level in (0.3, 0.5, 0.9, 0.95):
        assert intervals.factor("energy", level) == np.sort(score)[int(np.ceil(38 * level)) - 1]


def test_long_blocks_do_not_outvote_short_ones() -> None:
    score = np.concatenate([np.full(1000, 0.1), np.arange(1.0, 20.0)])
    block = np.concatenate([np.zeros(1000, dtype=int), np.arange(1, 20)])
    assert ConformalIntervals({"forces": block_scores(score, block)}).factor("forces", 0.5) == 10.0


def frames_of_trajectories(n_trajectories: int, std_factor: float) -> list[Atoms]:
    frames = drawn_frames(4 * n_trajectories, std_factor=std_factor)
    for index, atoms in enumerate(frames):
        atoms.info["trajectory"] = index // 4
    return frames


def test_too_narrow_stds_are_repaired() -> None:
    potential = LennardJones()
    intervals = conformal(potential, frames_of_trajectories(30, std_factor=2.0))
    assert intervals.scores["forces"].n_blocks == 30 and intervals.scores["stress"].n_blocks == 30
    assert intervals.factor("forces") == pytest.approx(2 * norm.ppf(0.5 + 0.5 * 0.9 * 31 / 30), rel=0.07)
    fresh = drawn_frames(60, random_state=7, std_factor=2.0)
    inside = []
    for atoms, prediction in zip(fresh, potential.predict_full(fresh), strict=True):
        low, high = intervals.interval(prediction, "forces")
        assert np.allclose(0.5 * (low + high), prediction.forces.mean)
        inside.append((low <= atoms.get_forces()) & (atoms.get_forces() <= high))
    assert np.concatenate(inside).mean() == pytest.approx(0.93, abs=0.03)


def test_blocks_are_structures_only_when_asked() -> None:
    frames = drawn_frames(12)
    with pytest.raises(StructureError, match=r"structures\[0\]: no info\['trajectory'\]"):
        conformal(LennardJones(), frames)
    assert conformal(LennardJones(), frames, group_key=None).scores["forces"].n_blocks == 12
    assert conformal(LennardJones(), frames, group_key="config_type").scores["forces"].n_blocks == 2


def test_too_few_blocks_are_refused() -> None:
    intervals = conformal(LennardJones(), frames_of_trajectories(9, 1.0))
    assert intervals.factor("forces", 0.9) > 0  # nine are just enough
    with pytest.raises(KernpotError, match="95 % conformal intervals need at least 19 held-out blocks, got 9"):
        intervals.factor("forces", 0.95)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        intervals.factor("forces", 90)


def test_labels_that_were_not_held_out_are_refused() -> None:
    clusters = [atoms for atoms in drawn_frames(30) if not atoms.pbc.any()]
    intervals = conformal(LennardJones(), clusters, group_key=None)
    crystal = next(atoms for atoms in drawn_frames(4) if atoms.pbc.all())
    with pytest.raises(KernpotError, match="no scores of 'stress': the held-out structures have energy, forces"):
        intervals.interval(LennardJones().predict_full([crystal])[0], "stress")
    stressed = conformal(LennardJones(), drawn_frames(30), group_key=None)
    with pytest.raises(KernpotError, match="the prediction has no stress"):
        stressed.interval(LennardJones().predict_full(clusters[:1])[0], "stress")


def test_stds_of_zero_are_no_ground_for_intervals() -> None:
    with pytest.raises(KernpotError, match="stds of zero met errors"):
        conformal(LennardJones(force_std=0.0), drawn_frames(30), group_key=None).factor("forces")
