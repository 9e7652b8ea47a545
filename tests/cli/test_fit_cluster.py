"""`kernpot fit --scheduler`: the model of a fit at home, and what is said when the cluster is not as it should be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase.io import write
from typer.testing import CliRunner

from kernpot import load
from kernpot.cli import scheduler
from kernpot.cli.app import app
from tests.helpers.systems import cluster, crystals
from tests.parallel.test_processes import dask_cluster

pytest.importorskip("distributed", reason="needs dask: pip install 'kernpot[cluster]'")


@pytest.fixture
def train(tmp_path: Path) -> str:
    write(tmp_path / "train.xyz", [*crystals(9), cluster()])
    return str(tmp_path / "train.xyz")


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["fit", *arguments, "--n-inducing", "12", "--force"])
    return found.exit_code, re.sub(r"\s+", " ", found.output)


@pytest.mark.slow
def test_the_model_is_that_of_a_fit_at_home(train: str, tmp_path: Path) -> None:
    with dask_cluster(2) as client:
        code, output = run(train, "-o", str(tmp_path / "far"), "--scheduler", client.scheduler.address)
    assert code == 0, output
    assert "2 worker(s) of the scheduler" in output
    code, output = run(train, "-o", str(tmp_path / "near"), "--n-jobs", "2")
    assert code == 0, output
    frames = crystals(2, seed=4)
    for a, b in zip(*(load(tmp_path / name).predict(frames, return_std=True) for name in ("far", "near")), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_scheduler(train: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_PATIENCE", 1)
    code, output = run(train, "-o", str(tmp_path / "m"), "--scheduler", "tcp://127.0.0.1:9")
    assert code == 1
    assert "expected a Dask scheduler at tcp://127.0.0.1:9" in output
    assert "dask worker" in output
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("other", [("--backend", "nnp"), ("--n-jobs", "2")])
def test_what_a_cluster_does_not_do(train: str, tmp_path: Path, other: tuple[str, str]) -> None:
    code, output = run(train, "-o", str(tmp_path / "m"), "--scheduler", "tcp://127.0.0.1:9", *other)
    assert code == 2
    assert "--scheduler" in output


@pytest.mark.parametrize(
    ("found", "match"),
    [
        ({}, "has no workers"),
        ({"tcp://a:1": None}, "worker tcp://a:1 has kernpot not installed"),
        ({"tcp://a:1": "0.0.1"}, "has kernpot 0.0.1, expected"),
    ],
)
def test_workers_without_this_kernpot_are_refused(found: dict[str, str | None], match: str) -> None:
    with pytest.raises(scheduler.KernpotError, match=match):
        scheduler._check_workers(found, "tcp://host:8786")
