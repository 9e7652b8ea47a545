"""Fit with the settings chosen on the training part, and open the test part once.

    python benchmarks/accuracy.py Si Mo 3bpa acac ethanol nbmotaw

Writes results/accuracy_<set>.json: errors and coverage of the intervals, overall and per config_type.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict
from typing import Any

import numpy as np
from ase import Atoms
from common import DATASETS, Clock, Setting, peak_memory, read_result, species_of, write_result

from kernpot import SparseGPPotential


def scores(gp: SparseGPPotential, frames: list[Atoms]) -> dict[str, Any]:
    """Errors and 90 % coverage of energies per atom and force components."""
    rows = []
    for atoms, p in zip(frames, gp.predict_full(frames), strict=True):
        n = len(atoms)
        row: dict[str, Any] = {"group": str(atoms.info.get("config_type", ""))}
        if "energy" in atoms.calc.results:
            error = p.energy.mean - atoms.get_potential_energy()
            row["energy"] = (np.array([error / n]), np.array([float(p.energy.std) / n]))
        if "forces" in atoms.calc.results:
            row["forces"] = ((p.forces.mean - atoms.get_forces()).ravel(), p.forces.std.ravel())
        rows.append(row)
    out: dict[str, Any] = {}
    for group in ["all", *sorted({r["group"] for r in rows if r["group"]})]:
        chosen = [r for r in rows if group in ("all", r["group"])]
        out[group] = {"structures": len(chosen)}
        for kind in ("energy", "forces"):
            if any(kind in r for r in chosen):
                error, std = (np.concatenate([r[kind][k] for r in chosen if kind in r]) for k in (0, 1))
                out[group][kind] = {
                    "mae": float(np.abs(error).mean()),
                    "rmse": float(np.sqrt(np.mean(error**2))),
                    "coverage_90": float(np.mean(np.abs(error) <= 1.6448536 * std)),
                    "mean_std": float(std.mean()),
                    "n": len(error),
                }
    return out


def main(names: list[str]) -> None:
    """Fit and test each named data set."""
    for name in names:
        data = DATASETS[name]
        chosen = read_result(f"settings_{name}")["chosen"]
        setting = Setting.of(chosen)
        train = data.train()
        clock = Clock()
        gp = setting.estimator(species_of(train)).fit(train)
        fit = clock.read()
        result = scores(gp, data.test())
        write_result(
            f"accuracy_{name}",
            {
                "setting": chosen,
                "train_structures": len(train),
                "test": result,
                "published": data.published,
                "noise": gp.noise_,
                "misfit": {kind: asdict(misfit) for kind, misfit in gp.misfit_.items()},
                "fit": fit,
                "peak_memory_GB": peak_memory(),
                "leave_one_out": gp.summary_["hyperparameters"]["leave_one_out"],
            },
        )
        for group, row in result.items():
            parts = [f"{name:8s} {group:12s} {row['structures']:4d} structures"]
            if "energy" in row:
                e = row["energy"]
                parts.append(f"energy MAE {1e3 * e['mae']:.2f} meV/atom, 90 % covers {100 * e['coverage_90']:.0f} %")
            if "forces" in row:
                f = row["forces"]
                parts.append(
                    f"forces MAE {f['mae']:.4f}, RMSE {f['rmse']:.4f} eV/A, 90 % covers {100 * f['coverage_90']:.1f} %"
                )
            print("; ".join(parts), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:] or ["Si", "Mo"])
