"""Plots show the numbers they claim to show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from kernpot.report import (
    decile_plot,
    error_std_plot,
    group_plot,
    parity_plot,
    reliability_plot,
    write_plots,
    z_histogram,
)
from kernpot.report.panels import groups_in
from kernpot.uncertainty import EvaluationResult, evaluate
from tests.helpers.fakes import LennardJones, drawn_frames


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    return evaluate(LennardJones(), drawn_frames(60))


def curve(axes: Axes, label: str) -> np.ndarray:
    return next(np.array(line.get_xydata()) for line in axes.get_lines() if line.get_label() == label)


def test_parity_shows_every_component_once(result: EvaluationResult) -> None:
    forces = result.comparisons["forces"]
    top = parity_plot(forces).axes[0]
    points = np.concatenate([curve(top, name) for name in forces.config_types])
    assert len(points) == forces.label.size
    assert {*map(tuple, points)} == {*zip(forces.label, forces.mean, strict=True)}


def test_energies_are_drawn_about_their_mean(result: EvaluationResult) -> None:
    energy = result.comparisons["energy"]
    axes = parity_plot(energy).axes
    points = np.concatenate([curve(axes[0], name) for name in energy.config_types])
    assert points[:, 0].mean() == pytest.approx(0, abs=1e-9)
    assert sorted(points[:, 1] - points[:, 0]) == pytest.approx(sorted(energy.error))
    assert any(f"{energy.label.mean() / 1000:.4f} eV/atom" in text.get_text() for text in axes[0].texts)


def test_reliability_of_right_and_of_too_narrow_intervals(result: EvaluationResult) -> None:
    right = curve(reliability_plot(result).axes[1], "all")
    assert np.abs(right[:, 1] - right[:, 0]).max() < 0.05
    narrow = evaluate(LennardJones(), drawn_frames(60, std_factor=3))
    below = curve(reliability_plot(narrow).axes[1], "all")
    assert (below[10:90, 1] < below[10:90, 0] - 0.05).all()


def test_a_group_has_one_colour_in_all_plots(result: EvaluationResult) -> None:
    # Only crystals have stress: their colour must not become that of the clusters.
    panels = reliability_plot(result).axes
    colours = [
        next(line.get_color() for line in axes.get_lines() if line.get_label() == "crystal")
        for axes in (panels[0], panels[1], parity_plot(result.comparisons["stress"], result.config_types).axes[0])
    ]
    assert len(set(colours)) == 1


def test_binned_errors_of_a_right_model_lie_on_the_diagonal(result: EvaluationResult) -> None:
    bins = curve(error_std_plot(result).axes[1], "rms error in bins")
    assert len(bins) == 10
    np.testing.assert_allclose(bins[:, 1] / bins[:, 0], 1, atol=0.35)
    assert np.mean(bins[:, 1] / bins[:, 0]) == pytest.approx(1, abs=0.1)


def test_groups_are_shown_with_their_sampling_error(result: EvaluationResult) -> None:
    axes = group_plot(result).axes[1]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["crystal (30)", "cluster (30)", "all (60)"]
    row = result.rows("forces")[0]
    lines = [np.array(line.get_xydata()) for line in axes.get_lines()]
    assert any(line.shape == (2, 2) and (line[:, 0] == row.coverage_range).all() for line in lines)
    assert any(line.shape == (1, 2) and line[0, 0] == row.coverage[0.9] for line in lines)


def test_groups_too_small_for_a_verdict_are_drawn_open() -> None:
    axes = group_plot(evaluate(LennardJones(), drawn_frames(26)[:-7])).axes[1]
    faces = [line.get_markerfacecolor() for line in axes.get_lines() if line.get_marker() == "o"]
    assert faces[0] != "#FFFFFF" and faces[1] == "#FFFFFF"  # ten crystals, nine clusters


def test_tenths_of_the_std_are_shown(result: EvaluationResult) -> None:
    figure = decile_plot(result)
    assert figure is not None and [axes.get_title() for axes in figure.axes] == ["Force components"]
    shares = next(np.array(line.get_ydata()) for line in figure.axes[0].get_lines() if line.get_marker() == "o")
    assert shares == pytest.approx([decile.coverage for decile in result.rows("forces")[0].deciles])
    assert decile_plot(evaluate(LennardJones(), drawn_frames(2))) is None


def test_what_vanishes_by_symmetry_is_not_drawn(tmp_path: Path) -> None:
    result = evaluate(LennardJones(), drawn_frames(2))
    forces = result.comparisons["forces"]
    nothing = np.zeros_like(forces.label)
    gone = replace(forces, label=nothing, mean=nothing, epistemic_std=nothing)
    figure = reliability_plot(EvaluationResult([gone.metrics()], {"forces": gone}, 2, 7))
    assert "all components vanish by symmetry" in [text.get_text() for text in figure.axes[0].texts]


def test_histogram_counts_what_lies_outside() -> None:
    wild = evaluate(LennardJones(), drawn_frames(20, std_factor=6))
    axes = z_histogram(wild).axes[1]
    forces = wild.comparisons["forces"]
    beyond = int((np.abs(forces.error / forces.std) > 5).sum())
    assert beyond > 0
    assert any(text.get_text() == f"{beyond} of {forces.label.size} beyond ±5" for text in axes.texts)


@pytest.mark.slow
def test_zero_stds_and_single_labels_can_be_drawn(tmp_path: Path) -> None:
    frames = drawn_frames(1)
    for potential in (LennardJones(), LennardJones(force_std=0.0)):
        paths = write_plots(evaluate(potential, frames), tmp_path)
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths.values())


@pytest.mark.slow
def test_same_result_same_bytes(result: EvaluationResult, tmp_path: Path) -> None:
    first = {name: path.read_bytes() for name, path in write_plots(result, tmp_path).items()}
    assert first == {name: path.read_bytes() for name, path in write_plots(result, tmp_path).items()}
    kinds = {"parity_energy", "parity_forces", "parity_stress"}
    assert set(first) == kinds | {"reliability", "groups", "deciles", "error_std", "z_histogram"}


@pytest.mark.slow
def test_more_than_ten_groups_share_ten_colours_and_the_legend_covers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernpot.uncertainty.metrics.oracle_rank_correlation", lambda *_: 0.5)
    frames = drawn_frames(30)
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = f"group {k % 14:02}"
    many = evaluate(LennardJones(), frames)
    for figure in (parity_plot(many.comparisons["forces"], groups_in(many)), reliability_plot(many)):
        figure.canvas.draw()
        (legend,) = figure.legends
        names = [text.get_text() for text in legend.get_texts()]
        assert "5 others" in names and sum(name.startswith("group") for name in names) == 9
        assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
