"""What error bars cost beside the mean: of the whole posterior, and of shared draws; and twenty draws of that kind.

    python -m benchmarks speed two_ways         # about ten minutes

CPU time of one thread, the codes taking turns, with the settings that speed is measured at; energy, forces and stress
with every standard deviation. The model of silicon is also asked for the error bars of many atoms, in a process of its
own, whose memory is told.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.shared import smoke
from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS, species_of
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.systems import SYSTEMS, silicon
from benchmarks.shared.timing import interleaved, python, ratios, run_process, spread
from kernpot import SparseGPPotential, load

CELLS = {"Si": ("64", "512", "4096"), "3bpa": ("27",), "nbmotaw": ("128",)}
# Training structures at most, evenly from all: what is timed does not depend on the labels.
STRUCTURES = 60
REPETITIONS = 5
# Unit cells along each edge of the large silicon crystal.
LARGE = 23
SMOKE = Smoke({"CELLS": {"Si": ("64",), "3bpa": ("27",)}, "REPETITIONS": 2, "LARGE": 4})


def measure(name: str, gp: SparseGPPotential) -> dict[str, Any]:
    """CPU milliseconds per atom for the cells of one system."""
    found: dict[str, Any] = {
        "n_inducing": gp.n_inducing_,
        "n_features": [f.n_features for f in gp.fitted_.features],
        "of_draws": [f.n_features for f in gp.fitted_.shared.source.features] if gp.fitted_.shared else None,
        "draws": gp.n_draws,
    }
    twenty = copy.copy(gp).set_params(error_bars="draws").sample_potentials(20, random_state=0)
    for cell in CELLS[name]:
        atoms = SYSTEMS[name].cells[cell]()
        times = interleaved(
            {
                "mean": (gp.mean, atoms),
                "draws": (lambda a: gp.predict_full(a, error_bars="draws"), atoms),
                "exact": (lambda a: gp.predict_full(a, error_bars="exact"), atoms),
                "twenty": (twenty.evaluate, atoms),
            },
            REPETITIONS,
        )
        found[cell] = {
            "ms_per_atom": {way: spread(values) for way, values in times.items()},
            "ratio": {way: ratios(times, way, "mean") for way in ("draws", "exact", "twenty")},
        }
    return found


def large(model: str, repeat: str) -> None:
    """Error bars by draws of a large crystal, in this process."""
    torch.set_num_threads(1)
    gp = load(model)
    atoms = silicon(int(repeat))
    found = gp.predict_full(atoms, error_bars="draws")[0]
    assert np.isfinite(found.forces.std).all()


def main(arguments: Sequence[str]) -> None:
    """Measure, print and store."""
    nothing("speed two_ways", __doc__, arguments)
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in CELLS:
            train = DATASETS[name].train()
            frames = train[:: max(1, len(train) // STRUCTURES)]
            gp = SYSTEMS[name].setting(name).estimator(species_of(train)).fit(frames)
            result[name] = measure(name, gp)
            for cell in CELLS[name]:
                ways = {way: f"{r['median']:.2f}" for way, r in result[name][cell]["ratio"].items()}
                print(f"{name:8s} {cell:>5s} atoms: times the mean {ways}", flush=True)
            if name == "Si":
                path = Path(folder) / "si.kernpot"
                gp.save(path)
                told = run_process(python("benchmarks.speed.two_ways", path, LARGE))
                result["large"] = told | {"atoms": len(silicon(LARGE))}
                print("large", result["large"], flush=True)
    write_result("speed/two_ways", result)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    large(*smoke.taken(sys.argv[1:]))
