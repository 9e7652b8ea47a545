"""What is said of an installation."""

import os
import subprocess
import sys
from importlib import metadata

import pytest

import kernpot
from kernpot.report.installation import describe_installation


def sections() -> dict[str, dict[str, str]]:
    return {title: dict(rows) for title, rows in describe_installation()}


def test_libraries_and_extras_are_those_that_the_package_asks_for(monkeypatch):
    lines = ["numpy>=1.26", "no-such-library>=1", "ipi>=3.1; extra == 'ipi'", "kernpot[ipi]; extra == 'test'"]
    lines += ['dask[distributed]>=2024.1; extra == "cluster"', "ruff>=0.6; extra == 'lint'"]
    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    found = sections()
    assert found["Libraries"] == {"numpy": metadata.version("numpy"), "no-such-library": "not installed"}
    assert set(found["Extras"]) == {"ipi (ipi)", "dask (cluster)"}


def test_a_source_tree_that_was_never_installed_still_tells_its_version(monkeypatch):
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    found = sections()
    assert found["kernpot"]["Version"] == kernpot.__version__
    assert "Libraries" not in found


@pytest.mark.parametrize("asked", ["3", None])
def test_threads_asked_for_are_told(monkeypatch, asked):
    if asked is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert sections()["Machine"]["Threads"].endswith(f"OMP_NUM_THREADS {asked or 'not set'}")


@pytest.mark.slow
def test_telling_changes_nothing():
    """Asked for its threads, numba starts them, and torch goes on with as many: other bits in all that follows."""
    script = (
        "import torch; from kernpot.report.installation import describe_installation as tell; "
        "before = torch.get_num_threads(); tell(); assert torch.get_num_threads() == before == 1"
    )
    run = subprocess.run([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert run.returncode == 0
