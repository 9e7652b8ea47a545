"""What answers cost: wall time of fits, and per atom of a mean and of every mean and standard deviation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from ase import Atoms

from kernpot.comparison.scoring import Record
from kernpot.potential import Potential

N_REPEATS = 5
# Crystals are repeated to this many atoms: cells of a few atoms say little of what a simulation costs.
LARGE = 200
_STEP = 0.01  # Angstrom: every evaluation is of a new geometry, as in dynamics


def timed(function: Callable[[], Any]) -> tuple[Any, Record]:
    """What it returns, and the wall and CPU seconds it took on how many threads, and how busy the machine then was."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    # None where the system does not tell (Windows).
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return value, {**seconds, "threads": torch.get_num_threads(), "load": load, "cores": os.cpu_count()}


def cost_of_answers(potential: Potential, structures: Sequence[Atoms], n_repeats: int = N_REPEATS) -> list[Record]:
    """Milliseconds per atom for a structure of median size, and for a large cell where that is periodic.

    Returns
    -------
    list of dict
        ``n_atoms``, ``formula``, ``threads``, ``n_repeats``, and the wall times ``mean`` (`Potential.mean`) and
        ``full`` (`Potential.predict_full`): each the median, least and largest of the repeats, in ms/atom.
    """
    typical = sorted(structures, key=len)[len(structures) // 2]
    return [_cost(potential, atoms, n_repeats) for atoms in (typical, *_enlarged(typical))]


def _enlarged(atoms: Atoms) -> list[Atoms]:
    if not atoms.pbc.any() or len(atoms) >= LARGE:
        return []
    times = np.where(atoms.pbc, 1, 0)
    while len(atoms) * np.prod(np.maximum(times, 1)) < LARGE:
        lengths = np.where(atoms.pbc, times * atoms.cell.lengths(), np.inf)
        times[int(lengths.argmin())] += 1
    return [atoms.repeat(np.maximum(times, 1).tolist())]


def _cost(potential: Potential, atoms: Atoms, n_repeats: int) -> Record:
    rng = np.random.default_rng(0)
    atoms = atoms.copy()
    found: dict[str, list[float]] = {"mean": [], "full": []}
    ways: dict[str, Callable[[], Any]] = {
        "mean": lambda: potential.mean(atoms),
        "full": lambda: potential.predict_full([atoms]),
    }
    for turn in range(n_repeats + 1):
        for name, ask in ways.items():
            atoms.positions += _STEP * rng.uniform(-1, 1, atoms.positions.shape)
            seconds = timed(ask)[1]["wall_s"]
            if turn:  # the first one compiles and fills caches
                found[name].append(1e3 * seconds / len(atoms))
    spread = {
        name: {"median": median(values), "least": min(values), "largest": max(values)} for name, values in found.items()
    }
    size = {"n_atoms": len(atoms), "formula": atoms.get_chemical_formula()}
    return {**size, "threads": torch.get_num_threads(), "n_repeats": n_repeats, **spread}
