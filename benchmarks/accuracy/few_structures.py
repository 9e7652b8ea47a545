"""Fits to few structures: with environments of displaced copies as further inducing ones, and without.

    python -m benchmarks accuracy few_structures          # about five minutes

Structures to fit to and held-out ones are drawn from training parts alone, never in both; twice, with different seeds.
"Without" are the environments of the structures themselves, all of them, given as `inducing=structures`. Descriptors
are fixed, 1000 inducing environments are asked for. Writes results/few_structures.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS, Setting, species_of
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.stand_ins import CARRIED
from benchmarks.shared.timing import Clock
from kernpot import SparseGPPotential, read_structures

SEEDS = range(2)
SIZES: tuple[int, ...] = ()  # instead of those of a case, where there are some
N_HELD_OUT = 20


@dataclass(frozen=True)
class Case:
    """A system: its training part, one descriptor (r_cut, n_max, l_max, sigma, m), and how many structures to learn."""

    read: Callable[[], list[Atoms]]
    descriptor: tuple[float, int, int, float, int]
    sizes: tuple[int, ...]


def _example(name: str) -> Callable[[], list[Atoms]]:
    return lambda: [a for a in read_structures(CARRIED / name) if a.info["split"] == "train"]


CASES = {
    "ethanol": Case(_example("ethanol_gfn2.xyz.gz"), (4.0, 6, 5, 0.3, 1), (10, 20, 40, 80)),
    "dry ice": Case(_example("dry_ice_gfn1.xyz.gz"), (5.0, 6, 5, 0.4, 1), (10, 20, 40)),
    "3BPA": Case(DATASETS["3bpa"].train, (4.5, 6, 5, 0.4, 1), (10, 20)),
    "Si": Case(DATASETS["Si"].train, (5.0, 10, 6, 0.5, 1), (5, 10)),
}
SMOKE = Smoke({"SEEDS": range(1), "N_HELD_OUT": 4, "SIZES": (4,)})


def scores(gp: SparseGPPotential, frames: list[Atoms]) -> dict[str, float]:
    """Errors (eV/A, eV/atom) and the share of labels in their 90 % intervals."""
    errors: dict[str, list[Any]] = {"energy": [], "forces": []}
    inside: dict[str, list[Any]] = {"energy": [], "forces": []}
    for p, a in zip(gp.predict_full(frames), frames, strict=True):
        for kind, found, label in (
            ("energy", p.energy, a.get_potential_energy()),
            ("forces", p.forces, a.get_forces()),
        ):
            low, high = found.interval(0.9)
            errors[kind].extend(np.ravel(found.mean - label) / (len(a) if kind == "energy" else 1))
            inside[kind].extend(np.ravel((low <= label) & (label <= high)))
    return {
        "force_rmse": float(np.sqrt(np.mean(np.square(errors["forces"])))),
        "energy_mae": float(np.mean(np.abs(errors["energy"]))),
        "force_coverage": float(np.mean(inside["forces"])),
        "energy_coverage": float(np.mean(inside["energy"])),
    }


def measure(case: Case, n: int, seed: int) -> list[dict[str, Any]]:
    """One row without, one with displaced copies."""
    frames = case.read()
    alone = [a for a in frames if len(a) == 1]
    frames = [a for a in frames if len(a) > 1]
    order = np.random.default_rng(seed).permutation(len(frames))
    train, held_out = [frames[k] for k in order[:n]], [frames[k] for k in order[-N_HELD_OUT:]]
    estimator = Setting((case.descriptor,), 2, 1000).estimator(species_of(frames))
    rows = []
    for copies in (False, True):
        estimator.set_params(inducing="fps" if copies else [*train, *alone])
        clock = Clock()
        estimator.fit([*train, *alone])
        row = {"n": n, "seed": seed, "copies": copies, "n_inducing": estimator.n_inducing_} | clock.read()
        row |= {"jitter": max(estimator.fitted_.whitening.jitter)} | scores(estimator, held_out)
        rows.append(row)
    return rows


def main(arguments: Sequence[str]) -> None:
    """Measure everything and store it."""
    nothing("accuracy few_structures", __doc__, arguments)
    rows = []
    for name, case in CASES.items():
        for n in SIZES or case.sizes:
            for seed in SEEDS:
                rows += [{"system": name} | row for row in measure(case, n, seed)]
                print(rows[-2], rows[-1], sep="\n", flush=True)
    write_result("accuracy/few_structures", {"held_out": N_HELD_OUT, "rows": rows})
