"""Noise groups."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from kernpot.errors import StructureError
from kernpot.structures import NoiseModel, label_structures


@pytest.fixture
def labelled():
    frames = [bulk("Si") for _ in range(3)]
    frames[0].info["config_type"] = "Surface"
    frames[1].info["config_type"] = "AIMD"
    return label_structures(frames, energies=[1.0, 2.0, None], forces=[np.zeros((2, 3))] * 3)


def test_everything_is_optimised_by_default(labelled):
    noise = NoiseModel.from_user(None)
    assert noise.fixed == {}
    assert noise.groups(labelled) == [{"energy": "energy", "forces": "forces"}] * 2 + [{"forces": "forces"}]


def test_given_levels_are_fixed():
    noise = NoiseModel.from_user({"energy": 0.001, "stress": np.float64(0.01)})
    assert noise == NoiseModel(energy=0.001, stress=0.01)
    assert noise.fixed == {"energy": 0.001, "stress": 0.01}
    assert NoiseModel.from_user(noise) is noise


def test_config_type_has_its_own_level_fixed_or_optimised(labelled):
    noise = NoiseModel(forces=0.05, config_type={"Surface": {"forces": 0.2, "energy": None}})
    assert noise.groups(labelled) == [
        {"energy": "energy[Surface]", "forces": "forces[Surface]"},
        {"energy": "energy", "forces": "forces"},
        {"forces": "forces"},
    ]
    assert noise.group(labelled[0], "stress") == "stress"
    assert noise.fixed == {"forces": 0.05, "forces[Surface]": 0.2}
    noise.require_known(labelled)


def test_unknown_config_type_is_reported(labelled):
    noise = NoiseModel(config_type={"Surfaces": {"forces": 0.2}})
    with pytest.raises(StructureError, match=r"\['Surfaces'\], which no structure has; present are \['AIMD', 'Surf"):
        noise.require_known(labelled)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"energy": 0.0}, "energy must be a positive number"),
        ({"forces": -1.0}, "forces must be a positive number"),
        ({"stress": np.nan}, "stress must be a positive number"),
        ({"energy": True}, "energy must be a positive number"),
        ({"energy": "small"}, "energy must be a positive number"),
        ({"force": 0.1}, r"unknown keys \['force'\]"),
        (0.1, "noise must be None, a mapping"),
        ({"config_type": {"Surface": 0.1}}, "config_type 'Surface': expected a mapping"),
        ({"config_type": {"Surface": {"force": 0.1}}}, "config_type 'Surface': expected a mapping with keys"),
        ({"config_type": ["Surface"]}, "config_type must map names"),
    ],
)
def test_bad_noise(noise, message):
    with pytest.raises(ValueError, match=message):
        NoiseModel.from_user(noise)
