"""Error bars by draws on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write
from typer.testing import CliRunner

from kernpot import NNPEnsemble, SparseGPPotential, load
from kernpot.cli.app import app
from tests.helpers.systems import crystals, soap

NEW = crystals(6, seed=7)


def run(*arguments: object, code: int = 0) -> str:
    """Run kernpot, require the exit code, return what it printed without line breaks."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("error_bars")
    SparseGPPotential(soap(), n_inducing=20, random_state=0).fit(crystals(12)).save(path / "with.kernpot")
    SparseGPPotential(soap(), n_inducing=20, n_draws=0, random_state=0).fit(crystals(12)).save(path / "without.kernpot")
    NNPEnsemble(soap(), n_members=2, max_epochs=1, random_state=0).fit(crystals(12)).save(path / "nnp.kernpot")
    write(path / "new.xyz", NEW)
    return path


def test_predict(place: Path, tmp_path: Path) -> None:
    for way in ("exact", "draws"):
        run("predict", place / "with.kernpot", place / "new.xyz", "-o", tmp_path / f"{way}.xyz", "--error-bars", way)
    exact, draws = (read(tmp_path / f"{way}.xyz", ":") for way in ("exact", "draws"))
    expected = load(place / "with.kernpot").predict_full(NEW, error_bars="draws")
    for a, b, p in zip(exact, draws, expected, strict=True):
        np.testing.assert_allclose(b.get_forces(), a.get_forces(), atol=1e-7)
        np.testing.assert_allclose(b.arrays["forces_std"], p.forces.std, rtol=1e-4, atol=1e-7)
        assert not np.allclose(b.arrays["forces_std"], a.arrays["forces_std"], rtol=1e-2)


def test_evaluate(place: Path, tmp_path: Path) -> None:
    run("evaluate", place / "with.kernpot", place / "new.xyz", "--report", tmp_path / "e")
    run("evaluate", place / "with.kernpot", place / "new.xyz", "--error-bars", "draws", "--report", tmp_path / "d")
    exact, draws = (json.loads((tmp_path / way / "metrics.json").read_text())["metrics"] for way in ("e", "d"))
    for a, b in zip(exact, draws, strict=True):
        assert b["mae"] == pytest.approx(a["mae"], rel=1e-6)
        assert b["sharpness"] != pytest.approx(a["sharpness"], rel=1e-3)


def test_md_and_its_resumption(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "md.xyz"
    options = ["--force-std", 50, "--every", 2, "-o", out]
    run("md", place / "with.kernpot", place / "new.xyz", "--error-bars", "draws", "--steps", 4, *options)
    run("md", place / "with.kernpot", "--resume", "--steps", 8, "-o", out)
    frames = read(out, ":")
    assert len(frames) == 5
    model = load(place / "with.kernpot")
    for frame in frames:
        expected = model.force_std(frame, error_bars="draws")
        np.testing.assert_allclose(frame.arrays["forces_std"], expected, rtol=1e-3, atol=1e-5)
    refused = run("md", place / "with.kernpot", "--resume", "--error-bars", "exact", "--steps", 9, "-o", out, code=1)
    assert "--error-bars: the run has draws, got exact" in refused


def test_models_without_draws_are_refused_before_work(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.xyz"
    refused = run("predict", place / "without.kernpot", place / "new.xyz", "-o", out, "--error-bars", "draws", code=1)
    assert "no shared draws" in refused
    assert not out.exists()


def test_networks_have_one_kind(place: Path, tmp_path: Path) -> None:
    for way in ("exact", "draws"):
        run("predict", place / "nnp.kernpot", place / "new.xyz", "-o", tmp_path / f"{way}.xyz", "--error-bars", way)
    a, b = (read(tmp_path / f"{way}.xyz", 0).arrays["forces_std"] for way in ("exact", "draws"))
    np.testing.assert_array_equal(a, b)
