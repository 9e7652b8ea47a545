"""LAMMPS with kernpot on the cores at hand: time per step against atoms and ranks, ghosts, and bytes between ranks.

    OMP_NUM_THREADS=1 python benchmarks/lammps_scaling.py

Diamond-structure silicon at 300 K under a Gaussian process with default settings, fitted to the published training
part; all in one run, cases taking turns, the quicker of two rounds. Beside it, ASE's dynamics with the calculator.
Writes results/lammps_scaling.json, of which report.py makes the tables of docs/lammps.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from common import DATASETS, write_result
from machine import describe

from kernpot import SparseGPPotential, load
from kernpot.engines.lammps.launch import mpiexec

_A = 5.43  # Angstrom
_SKIN = 2.0  # LAMMPS's default in metal units
_ROUNDS = 2
_WORKER = Path(__file__).with_name("lammps_worker.py")
# Edges of the box in unit cells of 8 atoms, and steps: strong scaling of boxes up to more than 1e5 atoms.
_STRONG = (((5, 5, 5), 40), ((10, 10, 10), 8), ((18, 18, 18), 3), ((24, 24, 24), 2))
# The same box for every rank, side by side.
_WEAK = (((8, 8, 8), 12), ((16, 16, 16), 3))
_RANKS = (1, 2)


def cases() -> list[dict[str, Any]]:
    """Boxes, ranks, steps, and how often stds are asked for."""
    found = [
        {"kind": "strong", "box": box, "ranks": ranks, "steps": steps, "std_every": 0}
        for box, steps in _STRONG
        for ranks in _RANKS
    ]
    found += [
        {"kind": "weak", "box": (box[0] * ranks, *box[1:]), "ranks": ranks, "steps": steps, "std_every": 0}
        for box, steps in _WEAK
        for ranks in _RANKS
    ]
    found += [
        {"kind": "std", "box": (5, 5, 5), "ranks": 1, "steps": 10, "std_every": every, "force_std_every": force}
        for every, force in ((0, 0), (1, 0), (0, 5))
    ]
    return found


def main() -> None:
    """Measure and store."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "si.kernpot"
        gp = SparseGPPotential(random_state=0).fit(DATASETS["Si"].train())
        gp.save(model)
        rows = cases()
        for _ in range(_ROUNDS):
            for case in rows:
                found = _measured(case, model)
                if found["seconds_per_step"] < case.get("seconds_per_step", float("inf")):
                    case |= found
                print(case, flush=True)
        ase = [_ase(edge, steps, model) for edge, steps in ((5, 40), (10, 8))]
    density = 8 / _A**3
    result = {"cases": rows, "ase": ase, "cutoff": gp.cutoff, "skin": _SKIN, "density": density, "on": describe()}
    write_result("lammps_scaling", result)


def _measured(case: dict[str, Any], model: Path) -> dict[str, Any]:
    settings = json.dumps(case | {"model": str(model), "a": _A, "skin": _SKIN})
    command = [mpiexec(), "-n", str(case["ranks"]), sys.executable, str(_WORKER), settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ase(edge: int, steps: int, model: Path) -> dict[str, Any]:
    """ASE's velocity Verlet with the calculator, on one thread."""
    best = float("inf")
    for _ in range(_ROUNDS):
        atoms = bulk("Si", "diamond", a=_A, cubic=True) * (edge, edge, edge)
        atoms.rattle(0.05, seed=0)
        atoms.calc = load(model).calculator()
        atoms.get_forces()
        start = time.perf_counter()
        VelocityVerlet(atoms, units.fs).run(steps)
        best = min(best, (time.perf_counter() - start) / steps)
    return {"atoms": len(atoms), "seconds_per_step": best}


if __name__ == "__main__":
    main()
