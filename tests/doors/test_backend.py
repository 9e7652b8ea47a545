"""A backend of another package: found by its entry point, held to the contract, and used by every command."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from typer.testing import CliRunner

from kernpot import OnTop, load
from kernpot.cli.app import app
from kernpot.cli.backends import names, potential_class
from kernpot.errors import KernpotError, ModelFileError
from kernpot.files.container import backend_class, write_model
from kernpot.potential import Potential
from kernpot.surfaces.variances import Exportable
from kernpot.testing import check_potential
from tests.doors.distance_features import DistanceFeatures
from tests.doors.real import copper, coverage, ethanol, soap

PACKAGE = Path(__file__).parent / "rival_backend"


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The class, of a package that lies on the path with the metadata that an installation writes."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE))
    yield importlib.import_module("linear_potential").LinearPotential
    for name in [name for name in sys.modules if name.partition(".")[0] == "linear_potential"]:
        del sys.modules[name]


def kernpot(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


def labelled(path: Path, frames: list[Atoms]) -> Path:
    write(path, frames, format="extxyz")
    return path


def test_it_learns_real_data_and_its_error_bars_hold(rival: Any) -> None:
    train, held_out, test = ethanol(0, 60), ethanol(60, 80), ethanol(80, 110)
    potential = rival(DistanceFeatures((1, 6, 8), n=16), random_state=0).fit(train).calibrate(held_out)
    assert isinstance(potential, Potential) and isinstance(potential, Exportable)
    rmse, inside = coverage(potential, test, "forces")
    assert rmse < 0.5 * np.std(np.concatenate([a.get_forces().ravel() for a in test]))
    assert 0.8 < inside < 0.98


def test_it_passes_the_conformance_suite(rival: Any) -> None:
    check_potential(rival(DistanceFeatures((29,)), random_state=0).fit(copper(12, 0)), copper(1, 5))


def test_it_learns_on_top_of_a_baseline(rival: Any) -> None:
    base = rival(DistanceFeatures((29,), n=6), random_state=0).fit(copper(8, 1))
    both = OnTop(base, rival(soap(["Cu"]), random_state=0)).fit(copper(12, 0))
    atoms = copper(1, 5)[0]
    errors = [np.abs(p.mean(atoms).forces - atoms.get_forces()).mean() for p in (both, base)]
    assert errors[0] < errors[1]


READ = """
import sys
import numpy as np
from ase.io import read
from kernpot import load
import tests.doors.distance_features
print(np.array2string(load(sys.argv[1]).mean(read(sys.argv[2])).forces.ravel(), precision=12, max_line_width=10**6))
"""


@pytest.mark.slow
def test_a_fresh_process_reads_its_files(rival: Any, tmp_path: Path) -> None:
    potential, atoms = rival(DistanceFeatures((29,)), random_state=0).fit(copper(8, 0)), copper(1, 5)[0]
    potential.save(tmp_path / "m.kernpot")
    write(tmp_path / "a.xyz", atoms)
    command = [sys.executable, "-c", READ, str(tmp_path / "m.kernpot"), str(tmp_path / "a.xyz")]
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    found = np.array([float(x) for x in out.stdout.strip("[] \n").split()])
    np.testing.assert_allclose(found, potential.mean(atoms).forces.ravel(), atol=1e-7)


def test_where_it_is_not_installed_its_file_is_refused_with_its_name(
    rival: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival(DistanceFeatures((29,)), random_state=0).fit(copper(8, 0)).save(tmp_path / "m.kernpot")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(PACKAGE)])
    with pytest.raises(ModelFileError, match="LinearPotential"):
        load(tmp_path / "m.kernpot")
    with pytest.raises(KernpotError, match="expected one of gp, nnp, got 'LinearPotential'"):
        potential_class("LinearPotential")


def test_commands_fit_evaluate_and_export_it(rival: Any, tmp_path: Path) -> None:
    train, test = labelled(tmp_path / "train.xyz", copper(12, 0)), labelled(tmp_path / "test.xyz", copper(4, 1))
    model = tmp_path / "m.kernpot"
    options = ("--cutoff", 3.5, "--n-max", 3, "--l-max", 2)
    kernpot("fit", train, "-o", model, "--backend", "LinearPotential", *options, "--set", "noise={forces: 0.02}")
    assert load(model).summary_["data"]["structures"] == 12
    assert "LinearPotential" in kernpot("info", model)
    assert "Force components" in kernpot("evaluate", model, test)
    wrong = ("fit", train, "-o", model, "--backend", "LinearPotential", "--set", "depth=3")
    assert "has no parameters ['depth'], expected some of descriptor, noise" in kernpot(*wrong, code=1)


@pytest.mark.slow
def test_comparison_has_it_beside_ours(rival: Any, tmp_path: Path) -> None:
    train = labelled(tmp_path / "train.xyz", copper(20, 0))
    both = ("--backend", "gp", "--backend", "LinearPotential", "--no-learning-curve")
    said = kernpot("compare", train, "-o", tmp_path / "out", *both)
    assert "LinearPotential" in said
    assert "LinearPotential" in json.dumps([p.read_text() for p in (tmp_path / "out").rglob("*.json")])


LEARN = """\
structures: start.xyz
oracle: {kind: emt, workers: 1}
potential: {backend: LinearPotential, cutoff: 3.5, n_max: 3, l_max: 2, settings: {noise: {forces: 0.02}}}
dynamics:
  - {ensemble: langevin, temperature: 600, steps: 20, timestep: 3}
gate: {force_std: 0.2, every: 5}
bootstrap: {number: 4}
"""


def test_it_learns_on_the_fly_from_a_file_of_settings(
    rival: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("start.xyz", copper(1, 2, rattle=0.05)[0].copy())
    Path("cu.yaml").write_text(LEARN)
    kernpot("learn", "cu.yaml", "-d", "run")
    models = [load(path) for path in Path("run").rglob("*.kernpot")]
    assert models and {type(model) for model in models} == {rival}


def test_metatomic_evaluates_what_it_exports(rival: Any, tmp_path: Path) -> None:
    pytest.importorskip("metatomic.torch", reason="needs pip install 'kernpot[metatomic]'")
    from metatomic.torch.ase_calculator import MetatomicCalculator  # type: ignore[import-not-found]

    potential, atoms = rival(soap(["Cu"]), random_state=0).fit(copper(12, 0)), copper(1, 5)[0].copy()
    potential.save(tmp_path / "m.kernpot")
    kernpot("export", tmp_path / "m.kernpot", "-o", tmp_path / "m.pt", "--draws", 2)
    atoms.calc = MetatomicCalculator(str(tmp_path / "m.pt"))
    np.testing.assert_allclose(atoms.get_forces(), potential.mean(atoms).forces, atol=1e-6)


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("noise=abc", "noise must be None, a mapping such as"),
        ("noise={force: 0.1}", "noise has unknown keys ['force'], expected some of energy, forces, stress"),
        ("noise={forces: -1}", "forces must be a positive number"),
        ("noise={others: 3}", "noise: others: expected a mapping"),
    ],
)
def test_bad_parameters_end_in_one_message(rival: Any, tmp_path: Path, setting: str, said: str) -> None:
    train = labelled(tmp_path / "train.xyz", copper(12, 0))
    command = ("fit", train, "-o", tmp_path / "m.kernpot", "--backend", "LinearPotential", "--cutoff", 3.5)
    out = kernpot(*command, "--n-max", 2, "--l-max", 1, "--set", setting, code=1)
    assert "error: " in out and said in out and not (tmp_path / "m.kernpot").exists()


def installed(folder: Path, name: str, value: str, code: str | None = None) -> None:
    """A package with an entry point, on a folder of the path."""
    info = folder / f"{name.lower()}_package-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.lower()}-package\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[kernpot.potentials]\n{name} = {value}\n")
    if code is not None:
        (folder / f"{value.partition(':')[0]}.py").write_text(code)


STRICT = """
class Strict:
    def __init__(self, depth=1):
        if depth == 3:
            raise ValueError("depth is too large")
        self.depth = depth

    def fit(self, structures):
        raise TypeError(f"depth must be a number, got {self.depth!r}")
"""


def test_one_that_refuses_its_parameters_ends_in_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "Strict", "strict_backend:Strict", STRICT)
    monkeypatch.syspath_prepend(str(tmp_path))
    train = labelled(tmp_path / "train.xyz", copper(3, 0))
    command = ("fit", train, "-o", tmp_path / "m.kernpot", "--backend", "Strict", "--set")
    out = kernpot(*command, "depth=3", code=1)
    assert "error: the backend Strict cannot be made of {'depth': 3}: depth is too large" in out
    out = kernpot(*command, "depth=deep", code=1)
    assert "error: the backend Strict cannot be fitted: depth must be a number, got 'deep'" in out
    sys.modules.pop("strict_backend")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "needs the module 'broken_backend', which is not installed"),
        ("import not_there_at_all", "needs the module 'not_there_at_all', which is not installed"),
        ("", "has no attribute 'Broken'"),
    ],
)
def test_one_that_cannot_be_imported_is_named_with_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str | None, said: str
) -> None:
    installed(tmp_path, "Broken", "broken_backend:Broken", code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_backend", raising=False)
    out = kernpot("fit", "train.xyz", "--backend", "Broken", code=1)
    assert "error: the backend Broken cannot be imported: the package broken-package" in out and said in out
    write_model(tmp_path / "m.kernpot", {"kind": "Broken", "elements": [29], "summary": {}}, {})
    with pytest.raises(ModelFileError, match=r"package broken-package.*" + said):
        load(tmp_path / "m.kernpot")
    sys.modules.pop("broken_backend", None)


@pytest.mark.parametrize("name", ["SparseGPPotential", "NNPEnsemble", "OnTop", "gp"])
def test_none_takes_the_place_of_ours(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, name, "broken_backend:Broken")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert potential_class("gp").__name__ == "SparseGPPotential"
    assert names() == ["gp", "nnp"]
    assert name == "gp" or backend_class(name).__name__ == name
