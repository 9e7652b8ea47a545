"""kernpot beside gap_fit and quippy (`pip install quippy-ase`), on the same data, machine and run, one core each.

    python benchmarks/versus_gap.py         # about ten minutes

Fit of silicon (Zuo et al.: 214 structures, 13,233 atoms) with 1000 inducing environments. kernpot uses energies,
forces and stress and finds its hyperparameters; gap_fit uses energies and forces with those of the published model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write
from common import DATASETS, Setting, read_result, write_result

HERE = Path(__file__).resolve().parent


def run(command: list[str]) -> dict[str, float]:
    """Run a command on one core; wall and CPU seconds and peak memory (GB)."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    start = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} failed with exit code {process.returncode}")
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_memory_GB": usage.ru_maxrss / 1e6,
    }


def gap_command(folder: Path) -> list[str]:
    """gap_fit with the descriptor of the published silicon potential, M = 1000."""
    train = folder / "train.xyz"
    frames = []
    for atoms in DATASETS["Si"].train():
        frame = atoms.copy()
        frame.info = {"dft_energy": atoms.get_potential_energy()}
        frame.arrays["dft_force"] = atoms.get_forces()
        frames.append(frame)
    write(train, frames, format="extxyz")
    gap = (
        "{soap l_max=8 n_max=8 atom_sigma=0.5 zeta=4 cutoff=5.4 cutoff_transition_width=0.5 delta=1.0 f0=0.0 "
        "n_sparse=1000 covariance_type=dot_product sparse_method=cur_points add_species=T}"
    )
    return [
        str(Path(sys.executable).with_name("gap_fit")),
        f"atoms_filename={train}",
        "energy_parameter_name=dft_energy",
        "force_parameter_name=dft_force",
        "virial_parameter_name=none",
        "e0=-0.79",
        "default_sigma={0.0005 0.1 0.05 0.0}",
        "do_copy_at_file=F",
        "sparse_separate_file=T",
        "sparse_jitter=1e-8",
        "rnd_seed=1",
        f"gp_file={folder / 'gap.xml'}",
        f"gap={gap}",
    ]


def timed(evaluate: Callable[[Atoms], Any], atoms: Atoms, repeats: int = 5) -> float:
    """CPU milliseconds per atom of an evaluation, the best of several, each on moved atoms."""
    rng = np.random.default_rng(0)
    best = np.inf
    for _ in range(repeats):
        atoms.positions += rng.normal(0, 0.01, (len(atoms), 3))
        start = time.process_time()
        evaluate(atoms)
        best = min(best, time.process_time() - start)
    return 1e3 * best / len(atoms)


def errors(energy_forces: Callable[[Atoms], tuple[float, np.ndarray]]) -> dict[str, float]:
    """Test errors of a potential: energy MAE (meV/atom) and force MAE (eV/A)."""
    e, f = [], []
    for atoms in DATASETS["Si"].test():
        energy, forces = energy_forces(atoms)
        e.append(abs(energy - atoms.get_potential_energy()) / len(atoms))
        f.append(np.abs(forces - atoms.get_forces()).ravel())
    return {"energy_mae_meV": 1e3 * float(np.mean(e)), "force_mae": float(np.concatenate(f).mean())}


def fit_kernpot(path: str) -> None:
    """The fit that is measured, in a process of its own."""
    import torch

    torch.set_num_threads(1)
    setting = Setting.of(read_result("settings_Si")["chosen"], n_inducing=1000)
    setting.estimator(["Si"]).fit(DATASETS["Si"].train()).save(path)


def main() -> None:
    """Fit both, time both, print a table."""
    import torch
    from quippy.potential import Potential

    import kernpot

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "si.kernpot"
        fits = {
            "kernpot": run([sys.executable, __file__, "--fit", str(model)]),
            "gap_fit": run(gap_command(folder)),
        }
        gp = kernpot.load(model)
        calc = gp.calculator()
        gap = Potential(param_filename=str(folder / "gap.xml"))

        def by_calculator(calculator: Any) -> Callable[[Atoms], tuple[float, np.ndarray]]:
            def evaluate(atoms: Atoms) -> tuple[float, np.ndarray]:
                calculator.calculate(atoms, ["energy", "forces", "stress"], ["positions"])
                return calculator.results["energy"], calculator.results["forces"]

            return evaluate

        speed: dict[str, dict[str, float]] = {}
        for repeat in (2, 4):
            atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat(repeat)
            label = f"{len(atoms)} atoms"
            speed[label] = {
                "kernpot_mean": timed(by_calculator(calc), atoms.copy()),
                "kernpot_full_posterior": timed(lambda a: gp.predict_full([a]), atoms.copy(), 1),
                "gap_mean": timed(by_calculator(gap), atoms.copy(), 2),
            }
        result = {
            "fit": fits,
            "fit_cpu_ratio": fits["kernpot"]["cpu_s"] / fits["gap_fit"]["cpu_s"],
            "fit_memory_ratio": fits["kernpot"]["peak_memory_GB"] / fits["gap_fit"]["peak_memory_GB"],
            "prediction_ms_per_atom": speed,
            "test": {"kernpot": errors(by_calculator(calc)), "gap": errors(by_calculator(gap))},
        }
    write_result("versus_gap", result)
    for key, value in result.items():
        print(key, value)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["--fit"]:
        fit_kernpot(sys.argv[2])
    else:
        main()
