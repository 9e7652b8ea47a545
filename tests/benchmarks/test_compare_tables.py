"""Tables of docs/compare.md are those of the stored results, and the stored results those of the comparison."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.networks import compare
from benchmarks.networks import compare_tables as tables
from benchmarks.shared import smoke
from kernpot.comparison import Split, run, summarise, without_group
from tests.comparison.rivals import Rival, argon


@pytest.fixture(autouse=True)
def own_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Results in a folder of the test."""
    monkeypatch.setattr(smoke, "_folder", tmp_path)
    (tmp_path / "networks").mkdir()


def test_tables_say_what_was_measured(tmp_path: Path) -> None:
    assert {text() for text in tables.SECTIONS.values()} == {
        "Not measured yet: `python -m benchmarks networks compare`."
    }
    train, test = [*argon(20), *argon(8, 1, "warm", 0.15)], [*argon(10, 2), *argon(6, 3, "warm", 0.15)]
    rivals = {"sharp": Rival(width=0.3), "honest": Rival(error=2.0)}
    result = summarise(run(rivals, Split(train, test, [without_group(train, test, "warm")])))
    stored: dict[str, Any] = compare.shortened(result)
    machine = {"machine": "x86_64", "torch": "2.0"}
    (tmp_path / "networks" / "compare_Si.json").write_text(json.dumps({**stored, "machine": machine}, allow_nan=False))
    assert (tmp_path / "networks" / "compare_Si.json").stat().st_size < 60_000
    texts = {name.removeprefix("compare_"): text() for name, text in tables.SECTIONS.items()}
    assert all(sentence in texts["summary"] for sentence in stored["advice"])
    score = result.score("forces", "mae")
    assert score is not None and score.best == "sharp"
    best, other = (f"{score.values[name]:.3g}" for name in ("sharp", "honest"))
    assert f"| forces MAE, eV/A | **{best}** | {other} |" in texts["errors"]
    assert re.search(rf"\| Si \| 28 \|.* \*\*{best}\*\* \| {other} \|", texts["curve"])
    row = result.row("honest", "forces", "warm")
    assert row is not None and f"{100 * row['coverage']['0.9']:.0f} % (" in texts["coverage"]
    assert f"| forces, eV/A | honest | {result.row('honest', 'forces')['rms_z']:.3g} |" in texts["calibration"]
    assert "| Si without warm | sharp |" in texts["detection"] and "| Si | pressures | honest |" in texts["derived"]
    assert "x86_64 machine" in texts["cost"] and "figures/compare.png" not in texts["curve"]
    compare.draw()
    assert tables.SECTIONS["compare_curve"]().endswith("(figures/compare.png)")


def test_a_part_of_a_split_keeps_isolated_atoms() -> None:
    frames = [*argon(10), argon(1)[0][:1]]
    assert [len(a) for a in compare.spread(frames, 4)] == [4, 4, 4, 4, 1] and len(compare.spread(frames, None)) == 11
