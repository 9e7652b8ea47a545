"""A fit on one process, on two of joblib's, and on a Dask cluster of two workers on this machine.

    OMP_NUM_THREADS=1 python -m benchmarks engines cluster

The published Si training part with default settings, noise fixed so that rows are what takes the time; all in one run.
Also what a share of the work weighs on its way to a worker and back. Writes results/cluster.json.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from typing import Any

import cloudpickle
import joblib
import numpy as np

from benchmarks.shared.command_line import nothing
from benchmarks.shared.datasets import DATASETS
from benchmarks.shared.machine import describe
from benchmarks.shared.results import write_result
from benchmarks.shared.smoke import Smoke
from kernpot import SparseGPPotential
from kernpot.gp.rows.compress import compress, deal
from kernpot.structures.labels import label_structures

_NOISE = {"energy": 0.003, "forces": 0.1, "stress": 0.003}
PARAMETERS: dict[str, Any] = {}  # of the potential, other than the defaults
SMOKE = Smoke({"PARAMETERS": {"n_inducing": 20}})


class Stages:
    """Seconds of every stage of a fit, from its progress reports."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str, *_: int) -> None:
        """Add the time since the last report to a stage."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def fit(**settings: Any) -> tuple[SparseGPPotential, dict[str, float]]:
    """A fit and the seconds of its rows, and of all."""
    stages, start = Stages(), time.perf_counter()
    gp = SparseGPPotential(noise=_NOISE, optimize=False, random_state=0, progress=stages, **PARAMETERS, **settings)
    gp.fit(DATASETS["Si"].train())
    return gp, {"rows": stages.seconds["rows"], "all": time.perf_counter() - start}


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    nothing("engines cluster", __doc__, arguments)
    from distributed import Client, LocalCluster

    one, seconds_of_one = fit()
    two, seconds_of_two = fit(n_jobs=2)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=None, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        dask, seconds_of_dask = fit()
    test = DATASETS["Si"].test()
    means = [np.concatenate([p.forces.mean.ravel() for p in gp.predict_full(test)]) for gp in (one, two, dask)]
    labelled = label_structures(DATASETS["Si"].train())
    shares = deal([len(s.atoms) for s in labelled], one.n_inducing_)
    first, maker = [labelled[k] for k in shares[0]], one.fitted_.maker
    made = compress(first, maker)
    result = {
        "structures": len(labelled),
        "n_inducing": one.n_inducing_,
        "shares": len(shares),
        "seconds": {"1 process": seconds_of_one, "2 processes": seconds_of_two, "Dask, 2 workers": seconds_of_dask},
        "bytes_there": len(cloudpickle.dumps((first, [False] * len(first), maker))),
        "bytes_back": len(pickle.dumps((made.factors, made.kept))),
        "dask_has_the_bits_of_two_processes": bool((means[1] == means[2]).all()),
        "largest_force_difference_to_one_process": float(abs(means[0] - means[1]).max()),
        "on": describe(),
    }
    print(result)
    write_result("engines/cluster", result)
