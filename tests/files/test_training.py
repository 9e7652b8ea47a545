"""The labelled structures in a model file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernpot.backend.summary import data_hash
from kernpot.files.training import pack, unpack
from kernpot.structures.labels import LabelledStructure, label_structures
from tests.helpers.systems import ALL, cluster, crystals, labelled, slab


def structures() -> list[LabelledStructure]:
    """Every combination of labels that occurs, three periodicities, a type and a noise scale."""
    frames = [*crystals(2, symbols="Cu3Au"), slab(), cluster("CuAu3"), labelled(crystals(1, seed=2)[0], [])]
    frames += [labelled(crystals(1, seed=3)[0], [kind]) for kind in ALL]
    frames[1].info |= {"config_type": "liquid", "noise_scale": {"forces": 2.0}, "source": "some.xyz#7"}
    return label_structures(frames)


def test_round_trip() -> None:
    before = structures()
    after = unpack(*pack(before))
    assert data_hash(after) == data_hash(before)
    for a, b in zip(before, after, strict=True):
        assert (a.kinds, a.config_type, a.source, a.noise_scale) == (b.kinds, b.config_type, b.source, b.noise_scale)
        np.testing.assert_array_equal(a.atoms.pbc, b.atoms.pbc)


def test_no_labels_of_a_kind() -> None:
    only = label_structures([labelled(crystals(1)[0], ["energy"])])
    assert data_hash(unpack(*pack(only))) == data_hash(only)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda _, t: t.update({"training.forces": t["training.forces"][1:]}), "training.forces has the shape"),
        (lambda _, t: t.update({"training.energy": t["training.energy"] * np.nan}), "NaN"),
        (lambda _, t: t.update({"training.sizes": t["training.sizes"] * 2}), "training.numbers has the shape"),
        (lambda _, t: t.update({"training.sizes": -t["training.sizes"]}), "sizes"),
        (lambda _, t: t.update({"training.numbers": t["training.numbers"] * 0}), "atomic number 0"),
        (lambda _, t: t.update({"training.positions": t["training.positions"] * np.inf}), "position"),
        (lambda h, _: h["labels"][0].append("dipole"), "dipole"),
        (lambda h, _: h["labels"].pop(), "structures with the sizes"),
        (lambda h, _: h["source"].pop(), "structures with the sizes"),
        (lambda h, _: h["noise_scale"][0].update(forces=-1.0), "noise_scale"),
    ],
)
def test_damaged_parts_are_refused(forge: Callable[[dict[str, Any], dict[str, np.ndarray]], Any], message: str) -> None:
    header, tensors = pack(structures())
    header["noise_scale"] = [dict(s) for s in header["noise_scale"]]
    forge(header, tensors)
    with pytest.raises(ValueError, match=message):
        unpack(header, tensors)
