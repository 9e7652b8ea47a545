"""What many draws from the posterior cost, evaluated together, beside the mean and beside error bars.

    python -m benchmarks speed draws            # about ten minutes

CPU time of one thread, the least of several repeats, with the settings that speed is measured at. Models are fitted to
a part of the training structures: what is timed does not depend on the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS, species_of
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from benchmarks.shared.systems import SYSTEMS
from benchmarks.shared.timing import Clock
from kernpot.surfaces.draws import PARTS

CELLS = {"Si": ("64", "512"), "3bpa": ("27",), "nbmotaw": ("128",)}
STRUCTURES = 60
DRAWS = (1, 20, 64)
SMOKE = Smoke({"CELLS": {"Si": ("64",), "3bpa": ("27",)}, "DRAWS": (1, 3)})


def least(function: Callable[[], Any], repeats: int) -> float:
    """Least CPU seconds of some repeats, after one to warm up."""
    function()
    seconds = []
    for _ in range(repeats):
        clock = Clock()
        function()
        seconds.append(clock.read()["cpu_s"])
    return min(seconds)


def measure(name: str) -> dict[str, Any]:
    """CPU milliseconds for the cells of one system."""
    train = DATASETS[name].train()
    frames = train[:: max(1, len(train) // STRUCTURES)]
    gp = SYSTEMS[name].setting(name).estimator(species_of(train), optimize=False).fit(frames)
    n_features = [f.n_features for f in gp.fitted_.features]
    found: dict[str, Any] = {"n_inducing": gp.n_inducing_, "n_features": n_features}
    for parts in (PARTS, PARTS[:1]):
        clock = Clock()
        draws = gp.sample_potentials(max(DRAWS), 0, parts, "bayes")
        found["+".join(parts)] = {"sampling_ms_per_draw": 1e3 * clock.read()["cpu_s"] / max(DRAWS)}
        for cell in CELLS[name]:
            atoms = SYSTEMS[name].cells[cell]()
            times = {str(n): 1e3 * least(lambda d=draws[:n], a=atoms: d.evaluate(a), 5) for n in DRAWS}
            found["+".join(parts)][cell] = {"draws_ms": times}
    for cell in CELLS[name]:
        atoms = SYSTEMS[name].cells[cell]()
        mean = 1e3 * least(lambda a=atoms: gp.mean(a), 10)
        found[cell] = {"mean_ms": mean, "predict_full_ms": 1e3 * least(lambda a=atoms: gp.predict_full(a), 2)}
        for parts in (PARTS, PARTS[:1]):
            times = found["+".join(parts)][cell]
            times["ratio_to_mean"] = {n: ms / mean for n, ms in times["draws_ms"].items()}
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure, print and store."""
    nothing("speed draws", __doc__, arguments)
    torch.set_num_threads(1)
    result = {}
    for name in CELLS:
        result[name] = measure(name)
        print(name, result[name])
    write_result("speed/draws", result)
