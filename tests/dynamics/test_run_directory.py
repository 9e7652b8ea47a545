"""Files of a run appear whole or not at all; what a disk refuses is said, and nothing is corrupted."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from kernpot.dynamics.label_store import LabelStore
from kernpot.dynamics.run_directory import RunDirectory, RunDirectoryError, read_json, write_atomically
from tests.dynamics.runs import CountingOracle, learner


def full(*args, **kwargs) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "state.json"
    write_atomically(file, '{"a": 1}')
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError, match=r"state.json could not be written: No space left on device.* resume"):
        write_atomically(file, '{"a": 2}')
    assert read_json(file) == {"a": 1} and [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_a_run_on_a_disk_that_fills_up_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = CountingOracle(tmp_path / "asked.log")
    reference = CountingOracle(tmp_path / "reference.log")
    expected = learner(tmp_path / "reference", reference, steps=80).run()
    real, left = os.replace, 12

    def replace(*args) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            full()
        real(*args)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        with pytest.raises(Exception, match="No space left on device"):
            learner(tmp_path / "run", oracle, steps=80).run()
    outcome = learner(tmp_path / "run", oracle, steps=80).run()
    assert (outcome.labels, outcome.audited) == (expected.labels, expected.audited)
    assert set(oracle.asked()) == set(reference.asked())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(RunDirectoryError, match="could not be written: Permission denied"):
        learner(tmp_path / "run", CountingOracle(tmp_path / "asked.log"))


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="could not be written"):
        learner(tmp_path / "file" / "run", CountingOracle(tmp_path / "asked.log"))


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"format": 99}'])
def test_a_damaged_state_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    run = tmp_path / "run"
    learner(run, CountingOracle(tmp_path / "asked.log"), steps=40).run()
    (run / "state.json").write_text(content)
    before = (run / "events.jsonl").read_bytes()
    with pytest.raises(RunDirectoryError, match=r"state\.json"):
        learner(run, CountingOracle(tmp_path / "asked.log"), steps=40).run()
    assert (run / "state.json").read_text() == content and (run / "events.jsonl").read_bytes() == before


def test_missing_parts_are_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    learner(run, CountingOracle(tmp_path / "asked.log"), steps=40).run()
    label = run / "labels" / "000002.json"
    text = label.read_text()
    label.unlink()
    with pytest.raises(RunDirectoryError, match=r"lacks the labels \[2\]"):
        learner(run, CountingOracle(tmp_path / "asked.log"), steps=40).run()
    label.write_text(text[:100])
    with pytest.raises(RunDirectoryError, match=r"000002\.json cannot be read"):
        learner(run, CountingOracle(tmp_path / "asked.log"), steps=40).run()
    label.write_text(json.dumps({"number": 2}))
    with pytest.raises(RunDirectoryError, match=r"000002\.json is not an answer that kernpot wrote"):
        LabelStore(run / "labels")
    label.write_text(text)
    for model in (run / "models").iterdir():
        model.unlink()
    with pytest.raises(RunDirectoryError, match="kernpot is missing, and the run cannot go on"):
        learner(run, CountingOracle(tmp_path / "asked.log"), steps=40).run()


def test_files_that_grow_are_cut_back(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.log({"event": "start"})
    sizes = directory.sizes()
    directory.log({"event": "step"})
    directory.append("trajectory_0.xyz", lambda path: path.write_text("1\n\nAr 0 0 0\n"))
    directory.cut_back(sizes)
    assert (tmp_path / "events.jsonl").read_text() == '{"event": "start"}\n'
    assert (tmp_path / "trajectory_0.xyz").read_text() == ""
