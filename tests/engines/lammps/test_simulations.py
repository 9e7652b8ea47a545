"""What the manual of LAMMPS shows with other pair styles: ensembles, growing slabs, relaxed boxes, elasticity, paths.

The energy that LAMMPS tells last is the calculator's for the structure that it writes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io.lammpsdata import read_lammps_data

from kernpot.engines.lammps import build
from tests.engines.alloys import alloy
from tests.engines.lammps.conftest import NEEDS_COMPILER, Run, in_lammps
from tests.engines.lammps.test_lammps import BAR, slab

pytestmark = [pytest.mark.slow, NEEDS_COMPILER]

HEAD = """units metal
atom_style atomic
atom_modify map array
boundary {boundary}
read_data data
pair_style kernpot
pair_coeff * * Cu Au
thermo_modify norm no
"""
END = 'run 0\nwrite_data end nocoeff\nprint "last $(pe:%.12f)"\n'
SIMULATIONS = {
    "npt": "velocity all create 300 1\nfix 1 all npt temp 300 300 0.1 tri 0 0 1.0\ntimestep 0.001\nrun 40\nunfix 1\n",
    "langevin and a wall of tethers": "velocity all create 600 1\nfix 1 all nve\nfix 2 all langevin 600 600 0.1 4711\n"
    "fix 3 all spring/self 1.0\ntimestep 0.001\nrun 40\nunfix 3\n",
    "box/relax": "fix 1 all box/relax tri 0.0 vmax 0.001\nminimize 0 1e-3 100 1000\nunfix 1\n",
    "deposit": "region top block 0 5 0 4 14 16\nfix 2 all deposit 3 1 8 12345 region top near 1.8 vz -2.0 -2.0\n"
    "fix 1 all nve\ntimestep 0.001\nrun 30\n",
    "swaps of elements": "fix 1 all atom/swap 1 20 4711 3000 types 1 2\nrun 3\nunfix 1\n",
}


@pytest.fixture(autouse=True)
def plugin(tmp_path_factory, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "built"))
    return build()


@pytest.mark.parametrize("name", SIMULATIONS)
def test_ends_with_the_energy_of_what_it_writes(run, tmp_path, potential, name):
    atoms = slab() if name == "deposit" else alloy((2, 2, 1))
    start = in_lammps(atoms, tmp_path / "data")
    boundary = "p p f" if name == "deposit" else "p p p"
    done: Run = run(HEAD + SIMULATIONS[name] + END, 2, boundary=boundary)
    assert done.code == 0, done.output
    end: Atoms = read_lammps_data(tmp_path / "end", atom_style="atomic", sort_by_id=True)
    end.pbc = atoms.pbc
    last = next(float(line.split()[1]) for line in done.output.splitlines() if line.startswith("last "))
    assert last == pytest.approx(potential.mean(end).energy, abs=1e-7)
    assert len(end) == len(start) + (3 if name == "deposit" else 0)
    if name == "swaps of elements":
        assert (end.numbers != start.numbers).any() and sorted(end.numbers) == sorted(start.numbers)
    else:
        assert np.abs(end.positions[: len(start)] - start.positions).max() > 1e-3
    if name == "box/relax":
        start.pbc = True
        # How far down depends on when LAMMPS gives up its line search.
        assert np.abs(potential.mean(end).stress).max() < 0.1 * np.abs(potential.mean(start).stress).max()


ELASTIC = """variable up equal 1.0e-3
variable k loop 2
label strain
clear
units metal
atom_style atomic
boundary {boundary}
read_data data
variable sign equal 2*v_k-3
variable length equal lx*${{up}}*v_sign
change_box all x delta 0 ${{length}} remap units box
pair_style kernpot
pair_coeff * * Cu Au
run 0
variable p${{k}}x equal pxx
variable p${{k}}y equal pyy
variable kept${{k}}x equal ${{p${{k}}x}}
variable kept${{k}}y equal ${{p${{k}}y}}
next k
jump SELF strain
print "elastic $((v_kept1x-v_kept2x)/(2*v_up)) $((v_kept1y-v_kept2y)/(2*v_up))"
"""


def test_elastic_constants_in_a_loop_that_clears(run, tmp_path, potential):
    """As the ELASTIC script of the manual: a box strained both ways, read anew for each."""
    crystal = bulk("Cu", a=3.62, cubic=True) * 2
    crystal.numbers[::4] = 79
    in_lammps(crystal, tmp_path / "data")
    script = ELASTIC.replace("variable kept${{k}}x equal ${{p${{k}}x}}", "variable kept${{k}}x string $(pxx:%.12g)")
    script = script.replace("variable kept${{k}}y equal ${{p${{k}}y}}", "variable kept${{k}}y string $(pyy:%.12g)")
    script = script.replace("variable p${{k}}x equal pxx\n", "").replace("variable p${{k}}y equal pyy\n", "")
    done: Run = run(script, 2, boundary="p p p")
    assert done.code == 0, done.output
    found = next(line.split()[1:] for line in done.output.splitlines() if line.startswith("elastic "))
    stress = []
    for sign in (-1, 1):
        strained = crystal.copy()
        strained.set_cell(crystal.cell.array @ np.diag([1 + 1e-3 * sign, 1, 1]), scale_atoms=True)
        stress.append(potential.mean(strained).stress)
    expected = (stress[1] - stress[0])[:2] / 2e-3 * BAR
    np.testing.assert_allclose([float(x) for x in found], expected, rtol=1e-5)


def test_a_nudged_elastic_band(run, tmp_path, potential):
    """A vacancy that changes place, three replicas on a partition each: forwards and backwards the same barrier."""
    crystal = bulk("Cu", a=3.7, cubic=True) * 2
    crystal.numbers[2::4] = 79
    hops, away = 1, 0
    there = crystal.positions[away].copy()
    crystal = crystal[[k for k in range(len(crystal)) if k != away]]
    in_lammps(crystal, tmp_path / "data")
    (tmp_path / "there").write_text(f"1\n{hops} {there[0]} {there[1]} {there[2]}\n")
    script = HEAD + "fix 1 all neb 1.0\ntimestep 0.01\nmin_style quickmin\nneb 0.0 0.05 60 0 10 final there\n"
    done: Run = run(script, 3, arguments=("-partition", "3x1"), boundary="p p p")
    assert done.code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line.split()[:1] and line.split()[0].isdigit()]
    forward, backward = (float(rows[-1][k]) for k in (6, 7))
    assert forward > 0.05 and backward == pytest.approx(forward, rel=0.3)
