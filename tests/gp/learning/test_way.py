"""Which way inducing environments are chosen by when nobody says."""

from __future__ import annotations

from typing import Any

import pytest

from kernpot import SparseGPPotential
from kernpot.gp.learning import way
from kernpot.gp.learning.way import WAYS, ways_for
from kernpot.structures.labels import label_structures
from tests.helpers.systems import crystals, soap

FRAMES = crystals(12)
AUTO: dict[str, Any] = {"inducing": "auto", "n_inducing": "auto", "optimize": True}


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({}, WAYS),
        ({"inducing": "cur"}, ("cur",)),
        ({"n_inducing": 10}, ("fps",)),
        ({"optimize": False}, ("fps",)),
        ({"inducing": FRAMES[:1]}, ("fps",)),
    ],
)
def test_what_is_tried(changes: dict[str, Any], ways: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(way, "FIRST", 4)
    assert ways_for(AUTO | changes, label_structures(FRAMES), [object()]) == ways  # type: ignore[list-item]


def test_nothing_is_tried_where_all_environments_are_taken() -> None:
    assert ways_for(AUTO, label_structures(FRAMES), [object()]) == ("fps",)  # type: ignore[list-item]


def test_the_one_with_smaller_errors_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("way", "size"):
        monkeypatch.setattr(f"kernpot.gp.learning.{module}.FIRST", 6)
    monkeypatch.setattr("kernpot.gp.learning.size.OPERATIONS", 0.0)
    scores = {}
    for name in WAYS:
        told = SparseGPPotential(soap(["Cu"]), inducing=name, random_state=0).fit(FRAMES).summary_
        scores[name] = told["hyperparameters"]["scores"]["whole"]
        assert told["growth"]["inducing"] == name
    chosen = SparseGPPotential(soap(["Cu"]), random_state=0).fit(FRAMES).summary_
    assert scores["fps"] != scores["leverage"]
    assert chosen["hyperparameters"]["scores"]["whole"] == min(scores.values())
    assert chosen["growth"]["inducing"] == min(scores, key=scores.__getitem__)
