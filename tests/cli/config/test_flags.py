"""A file with the options of `kernpot fit`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ase.io import write
from typer.testing import CliRunner

from kernpot import load
from kernpot.cli.app import app
from tests.helpers.systems import crystals

GOOD = """\
train: [a.xyz]
n-inducing: 12
cutoff: 4
n_max: 3
l_max: 2
output: m.kernpot
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path / "a.xyz", crystals(6))
    return tmp_path


def fit(place: Path, text: str, *options: str) -> tuple[int, str]:
    (place / "fit.yaml").write_text(text)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["fit", str(place / "fit.yaml"), *options])
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def test_options_come_from_the_file_and_flags_override_them(place: Path) -> None:
    code, output = fit(place, GOOD)
    assert code == 0, output
    assert load(place / "m.kernpot").n_inducing_ == 12 and load(place / "m.kernpot").cutoff == 4
    assert fit(place, GOOD, "--n-inducing", "8", "--force")[0] == 0
    assert load(place / "m.kernpot").n_inducing_ == 8


@pytest.mark.wrong_input(
    "Settings", "an option of a fit misspelt in its file, given twice or of another form", "refused"
)
@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        (
            "n-inducing",
            "n-inducng",
            1,
            r"fit\.yaml, line 2: n-inducng: there is no such key\. Did you mean n-inducing\?",
        ),
        ("cutoff: 4", "cutoff: 40", 2, "--cutoff"),
        ("cutoff: 4", "cutoff: yes", 1, "line 3: cutoff: expected a number or text, got True"),
        ("cutoff: 4", "force: 1", 1, "line 3: force: expected true or false, got 1"),
        ("cutoff: 4", "n-max: 4", 1, "given twice"),
        ("train: [a.xyz]\n", "", 1, "train is missing"),
        ("a.xyz", "absent.xyz", 1, "absent.xyz: no such file"),
    ],
)
def test_mistakes_are_refused_in_a_sentence(place: Path, old: str, new: str, code: int, message: str) -> None:
    assert old in GOOD
    found, output = fit(place, GOOD.replace(old, new))
    assert found == code and re.search(message, output), output
