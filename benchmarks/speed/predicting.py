"""Predictions: means and standard deviations beside GAP (and FLARE), a second core, and size."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

from benchmarks.shared import smoke
from benchmarks.shared.systems import SYSTEMS, silicon
from benchmarks.shared.timing import Evaluate, by_calculator, interleaved, python, ratios, run_process, spread
from benchmarks.speed.models import Models
from benchmarks.speed.peers import flare_calculator

# Repeats of the 8-atom cell: 4,096 and 97,336 atoms.
_SIZES = (8, 23)


def means(models: Models, repetitions: int) -> dict[str, Any]:
    """Energy, forces and stress through the ASE calculators of the codes, in turns.

    ``kernpot`` keeps its neighbour list while atoms move less than half the skin, as in dynamics; for
    ``kernpot_searching`` the skin is zero, so that neighbours are searched at every step, as GAP does.
    """
    rows = []
    flare, skipped = _flare("SOR")
    for name, system in SYSTEMS.items():
        gp = models.kernpot(name)
        codes = {"kernpot": gp.calculator(), "kernpot_searching": gp.calculator(skin=0.0), "gap": models.gap(name)}
        if name == "Si":
            codes |= flare
        for label, cell in system.cells.items():
            evaluations = {code: (by_calculator(calculator), cell()) for code, calculator in codes.items()}
            pairs = [(peer, ours) for peer in codes if "kernpot" not in peer for ours in codes if "kernpot" in ours]
            rows.append(_row(name, int(label), interleaved(evaluations, repetitions), pairs))
    return {"rows": rows} | skipped


def stds(models: Models, repetitions: int) -> dict[str, Any]:
    """Every mean and standard deviation (energy, atomic energies, forces, stress) beside GAP's mean alone."""
    rows = []
    flare, skipped = _flare("DTC")
    for name, system in SYSTEMS.items():
        gp = models.kernpot(name)
        gap = by_calculator(models.gap(name))
        for label, cell in system.cells.items():
            evaluations = {"kernpot_std": (lambda atoms, gp=gp: gp.predict_full([atoms]), cell()), "gap": (gap, cell())}
            if name == "Si" and label == "64":  # its cost per atom grows with the number of atoms
                evaluations |= {code: (by_calculator(calculator), cell()) for code, calculator in flare.items()}
            times = interleaved(evaluations, repetitions)
            rows.append(
                _row(name, int(label), times, [(peer, "kernpot_std") for peer in times if peer != "kernpot_std"])
            )
    per_atom = [r["ms_per_atom"]["kernpot_std"]["median"] for r in rows if r["system"] == "Si"]
    return {"rows": rows, "largest_over_smallest_per_atom": per_atom[-1] / per_atom[0]} | skipped


def second_core(models: Models, repetitions: int) -> dict[str, Any]:
    """Wall time of the mean with one thread against two; only an idle machine tells the truth."""
    if (os.cpu_count() or 1) < 2:
        return {"skipped": "this machine has one core"}
    calculator = by_calculator(models.kernpot("Si").calculator())

    def with_threads(n: int) -> Evaluate:
        def evaluate(atoms: Atoms) -> Any:
            torch.set_num_threads(n)
            return calculator(atoms)

        return evaluate

    rows = []
    for label in ("512", "4096"):
        cell = SYSTEMS["Si"].cells[label]
        evaluations = {f"{n} threads": (with_threads(n), cell()) for n in (1, 2)}
        times = interleaved(evaluations, repetitions, time.perf_counter)
        rows.append(_row("Si", int(label), times, [("1 threads", "2 threads")]))
    return {"rows": rows}


def sizes(models: Models, repetitions: int) -> dict[str, Any]:
    """A mean at 10^5 atoms, in a process of its own: peak memory, and time per atom against 4096 atoms."""
    models.kernpot("Si")
    out = models.folder / "size.json"
    usage = run_process(python("benchmarks.speed.predicting", models.folder, max(3, repetitions // 2), out))
    row = json.loads(out.read_text())
    print(f"Si; {row['atoms']} atoms; peak memory {usage['peak_memory_GB']:.2f} GB", flush=True)
    return {"rows": [row], "peak_memory_GB": usage["peak_memory_GB"]}


def device(models: Models, repetitions: int) -> dict[str, Any]:  # noqa: ARG001
    """The mean on an accelerator."""
    return {"skipped": "SparseGPPotential has no device option yet"}


def _flare(variance: str) -> tuple[dict[str, Any], dict[str, str]]:
    """FLARE's calculator where it is installed, else why not."""
    try:
        return {"flare": flare_calculator(variance)}, {}
    except ImportError as error:
        return {}, {"flare_skipped": f"FLARE is not installed ({error})"}


def _row(system: str, atoms: int, times: dict[str, list[float]], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Times and ratios of one structure; printed as they come."""
    row = {
        "system": system,
        "atoms": atoms,
        "ms_per_atom": {name: spread(t) for name, t in times.items()},
        "ratio": {f"{a}/{b}": ratios(times, a, b) for a, b in pairs},
    }
    parts = [system, f"{atoms} atoms", *(f"{k} {v['median']:.4f} ms/atom" for k, v in row["ms_per_atom"].items())]
    parts += [f"{k} {v['median']:.2f} ({v['min']:.2f} to {v['max']:.2f})" for k, v in row["ratio"].items()]
    print("; ".join(parts), flush=True)
    return row


def _largest(folder: str, repetitions: str, out: str) -> None:
    """Means of the smaller and the larger cell in turns, each with its neighbour search."""
    gp = Models(Path(folder)).kernpot("Si")
    evaluations = {str(len(a)): (gp.mean, a) for a in map(silicon, _SIZES)}
    small, large = evaluations
    times = interleaved(evaluations, int(repetitions))
    Path(out).write_text(json.dumps(_row("Si", int(large), times, [(large, small)])))


if __name__ == "__main__":
    _largest(*smoke.taken(sys.argv[1:]))
