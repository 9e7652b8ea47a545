"""What many draws from the posterior cost, evaluated together, beside the mean and beside error bars.

    python benchmarks/draws.py            # about ten minutes

CPU time of one thread, the least of several repeats, with the settings that speed is measured at. Models are fitted to
a part of the training structures: what is timed does not depend on the labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from common import DATASETS, Clock, species_of, write_result
from kernpot.gp.draws import PARTS
from systems import SYSTEMS

CELLS = {"Si": ("64", "512"), "3bpa": ("27",), "nbmotaw": ("128",)}
STRUCTURES = 60
DRAWS = (1, 20, 64)


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
    found: dict[str, Any] = {"n_inducing": gp.n_inducing_, "n_features": [f.n_features for f in gp._features]}
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


def main() -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    result = {}
    for name in CELLS:
        result[name] = measure(name)
        print(name, result[name])
    write_result("draws", result)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
