"""What the benchmarks share: smoke runs, stand-ins, and where results go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.shared import results, smoke, stand_ins
from benchmarks.shared.datasets import DATASETS


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a smoke run."""
    monkeypatch.setattr(smoke, "_folder", None)
    assert smoke.taken(["Si", "--smoke", str(tmp_path), "Mo"]) == ["Si", "Mo"]
    return tmp_path


def test_results_of_a_smoke_run_stay_in_its_folder(small: Path) -> None:
    before = results.read_result("accuracy/settings_Si")
    assert results.written("accuracy/settings_Si") is None
    results.write_result("accuracy/settings_Si", {"chosen": 1})
    assert results.read_result("accuracy/settings_Si")["chosen"] == 1 != before["chosen"]
    assert {path.name for path in small.rglob("*.json")} == {"settings_Si.json"}
    assert results.figure_path("gate").parent == small
    assert smoke.option() == ["--smoke", str(small)]


def test_a_missing_result_says_what_to_do() -> None:
    with pytest.raises(SystemExit, match=r"benchmarks/speed/results/nothing.json does not exist; run the benchmark"):
        results.read_result("speed/nothing")


@pytest.mark.parametrize("name", list(DATASETS))
def test_ten_structures_stand_in_for_each_part(small: Path, name: str) -> None:
    train, test = DATASETS[name].train(), DATASETS[name].test()
    assert len(train) == 10 and len(test) <= 10
    assert {s for a in test for s in a.symbols} <= {s for a in train for s in a.symbols}
    assert all(np.isfinite(a.get_forces()).all() for a in [*train, *test])
    moved = [a for a in train if len(a) > 1 and np.abs(a.get_forces()).max() > 0.01]
    assert moved and not any(np.array_equal(a.positions, b.positions) for a in moved for b in test if len(a) == len(b))


def test_stand_ins_have_what_benchmarks_read(small: Path) -> None:
    frames = stand_ins.structures("Si")
    assert {str(a.info["config_type"]) for a in frames} == {"Ground state", "Elastic", "AIMD-NVT", "Vacancy"}
    assert any("strain -0.04" in str(a.info["description"]) for a in frames)
