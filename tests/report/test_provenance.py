"""A model file tells what it holds, whichever backend wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ase.io import write
from dscribe.descriptors import ACSF
from typer.testing import CliRunner

from kernpot import OnTop, SparseGPPotential
from kernpot.cli.app import app
from kernpot.descriptors import GivenFeatures, features_of
from kernpot.files.container import read_model, write_model
from kernpot.kernels import PolynomialKernel
from kernpot.report import describe_model
from kernpot.structures.kinds import KINDS
from tests.doors.atomic_energies import ATOMIC_ENERGIES
from tests.doors.distance_features import DistanceFeatures
from tests.doors.exponential_kernel import ExponentialKernel
from tests.doors.real import copper, soap

DATA = {
    "structures": 12,
    "atoms": 96,
    "energies": 12,
    "force_components": 288,
    "stress_components": 0,
    "config_types": {"md": 12},
}


def described(path: Path, **header: Any) -> dict[str, dict[str, str]]:
    """Sections of a file whose header has what every backend must write, and what is given."""
    least = {"kind": "Other", "elements": [8, 29], "summary": {}}
    write_model(path, least | header, {})
    return {title: dict(rows) for title, rows in describe_model(read_model(path)[0])}


def test_a_header_with_the_least_there_must_be(tmp_path: Path) -> None:
    found = described(tmp_path / "m.kernpot")
    assert list(found) == ["Model", "Provenance"]
    assert found["Model"] == {"Kind": "Other", "Elements": "O, Cu"}
    assert found["Provenance"]["Random state"] == "not fixed" and "numpy" in found["Provenance"]


def test_what_another_backend_tells(tmp_path: Path) -> None:
    updates = [{"data": DATA | {"structures": 3}, "data_hash": "ab"}]
    found = described(
        tmp_path / "m.kernpot",
        summary={
            "data": DATA,
            "data_hash": "0f",
            "updates": updates,
            "size": {"networks": 8, "weights of each": 4321},
            "hyperparameters": {"converged": False, "message": "too few epochs"},
        },
        sections=[("Networks", [("Layers", "32, 32"), ("Activation", "tanh")]), ("Training", [("Epochs", 300)])],
        isolated_atoms={"29": -1.5},
        noise={"forces": 0.05},
    )
    assert list(found) == [
        "Model",
        "Networks",
        "Training",
        "Hyperparameters",
        "Isolated atoms",
        "Training data",
        "Provenance",
    ]
    assert found["Model"] == {"Kind": "Other", "Elements": "O, Cu", "Networks": "8", "Weights of each": "4321"}
    assert list(found["Networks"].items()) == [("Layers", "32, 32"), ("Activation", "tanh")]
    assert found["Training"] == {"Epochs": "300"}
    assert found["Hyperparameters"]["Noise forces"] == "0.05 eV/Å"
    assert found["Hyperparameters"]["Optimisation"] == "not converged: too few epochs"
    assert found["Isolated atoms"] == {"Cu": "-1.500000 eV"}
    assert found["Training data"]["Structures, atoms"] == "12, 96"
    assert found["Training data"]["Update 1"] == "3 structures, SHA-256 ab"


def test_symmetry_functions_are_described(tmp_path: Path) -> None:
    acsf = ACSF(species=["Cu", "O"], r_cut=5.0, g2_params=[[1, 1], [1, 2]], g4_params=[[1, 1, 1]])
    found = described(tmp_path / "m.kernpot", descriptors=[features_of(acsf).to_dict()])
    assert found["Descriptor"] == {
        "Features": "DScribe ACSF, species O, Cu",
        "Cutoff": "5 Å",
        "Functions": "1 G1, 2 G2, 1 G4",
    }


POLYNOMIAL = {"kind": "polynomial", "powers": [1, 2], "elements": [8, 29], "amplitude": [[1, 2], [3, 4]], "fixed": True}
OWN = {"kind": "exponential", "length": 0.25, "elements": [29], "amplitude": [1.5], "fixed": False}


def test_kernels_of_other_kinds_are_told_with_their_parameters_and_every_amplitude(tmp_path: Path) -> None:
    own = {"kind": "mine", "species": [8, 29], "cutoff": 4.0, "grid": {"n": 8, "ends": [0.5, 4]}, "nothing": None}
    given = GivenFeatures("fingerprint", ["Cu"], 3).to_dict()
    found = described(tmp_path / "m.kernpot", descriptors=[own, given], kernels=[POLYNOMIAL, OWN])
    assert found["Descriptor"] == {
        "1. Features": "mine",
        "1. Species": "O, Cu",
        "1. Cutoff": "4 Å",
        "1. Grid": "ends (0.5, 4), n 8",
        "1. Kernel": "polynomial, powers 1, 2",
        "2. Features": "3 that are given, from the array 'fingerprint', species Cu",
        "2. Jacobians": "none: energies alone",
        "2. Cutoff": "5 Å",
        "2. Kernel": "exponential, length 0.25",
    }
    assert found["Hyperparameters"] == {
        "1. Amplitude O, term 1": "1 eV (fixed)",
        "1. Amplitude Cu, term 1": "2 eV (fixed)",
        "1. Amplitude O, term 2": "3 eV (fixed)",
        "1. Amplitude Cu, term 2": "4 eV (fixed)",
        "2. Amplitude Cu": "1.5 eV",
    }


def test_features_of_a_function_are_told_by_its_name(tmp_path: Path) -> None:
    features = [GivenFeatures(len, ["Cu"], 3, True).to_dict()]
    found = described(tmp_path / "m.kernpot", descriptors=features)["Descriptor"]
    assert "from the function builtins.len" in found["Features"] and found["Jacobians"] == "from the function"


def test_long_lists_are_cut(tmp_path: Path) -> None:
    found = described(tmp_path / "m.kernpot", descriptors=[{"kind": "mine", "grid": [0.5] * 300}])["Descriptor"]
    assert found["Grid"].endswith("0.5, ... (300)") and len(found["Grid"]) < 100


@pytest.fixture
def energies_of_atoms() -> Iterator[None]:
    KINDS["energies"] = ATOMIC_ENERGIES
    yield
    del KINDS["energies"]


@pytest.mark.usefixtures("energies_of_atoms")
def test_noise_and_counts_of_other_kinds_of_labels(tmp_path: Path) -> None:
    noise = {"energies": 0.001, "energy": 0.002, "forces[hot]": 0.1, "unheard of": 3.0}
    summary = {"data": DATA | {"atomic_energies": 96}, "data_hash": "0f"}
    found = described(tmp_path / "m.kernpot", noise=noise, summary=summary)
    assert found["Hyperparameters"] == {
        "Noise energies": "0.001 eV",
        "Noise energy": "0.002 eV/atom",
        "Noise forces[hot]": "0.1 eV/Å",
        "Noise unheard of": "3",
    }
    assert found["Training data"]["Atomic energies"] == "96" and found["Training data"]["Energies"] == "12"


def test_a_sum_with_a_baseline_names_both(tmp_path: Path) -> None:
    more = {"learner": "NNPEnsemble", "baseline": {"name": "morse.MorsePotential"}}
    found = described(tmp_path / "m.kernpot", **more, sections={"Networks": [["Activation", "tanh"]]})
    assert found["Model"]["Learner"] == "NNPEnsemble" and found["Networks"] == {"Activation": "tanh"}
    assert found["Baseline"] == {"Name": "morse.MorsePotential"}


MODELS = {
    "a polynomial": lambda: SparseGPPotential(soap(["Cu"]), kernel=PolynomialKernel(), n_inducing=8, random_state=0),
    "an own kernel": lambda: SparseGPPotential(soap(["Cu"]), kernel=ExponentialKernel(), n_inducing=8, random_state=0),
    "an own descriptor": lambda: SparseGPPotential(DistanceFeatures((29,)), n_inducing=8, random_state=0),
    "a baseline": lambda: OnTop(
        SparseGPPotential(soap(["Cu"]), n_inducing=4, random_state=0).fit(copper(5, 3)),
        SparseGPPotential(DistanceFeatures((29,)), kernel=PolynomialKernel(), n_inducing=8, random_state=0),
    ),
}


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[] if name == "a baseline" else pytest.mark.slow) for name in MODELS]
)
@pytest.mark.slow
def test_commands_tell_of_models_with_parts_of_ones_own(model: str, tmp_path: Path) -> None:
    MODELS[model]().fit(copper(8, 0)).save(tmp_path / "m.kernpot")
    write(tmp_path / "test.xyz", copper(3, 1), format="extxyz")
    for arguments in (["info"], ["evaluate", str(tmp_path / "test.xyz"), "--report", str(tmp_path / "report")]):
        command = [arguments[0], str(tmp_path / "m.kernpot"), *arguments[1:]]
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, command)
        assert result.exit_code == 0, result.output
    assert "Amplitude Cu" in (tmp_path / "report" / "report.html").read_text()
