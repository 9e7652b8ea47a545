"""Cost and memory of features, and of a mean prediction, up to 10^5 atoms.

    python benchmarks/scaling.py

Each size runs in a process of its own, so that peak memory is that size's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings

import numpy as np
from ase.build import bulk
from common import Clock, peak_memory, write_result
from dscribe.descriptors import SOAP

SIZES = (5, 11, 23)  # repeats of the 8-atom cell: 1,000, 10,648 and 97,336 atoms


def measure(repeat: int) -> dict[str, float]:
    """Features with a vector-Jacobian product, as needed for forces and stress."""
    import torch

    from kernpot.descriptors import SOAPFeatures

    torch.set_num_threads(1)
    soap = SOAP(
        species=["Si"],
        r_cut=5.0,
        n_max=8,
        l_max=6,
        sigma=0.5,
        periodic=True,
        weighting={"function": "poly", "r0": 5.0, "c": 1.0, "m": 1},
    )
    features = SOAPFeatures(soap)
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeat)
    atoms.rattle(0.05, seed=0)
    start_memory = peak_memory()
    numbers = torch.from_numpy(atoms.numbers.astype(np.int64))
    clock = Clock()
    pairs = features.pairs(atoms)
    positions = torch.zeros((len(atoms), 3), dtype=torch.float64)
    strain = torch.zeros((3, 3), dtype=torch.float64)
    for block in features.blocks(numbers, pairs):
        p = block.environments.features()
        block.add_gradient(block.environments.pull(p), positions, strain)
    return {
        "atoms": len(atoms),
        "cpu_ms_per_atom": 1e3 * clock.read()["cpu_s"] / len(atoms),
        "memory_before_GB": start_memory,
        "peak_memory_GB": peak_memory(),
    }


def main() -> None:
    """Measure every size and store the table."""
    rows = []
    for repeat in SIZES:
        out = subprocess.run([sys.executable, __file__, str(repeat)], capture_output=True, text=True, check=True)
        rows.append(json.loads(out.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    write_result("scaling", {"rows": rows})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
