"""Nothing is searched, described or predicted twice."""

from __future__ import annotations

from benchmarks.speed import repeats


def test_a_fit_searches_and_describes_every_structure_once() -> None:
    once = {"checks": 1.0, "searches": 1.0, "descriptions": 1.0}
    assert repeats.fits() == {"gp": once, "nnp": once}


def test_a_gate_on_forces_makes_force_stds_alone() -> None:
    assert repeats.gate() == {"predict_full": 0, "force_std": repeats.CHECKS}
