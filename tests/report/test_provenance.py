"""A model file tells what it holds, whichever backend wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dscribe.descriptors import ACSF

from kernpot.descriptors import features_of
from kernpot.files.container import read_model, write_model
from kernpot.report import describe_model

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
