"""What a file for metatomic costs beside kernpot's own calculator.

    OMP_NUM_THREADS=1 python -m benchmarks engines metatomic_cost

The published Si training part with default settings; rattled diamond cells, energy, forces and stress of one structure
at a time, its positions moved a little before every call; all in one run on one thread. Writes results/metatomic.json.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from metatomic.torch import ModelOutput
from metatomic_ase import MetatomicCalculator

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.machine import describe
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from kernpot import SparseGPPotential
from kernpot.engines.metatomic import write

SIZES = {64: (2, 2, 2), 512: (4, 4, 4), 4096: (8, 8, 8)}
REPEATS, DRAWS = 7, 16
PARAMETERS: dict[str, Any] = {}  # of the potential, other than the defaults
SMOKE = Smoke({"SIZES": {8: (1, 1, 1)}, "REPEATS": 1, "DRAWS": 2, "PARAMETERS": {"n_inducing": 20}})


def seconds(atoms: Atoms, call: Callable[[Atoms], object]) -> float:
    """Median of a call, after two that make neighbour lists and let TorchScript optimise."""
    rng, times = np.random.default_rng(0), []
    for _ in range(REPEATS + 2):
        atoms.positions += rng.normal(scale=1e-4, size=atoms.positions.shape)
        begun = time.perf_counter()
        call(atoms)
        times.append(time.perf_counter() - begun)
    return float(np.median(times[2:]))


def by(calculator: Calculator) -> Callable[[Atoms], object]:
    """Energy, forces and stress."""

    def call(atoms: Atoms) -> object:
        atoms.calc = calculator
        return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()  # energy first: it asks for all

    return call


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    nothing("engines metatomic_cost", __doc__, arguments)
    torch.set_num_threads(1)
    gp = SparseGPPotential(random_state=0, **PARAMETERS).fit(DATASETS["Si"].train())
    rows, largest = {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "si.pt"
        write(gp, path, n_draws=DRAWS)
        size = path.stat().st_size
        plain = MetatomicCalculator(path, uncertainty_threshold=None)
        watched = MetatomicCalculator(path, uncertainty_threshold=0.1)
        ensemble = {"energy_ensemble": ModelOutput(unit="eV", sample_kind="system")}
        for n, repeat in SIZES.items():
            atoms = bulk("Si", cubic=True) * repeat
            atoms.rattle(0.05, seed=0)
            own = atoms.copy()
            rows[str(n)] = {
                "kernpot": seconds(own, by(gp.calculator())),
                "metatomic": seconds(atoms, by(plain)),
                "metatomic, uncertain atoms watched": seconds(atoms, by(watched)),
                "energies of 16 draws": seconds(atoms, lambda a: plain.run_model(a, ensemble)),
            }
            print(n, rows[str(n)])
            own.positions = atoms.positions
            own.calc, atoms.calc = gp.calculator(), plain
            largest = max(largest, float(np.abs(own.get_forces() - atoms.get_forces()).max()))
    result = {
        "n_inducing": gp.n_inducing_,
        "draws": DRAWS,
        "bytes": size,
        "seconds": rows,
        "largest_force_difference": largest,
        "on": describe(),
    }
    write_result("engines/metatomic", result)
