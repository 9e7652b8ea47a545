"""The examples in docstrings run, with a small potential of copper and files of its structures at hand."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from ase import Atoms
from ase.io import write

from kernpot import NNPEnsemble, SparseGPPotential
from tests.helpers.systems import crystals

ROOT = Path(__file__).resolve().parent.parent
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.NORMALIZE_WHITESPACE


def module_name(path: Path) -> str:
    """As it is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = sorted(module_name(path) for path in (ROOT / "kernpot").rglob("*.py") if ">>> " in path.read_text())


@pytest.fixture(scope="module")
def train() -> list[Atoms]:
    return crystals(10)


@pytest.fixture(scope="module")
def potential(train) -> SparseGPPotential:
    return SparseGPPotential(n_inducing=40, random_state=0).fit(train)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name, train, potential, tmp_path, monkeypatch):
    """Each docstring by itself: `atoms`, `gp`, `potential`, train.xyz and test.xyz are there, all else it imports."""
    write(tmp_path / "train.xyz", train)
    write(tmp_path / "test.xyz", crystals(2, seed=1))
    monkeypatch.chdir(tmp_path)
    examples = [found for found in doctest.DocTestFinder().find(imported(name)) if found.examples]
    assert examples
    for example in examples:
        assert not any(doctest.SKIP in line.options for line in example.examples), f"{example.name} skips a line"
        source = "".join(line.source for line in example.examples)
        for package in re.findall(r"^(?:from|import) (\w+)", source, flags=re.M):
            imported(package)
        example.globs = {"atoms": crystals(1, seed=2)[0], "gp": potential, "potential": potential}
        told: list[str] = []
        result = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=told.append)
        assert not result.failed, "".join(told)


def imported(name: str):
    """A module; the test is skipped where what it needs belongs to an extra that is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("kernpot"):
            raise
        pytest.skip(f"needs {error.name}, which an extra brings")


def test_the_estimators_have_examples():
    """What everybody reads first is among what runs."""
    assert {SparseGPPotential.__module__, NNPEnsemble.__module__} <= set(MODULES)
