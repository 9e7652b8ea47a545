"""Benchmarks of on-the-fly learning conclude what they measure."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("tblite", reason="needs pip install 'kernpot[oracles]'")

from benchmarks.learning import long_run, on_the_fly_ethanol
from benchmarks.learning.records import learning_time


def test_labels_needed_follow_a_power_law_exactly():
    labels = [10, 20, 40, 80]
    errors = [on_the_fly_ethanol.TARGET * (n / 50) ** -1.5 for n in labels]
    assert on_the_fly_ethanol.labels_needed(labels, errors) == pytest.approx(50)


def test_a_curve_that_rises_again_has_not_arrived():
    t = on_the_fly_ethanol.TARGET
    assert on_the_fly_ethanol.labels_needed([10, 20, 40, 80], [2 * t, 0.9 * t, 1.1 * t, 0.5 * t]) > 40
    assert on_the_fly_ethanol.labels_needed([10, 20], [2 * t, 1.01 * t]) is None
    assert on_the_fly_ethanol.labels_needed([10, 20], [0.9 * t, 0.5 * t]) == 10


def test_ratios_compare_runs_of_the_same_seed():
    t = on_the_fly_ethanol.TARGET

    def found(needed):
        errors = {str(k): [t * needed / n for n in (5, 500)] for k in on_the_fly_ethanol.TEMPERATURES}
        return {"labels": [5, 500], "rmse": errors}

    rows = on_the_fly_ethanol.summary(
        {"on the fly": {"0": found(10), "1": found(40)}, "random": {"0": found(30), "1": found(80)}}
    )
    ratios = [r["ratio"] for r in rows if r["strategy"] == "random"]
    np.testing.assert_allclose(ratios, [[3.0, 2.0]] * len(on_the_fly_ethanol.TEMPERATURES))


def test_a_failure_without_a_flag_is_undetected():
    errors = [0.5, 2.0, 0.9, 0.1] * np.array(long_run.TOLERANCE)
    rows = [{"max_force_error": e, "flagged": f} for e, f in zip(errors, (False, False, True, True), strict=True)]
    assert long_run.counts(rows) == {
        "frames": 4,
        "failures": 1,
        "flagged": 2,
        "undetected": 1,
        "false_alarms": 2,
    }


def test_learning_time_leaves_the_oracle_out(tmp_path):
    records = [
        {"event": "label", "seconds": 100.0},
        {"event": "learn", "kind": "fit", "seconds": 3.0, "labels": 8},
        {"event": "learn", "kind": "update", "seconds": 1.0, "labels": 10},
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, records)))
    measured = learning_time(tmp_path)
    assert measured["seconds_per_label"] == pytest.approx(0.4)
    assert measured["share"] == pytest.approx(0.08)
    assert measured["oracle_median_s"] == 100.0
