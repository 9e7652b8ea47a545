"""The scripts behind `make release` and `make oldest` notice what they are for."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

CI = Path(__file__).resolve().parent.parent / ".ci"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CI / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [("numpy>=1.26", ("numpy", "1.26")), ("dask[distributed]>=2024.1", ("dask", "2024.1"))],
)
def test_a_lower_bound_is_read(requirement, expected):
    assert script("lower_bounds").lower_bound(requirement) == expected


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy>=1.26,<3", "numpy>=1.26; python_version < '3.12'"])
def test_a_requirement_without_an_oldest_version_is_refused(requirement):
    with pytest.raises(ValueError, match="expected 'name>=version'"):
        script("lower_bounds").lower_bound(requirement)


def test_every_requirement_has_an_oldest_version(capsys):
    script("lower_bounds").main([])
    assert "numpy==1" in capsys.readouterr().out
    script("lower_bounds").main(["--python"])
    assert re.fullmatch(r"3\.\d+\n", capsys.readouterr().out)


ABOUT = "kernpot-1.0.dist-info"
WHOLE = {"kernpot/__init__.py", "kernpot/data/ethanol_gfn2.xyz.gz", "kernpot/data/dry_ice_gfn1.xyz.gz"}
WHOLE |= {f"{ABOUT}/{name}" for name in ("licenses/LICENSE", "entry_points.txt", "METADATA")}


def test_a_whole_wheel_has_no_faults():
    assert script("check_dist").faults_of_wheel(WHOLE, {"kernpot/__init__.py"}, "1.0") == []


@pytest.mark.parametrize("name", sorted(WHOLE - {f"{ABOUT}/METADATA"}))
def test_what_a_wheel_lacks_is_named(name):
    faults = script("check_dist").faults_of_wheel(WHOLE - {name}, {"kernpot/__init__.py"}, "1.0")
    assert faults == [f"the wheel lacks {name}"]


@pytest.mark.parametrize("name", ["tests/test_a.py", "kernpot/kept.pyc", "benchmarks/speed.py"])
def test_what_a_wheel_should_not_hold_is_named(name):
    faults = script("check_dist").faults_of_wheel(WHOLE | {name}, {"kernpot/__init__.py"}, "1.0")
    assert faults == [f"the wheel should not hold {name}"]


def test_what_an_sdist_lacks_is_named():
    check = script("check_dist")
    assert check.faults_of_sdist(check.SDIST, {"kernpot/page.html.j2"}) == ["the sdist lacks kernpot/page.html.j2"]
    assert {"kernpot/__init__.py", "kernpot/report/page.html.j2"} <= check.package_files()
