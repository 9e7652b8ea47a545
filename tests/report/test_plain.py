"""Names from users' files are shown as they are, on every surface, and obeyed on none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from kernpot.cli import console as console_module
from kernpot.cli.console import print_evaluation, print_sections, shown
from kernpot.report import group_plot, parity_plot
from kernpot.report.plain import plot_text, visible
from kernpot.uncertainty import EvaluationResult, evaluate
from tests.helpers.fakes import LennardJones, drawn_frames

NAMES = ["slab[hcp]", "[/bulk]", r"$\frac$", "$x$ and $y$", "_hidden", "red\x1b[31m", "all", "[bold]"]


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    frames = drawn_frames(24)
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = NAMES[k % len(NAMES)]
    return evaluate(LennardJones(), frames)


def printed(monkeypatch: pytest.MonkeyPatch, work: object, *arguments: object) -> str:
    console = Console(width=200, record=True, force_terminal=False, highlight=False)
    monkeypatch.setattr(console_module, "console", console)
    work(*arguments)  # type: ignore[operator]
    return console.export_text()


@pytest.mark.wrong_input("Labels", "a config_type that looks like markup or a terminal's command", "read right")
def test_names_in_tables_of_the_terminal(result: EvaluationResult, monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, print_evaluation, result)
    for name in NAMES:
        assert name.replace("\x1b", "\\x1b") in text
    assert "\x1b" not in text
    text = printed(monkeypatch, print_sections, [("Model [x]", [("Noise forces[surface]", "0.1 [/bulk]")])])
    assert "Model [x]" in text and "forces[surface]" in text and "0.1 [/bulk]" in text


def test_paths_between_marks_of_style() -> None:
    console = Console(width=200, record=True, highlight=False)
    console.print(f"wrote [bold]{shown('run[a]/m.kernpot')}[/] {shown('[/x]')}")
    assert "wrote run[a]/m.kernpot [/x]" in console.export_text()


@pytest.mark.wrong_input("Labels", "a config_type that looks like a formula", "read right")
def test_names_in_plots(result: EvaluationResult) -> None:
    for draw in (group_plot, lambda r: parity_plot(r.comparisons["forces"], r.config_types)):
        figure: Figure = draw(result)
        figure.canvas.draw()
        names = {t.get_text() for axes in figure.axes for t in axes.get_yticklabels()}
        legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
        names |= {t.get_text() for legend in legends if legend is not None for t in legend.get_texts()}
        for name in NAMES:
            assert any(plot_text(name) in found for found in names), name


@pytest.mark.wrong_input("Labels", "a config_type called all, as a row of the tables is", "read right")
def test_a_group_called_all_takes_nothing_from_all(result: EvaluationResult) -> None:
    rows = {row.config_type: row for row in result.rows("forces")}
    assert rows["all"].n_structures == 24 and rows["all (config_type)"].n_structures == 3
    frames = drawn_frames(6)
    for atoms in frames:
        atoms.info["config_type"] = "all"
    alone = evaluate(LennardJones(), frames)
    assert [row.config_type for row in alone.rows("energy")] == ["all"]
    assert np.isfinite(replace(alone).rows("energy")[0].mae)


def test_what_is_obeyed_is_written_out() -> None:
    assert visible("a\x1b[2Jb\u202ec\udcffd\ne\tf") == "a\\x1b[2Jb\\u202ec\\udcffd\ne\tf"
    assert visible("Å³ é 漢") == "Å³ é 漢"
