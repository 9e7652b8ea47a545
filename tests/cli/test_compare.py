"""`kernpot compare`: from files to a page, and on again after an interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import write
from typer.testing import CliRunner

from kernpot.cli import compare as compare_module
from kernpot.cli.app import app
from tests.comparison.rivals import Rival, argon

ROOT = Path(__file__).resolve().parents[2]


def kernpot(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of argon, and two rivals in place of the backends."""
    write(tmp_path / "train.xyz", [*argon(20), *argon(8, 1, "warm", 0.15)])
    write(tmp_path / "test.xyz", [*argon(8, 2), *argon(4, 3, "warm", 0.15)])
    write(tmp_path / "hot.xyz", argon(8, 4, "hot", 0.3))
    rivals = {"sharp": Rival("sharp", width=0.3), "honest": Rival("honest", error=2.0)}
    monkeypatch.setattr(compare_module, "backends", lambda *_: rivals)
    monkeypatch.setattr("kernpot.uncertainty.metrics.oracle_rank_correlation", lambda *_: 0.5)
    monkeypatch.chdir(tmp_path)
    Rival.fits.clear()
    return tmp_path


def test_from_files_to_page_numbers_and_words(place: Path) -> None:
    output = kernpot(
        "compare", "train.xyz", "--test", "test.xyz", "--shifted", "hot.xyz", "-o", "out", "--tolerance", 0.2
    )
    assert "28 structures to learn, 12 to be asked about; unlike those learnt: 8 of hot.xyz" in output
    found = json.loads((place / "out" / "comparison.json").read_text())
    assert found["potentials"] == ["sharp", "honest"] and [p["n_train"] for p in found["curve"]] == [10, 20, 28]
    assert all(sentence in output for sentence in found["advice"])
    score = next(s for s in found["scores"] if (s["kind"], s["measure"]) == ("forces", "mae"))
    assert f"{score['values']['sharp']:.3g} *" in output and f"{score['values']['honest']:.3g}" in output
    (detection,) = found["detection"]
    assert (detection["shift"], detection["tolerance"]) == ("hot.xyz", 0.2)
    page = (place / "out" / "comparison.html").read_text()
    assert "train.xyz" in page and "Which to use when" in page
    assert len(list((place / "out" / "fits").glob("*.json"))) == 6


@pytest.mark.slow
def test_without_test_and_shifted_files_parts_are_held_out(place: Path) -> None:
    output = kernpot("compare", "train.xyz", "-o", "out", "--no-learning-curve")
    assert "22 structures to learn, 6 to be asked about; unlike those learnt: 8 of warm" in output
    assert sorted(Rival.fits) == [("honest", 16), ("honest", 22), ("sharp", 16), ("sharp", 22)]
    found = json.loads((place / "out" / "comparison.json").read_text())
    assert len(found["curve"]) == 1
    # The same inputs: nothing is fitted. Another seed holds out others.
    kernpot("compare", "train.xyz", "-o", "out", "--no-learning-curve")
    assert len(Rival.fits) == 4
    kernpot("compare", "train.xyz", "-o", "out", "--no-learning-curve", "--seed", 1)
    assert len(Rival.fits) == 8


@pytest.mark.slow
def test_groups_to_leave_out_are_named(place: Path) -> None:
    output = kernpot("compare", "train.xyz", "-o", "out", "--no-learning-curve", "--leave-out", "crystal")
    assert "unlike those learnt: 20 of crystal" in output
    assert "config_type 'cold'; there are crystal, warm" in kernpot(
        "compare", "train.xyz", "--leave-out", "cold", code=1
    )
    twice = ("--leave-out", "warm", "--leave-out", "warm")
    assert "needs a name of its own" in kernpot("compare", "train.xyz", *twice, code=1)


@pytest.mark.slow
def test_ctrl_c_keeps_finished_fits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Rival.fit

    def interrupted(self: Rival, structures: Sequence[Atoms]) -> Rival:
        if len(Rival.fits) == 3:
            raise KeyboardInterrupt
        return fit(self, structures)

    monkeypatch.setattr(Rival, "fit", interrupted)
    output = kernpot("compare", "train.xyz", "-o", "out", code=130)
    assert "finished fits are kept in out/fits: the same command goes on" in output
    assert not (place / "out" / "comparison.html").exists()
    monkeypatch.setattr(Rival, "fit", fit)
    before = list(Rival.fits)
    kernpot("compare", "train.xyz", "-o", "out")
    assert len(before) == 3 and not set(before) & set(Rival.fits[3:])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.xyz"], 1, "absent.xyz: no such file"),
        (["train.xyz", "-o", "train.xyz"], 1, "is a file; give a folder"),
        (["train.xyz", "--test", "kr.xyz"], 1, r"kr\.xyz#0 of the test structures holds Kr"),
        (["train.xyz", "--tolerance", "0"], 2, "--tolerance"),
        (["train.xyz", "--energy-key", "dft"], 1, "dft"),
        ([], 2, "Missing argument"),
    ],
)
def test_mistakes_end_in_one_message_before_any_fit(place: Path, arguments: list[str], code: int, message: str) -> None:
    write(place / "kr.xyz", Atoms("Kr2", [[0, 0, 0], [4, 0, 0]]))
    assert re.search(message, kernpot("compare", *arguments, code=code))
    assert Rival.fits == []


def test_help_teaches_by_example() -> None:
    output = kernpot("compare", "--help")
    assert "kernpot compare train.xyz" in output.split("Examples")[1]


def test_the_backends_are_those_of_the_library() -> None:
    potentials = compare_module.backends(7, None)
    assert set(potentials) == {"SparseGPPotential", "NNPEnsemble"}
    for name, potential in potentials.items():
        assert type(potential).__name__ == name and potential.get_params()["random_state"] == 7


SLOWLY = """
import time
import tests.comparison.rivals as rivals
from kernpot.cli import compare
from kernpot.cli.app import main

fit = rivals.Rival.fit
def slow(self, structures):
    with open("fits.log", "a") as log:
        log.write(f"{self.name} {len(structures)}\\n")
    time.sleep(0.5)
    return fit(self, structures)
rivals.Rival.fit = slow
compare.backends = lambda *_: {"a": rivals.Rival("a"), "b": rivals.Rival("b", error=2.0)}
main()
"""


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(place: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SLOWLY, "compare", "train.xyz", "-o", "out"]
    options: dict[str, Any] = {"env": environment, "cwd": place, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(command, **options)
    deadline = time.monotonic() + 120
    while len(list(place.glob("out/fits/[!.]*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (place / "fits.log").read_text().splitlines()
    done = {json.loads(path.read_text())["result"]["n_train"] for path in place.glob("out/fits/[!.]*.json")}
    assert done
    subprocess.run(command, **options, check=True)
    fits = (place / "fits.log").read_text().splitlines()
    # The one in work when it was killed is the only one that is done twice.
    assert len(fits) - len(set(fits)) <= 1 and set(before) <= set(fits) and len(set(fits)) == 6
    assert (place / "out" / "comparison.html").exists()
