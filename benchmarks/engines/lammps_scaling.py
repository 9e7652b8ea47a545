"""LAMMPS with kernpot on the cores at hand: time per step against atoms and ranks, ghosts, and bytes between ranks.

    OMP_NUM_THREADS=1 python -m benchmarks engines lammps_scaling

Diamond-structure silicon at 300 K under a Gaussian process with default settings, fitted to the published training
part; all in one run, cases taking turns, the quicker of two rounds. Beside it, ASE's dynamics with the calculator.
Writes results/lammps_scaling.json, of which report.py makes the tables of docs/lammps.md.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.machine import describe
from benchmarks.shared.results import ROOT, write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.timing import python
from kernpot import SparseGPPotential, load
from kernpot.engines.lammps.installed import mpiexec

_A = 5.43  # Angstrom
_SKIN = 2.0  # LAMMPS's default in metal units
ROUNDS = 2
# Edges of the box in unit cells of 8 atoms, and steps: strong scaling of boxes up to more than 1e5 atoms.
STRONG = (((5, 5, 5), 40), ((10, 10, 10), 8), ((18, 18, 18), 3), ((24, 24, 24), 2))
# The same box for every rank, side by side.
WEAK = (((8, 8, 8), 12), ((16, 16, 16), 3))
RANKS = (1, 2)
PARAMETERS: dict[str, Any] = {}  # of the potential, other than the defaults
# The same with stds, and with ASE: edge and steps.
WITH_STD, BY_ASE = (5, 10), ((5, 40), (10, 8))
# Steps between stds, and between those of forces alone.
STD_EVERY = ((0, 0), (1, 0), (0, 5))
# Stds of all forces by shared draws at every step: boxes of STRONG, and steps.
BY_DRAWS = (((5, 5, 5), 20), ((10, 10, 10), 6), ((18, 18, 18), 2), ((24, 24, 24), 1))
SMOKE = Smoke(
    {
        "BY_DRAWS": (((3, 3, 3), 1),),
        "ROUNDS": 1,
        "STRONG": (((3, 3, 3), 1),),
        "WEAK": (),
        "RANKS": (2,),
        "WITH_STD": (3, 1),
        "STD_EVERY": ((1, 0),),
    }
    | {"BY_ASE": ((3, 1),), "PARAMETERS": {"n_inducing": 20}}
)


def cases() -> list[dict[str, Any]]:
    """Boxes, ranks, steps, and how often stds are asked for."""
    found = [
        {"kind": "strong", "box": box, "ranks": ranks, "steps": steps, "std_every": 0}
        for box, steps in STRONG
        for ranks in RANKS
    ]
    found += [
        {"kind": "weak", "box": (box[0] * ranks, *box[1:]), "ranks": ranks, "steps": steps, "std_every": 0}
        for box, steps in WEAK
        for ranks in RANKS
    ]
    found += [
        {"kind": "std", "box": (WITH_STD[0],) * 3, "ranks": 1, "steps": WITH_STD[1]}
        | {"std_every": every, "force_std_every": force}
        for every, force in STD_EVERY
    ]
    found += [
        {"kind": "draws", "box": box, "ranks": ranks, "steps": steps}
        | {"std_every": 0, "force_std_every": 1, "error_bars": "draws"}
        for box, steps in BY_DRAWS
        for ranks in RANKS
    ]
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    nothing("engines lammps_scaling", __doc__, arguments)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "si.kernpot"
        gp = SparseGPPotential(random_state=0, **PARAMETERS).fit(DATASETS["Si"].train())
        gp.save(model)
        rows = cases()
        for _ in range(ROUNDS):
            for case in rows:
                found = _measured(case, model)
                if found["seconds_per_step"] < case.get("seconds_per_step", float("inf")):
                    case |= found
                print(case, flush=True)
        ase = [_ase(edge, steps, model) for edge, steps in BY_ASE]
    density = 8 / _A**3
    result = {"cases": rows, "ase": ase, "cutoff": gp.cutoff, "skin": _SKIN, "density": density, "on": describe()}
    write_result("engines/lammps_scaling", result)


def _measured(case: dict[str, Any], model: Path) -> dict[str, Any]:
    settings = json.dumps(case | {"model": str(model), "a": _A, "skin": _SKIN})
    command = [mpiexec(), "-n", str(case["ranks"]), *python("benchmarks.engines.lammps_worker", settings)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ase(edge: int, steps: int, model: Path) -> dict[str, Any]:
    """ASE's velocity Verlet with the calculator, on one thread."""
    best = float("inf")
    for _ in range(ROUNDS):
        atoms = bulk("Si", "diamond", a=_A, cubic=True) * (edge, edge, edge)
        atoms.rattle(0.05, seed=0)
        atoms.calc = load(model).calculator()
        atoms.get_forces()
        start = time.perf_counter()
        VelocityVerlet(atoms, units.fs).run(steps)
        best = min(best, (time.perf_counter() - start) / steps)
    return {"atoms": len(atoms), "seconds_per_step": best}
