"""Fits: kernpot beside gap_fit, and kernpot's memory from 200 to 2000 structures."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.timing import Evaluate, by_calculator, run_process
from benchmarks.speed.models import Models

# Structures of the smaller fit; the larger one learns ten distorted copies of each.
_FEW, _COPIES = 200, 10


def fits(models: Models, repetitions: int) -> dict[str, Any]:  # noqa: ARG001
    """Time and memory of a fit of silicon (214 structures, M = 1000) in processes of their own, and test errors.

    kernpot learns energies, forces and stress and finds its hyperparameters; gap_fit learns energies and forces with
    those of the published model.
    """
    used = {"kernpot": models.fit_kernpot("Si"), "gap_fit": models.fit_gap("Si")}
    result = {
        "fit": used,
        "ratio": {key: used["gap_fit"][key] / used["kernpot"][key] for key in ("cpu_s", "wall_s", "peak_memory_GB")},
        "test": {
            "kernpot": _errors(by_calculator(models.kernpot("Si").calculator())),
            "gap_fit": _errors(by_calculator(models.gap("Si"))),
        },
    }
    for code, row in used.items():
        test = result["test"][code]
        print(
            f"{code}: {row['cpu_s']:.1f} s CPU, {row['peak_memory_GB']:.2f} GB; test MAE of energies "
            f"{test['energy_mae_meV']:.2f} meV/atom, of forces {test['force_mae']:.4f} eV/A"
        )
    return result


def memory(models: Models, repetitions: int) -> dict[str, Any]:  # noqa: ARG001
    """Peak memory of kernpot's fit with 200 and with 2000 structures, each in a process of its own.

    The structures are training structures of silicon, rattled and strained; the fitted model labels them, for what
    matters is their size. The larger set has ten copies of each structure in the smaller.
    """
    rows = []
    for copies in (1, _COPIES):
        frames = _distorted(models, copies)
        path = models.folder / f"made_{len(frames)}.xyz"
        write(path, frames, format="extxyz")
        used = run_process(models.command("Si", models.folder / "made.kernpot", path))
        rows.append({"structures": len(frames), "atoms": sum(map(len, frames)), **used})
        print(f"{len(frames)} structures: peak {used['peak_memory_GB']:.3f} GB, {used['cpu_s']:.1f} s CPU", flush=True)
    return {"rows": rows, "largest_over_smallest": rows[-1]["peak_memory_GB"] / rows[0]["peak_memory_GB"]}


def _distorted(models: Models, copies: int) -> list[Atoms]:
    gp = models.kernpot("Si")
    rng = np.random.default_rng(0)
    train = DATASETS["Si"].train()
    chosen = [train[k] for k in sorted(rng.permutation(len(train))[:_FEW])]
    frames = []
    for _ in range(copies):
        for source in chosen:
            atoms = source.copy()
            atoms.info = {}
            atoms.set_cell(atoms.cell @ (np.eye(3) + rng.normal(0, 0.01, (3, 3))), scale_atoms=True)
            atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
            mean = gp.mean(atoms)
            atoms.calc = SinglePointCalculator(atoms, energy=mean.energy, forces=mean.forces, stress=mean.stress)
            frames.append(atoms)
    return frames


def _errors(evaluate: Evaluate) -> dict[str, float]:
    """Errors on the test part: energy MAE (meV/atom) and force MAE (eV/A)."""
    energies, forces = [], []
    for atoms in DATASETS["Si"].test():
        found = evaluate(atoms)
        energies.append(abs(found["energy"] - atoms.get_potential_energy()) / len(atoms))
        forces.append(np.abs(found["forces"] - atoms.get_forces()).ravel())
    return {"energy_mae_meV": 1e3 * float(np.mean(energies)), "force_mae": float(np.concatenate(forces).mean())}
