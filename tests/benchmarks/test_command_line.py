"""The command line of the benchmarks: what it lists, what it refuses, and that nothing is left out."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.shared import smoke
from benchmarks.shared.registry import SUBJECTS, measurements, module_of

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def modules() -> set[str]:
    """Names of all modules that can measure: those with a `main` that takes arguments."""
    found = set()
    for subject in SUBJECTS:
        for path in (BENCHMARKS / subject).glob("*.py"):
            if "def main(arguments: Sequence[str]) -> None:" in path.read_text():
                found.add(f"benchmarks.{subject}.{path.stem}")
    return found


def test_every_script_that_measures_has_a_name() -> None:
    assert modules() == {module_of(subject, name) for subject in SUBJECTS for name in measurements(subject)}


def test_every_measurement_is_in_the_readme() -> None:
    text = (BENCHMARKS / "README.md").read_text()
    named = {f"{subject} {name}" for subject in SUBJECTS for name in measurements(subject)}
    assert not {name for name in named if f"`{name}" not in text}


def test_subjects_and_measurements_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(about.about in listed for subject in SUBJECTS for about in measurements(subject).values())
    assert main(["speed"]) == 0
    assert "accuracy:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["spede"], "Expected one of accuracy, speed,"),
        (["speed", "meen"], "after speed, got meen."),
        (["accuracy", "settings", "Xx"], "Expected some of Si, Mo,"),
        (["accuracy", "physics", "--psi", "1"], "Unrecognized arguments: --psi 1."),
        (["accuracy", "physics", "--smoke"], "--smoke needs the folder"),
        (["report", "--chekc"], "Unrecognized arguments: --chekc."),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_what_a_smoke_run_changes_is_there() -> None:
    for name in sorted(modules()):
        try:
            module = import_module(name)
        except ModuleNotFoundError:  # an engine that is not installed
            continue
        constants = getattr(module, "SMOKE", smoke.Smoke()).constants
        assert all(hasattr(module, constant) for constant in constants), name
