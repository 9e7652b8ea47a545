"""Killed at any moment, a run loses nothing: no label is asked for twice, the last model is the same bit by bit."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.dynamics.runs import CountingOracle, learner

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, walkers: int = 1) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.dynamics.runs", str(folder), str(walkers)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def tensors(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "run" / "model.kernpot")


def same_model(a: Path, b: Path) -> None:
    first, second = tensors(a), tensors(b)
    assert set(first) == set(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def labels(folder: Path) -> dict[str, str]:
    """Geometries and numbers of the labels; how long they took differs from run to run."""
    found = {}
    for path in sorted((folder / "run" / "labels").glob("*.json")):
        text = path.read_text()
        found[path.name] = hashlib.sha256(text[text.index('"units"') :].encode()).hexdigest()
    return found


class Killed(BaseException):
    """Stands for the end of the process; nothing catches it."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_touch_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    steps = 60
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    calm = CountingOracle(tmp_path / "undisturbed" / "asked.log")
    learner(tmp_path / "undisturbed" / "run", calm, steps).run()
    touches, die_at = 0, -1
    rng = random.Random(seed)
    real = {name: getattr(os, name) for name in ("replace", "fsync", "truncate")}

    def touching(name: str):
        def touch(*args, **kwargs):
            nonlocal touches
            touches += 1
            if touches == die_at and rng.random() < 0.5:
                raise Killed  # before the disk has it
            found = real[name](*args, **kwargs)
            if touches == die_at:
                raise Killed  # or after
            return found

        return touch

    for name in real:
        monkeypatch.setattr(os, name, touching(name))
    oracle = CountingOracle(tmp_path / "killed" / "asked.log")
    deaths = 0
    while deaths < 40:
        die_at = touches + rng.randint(1, 12)
        try:
            outcome = learner(tmp_path / "killed" / "run", oracle, steps).run()
        except Killed:
            deaths += 1
        else:
            break
    die_at = -1
    outcome = learner(tmp_path / "killed" / "run", oracle, steps).run()
    assert outcome.reason == "finished" and deaths > 3
    same_model(tmp_path / "undisturbed", tmp_path / "killed")
    assert labels(tmp_path / "undisturbed") == labels(tmp_path / "killed")
    assert set(oracle.asked()) == set(calm.asked()) and len(oracle.asked()) - len(set(oracle.asked())) <= deaths


def changes(folder: Path) -> list[tuple[str, int, int]]:
    """What a run has on disk: files come, grow and are replaced as it moves on."""
    found = []
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # a scratch file that has just been moved into its place
            continue
        found.append((path.name, status.st_size, status.st_mtime_ns))
    return sorted(found)


def kill_at_random(folder: Path, walkers: int, kills: int, seed: int, how: int) -> int:
    """Run, killed so many times unless it ends before; how often it met its end on the way.

    Each process lives until the run has touched the disk a random number of times and a random moment longer: a fast
    machine then meets as many kills as a slow one.
    """
    rng, met = random.Random(seed), 0
    for n in range(kills):
        process = start(folder, walkers)
        # The first before anything is written.
        left, seen = (0 if n == 0 else rng.randint(1, 12)), changes(folder)
        while process.poll() is None and left > 0:
            now = changes(folder)
            left, seen = left - (now != seen), now
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        if process.poll() is None:
            process.send_signal(how)
        process.communicate()
        met += process.returncode == -how or how == signal.SIGINT
    process = start(folder, walkers)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    return met


@pytest.mark.slow
@pytest.mark.parametrize(("walkers", "seed"), [(1, 0), (2, 2)])
def test_killed_at_random_moments(tmp_path: Path, walkers: int, seed: int) -> None:
    (tmp_path / "undisturbed").mkdir()
    (tmp_path / "killed").mkdir()
    process = start(tmp_path / "undisturbed", walkers)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()
    kills = kill_at_random(tmp_path / "killed", walkers, 12, seed, signal.SIGKILL)
    assert kills > 2
    same_model(tmp_path / "undisturbed", tmp_path / "killed")
    assert labels(tmp_path / "undisturbed") == labels(tmp_path / "killed")
    asked = (tmp_path / "killed" / "asked.log").read_text().split()
    undisturbed = (tmp_path / "undisturbed" / "asked.log").read_text().split()
    # The log is written before the answer: each kill may catch one answer on its way to the disk, and no more.
    assert set(asked) == set(undisturbed) and len(asked) - len(set(asked)) <= kills
    assert len(set(asked)) == len(labels(tmp_path / "killed"))


@pytest.mark.slow
def test_interrupted_runs_go_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    (tmp_path / "undisturbed").mkdir()
    (tmp_path / "interrupted").mkdir()
    start(tmp_path / "undisturbed").communicate(timeout=300)
    kill_at_random(tmp_path / "interrupted", 1, 4, 5, signal.SIGINT)
    same_model(tmp_path / "undisturbed", tmp_path / "interrupted")
    asked = (tmp_path / "interrupted" / "asked.log").read_text().split()
    assert len(asked) == len(set(asked))  # an answer is waited for
