"""A fit on a Dask cluster that loses a worker on the way: the model is the same to the last bit.

    python examples/cluster_fit.py        # half a minute, on a cluster of two processes on this machine

Needs Dask: ``pip install 'kernpot[cluster]'``. On machines of your own, start ``dask scheduler`` on one and
``dask worker tcp://HOST:8786 --nthreads 1`` on all, and write ``Client("tcp://HOST:8786")`` here (docs/cluster.md).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from distributed import Client, LocalCluster

from kernpot import SparseGPPotential, read_structures

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"


class Accident:
    """Progress reports, and the end of a worker after the first rows have come back."""

    def __init__(self, client: Client) -> None:
        self.client, self.victim = client, 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Kill once, in the middle."""
        if stage == "rows" and not self.victim and done < total:
            self.victim = next(iter(self.client.run(os.getpid).values()))
            os.kill(self.victim, signal.SIGKILL)
            print(f"killed worker {self.victim} after {done} of {total} structures")


def fit(progress: Callable[[str, int, int], None] | None = None, n_jobs: int | None = None) -> SparseGPPotential:
    """Fit the training part of the data."""
    train = [a for a in read_structures(DATA) if a.info["split"] == "train"]
    return SparseGPPotential(n_inducing=400, n_jobs=n_jobs, random_state=0, progress=progress).fit(train)


def main() -> None:
    """Fit at home, on the cluster, and on the cluster with an accident; compare."""
    test = [a for a in read_structures(DATA) if a.info["split"] == "test"]
    models, seconds = {}, {}
    for name, jobs in (("1 process", 1), ("2 processes", 2)):
        start = time.perf_counter()
        models[name], seconds[name] = fit(n_jobs=jobs), time.perf_counter() - start
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for name, progress in (("Dask, 2 workers", None), ("the same, one killed", Accident(client))):
            start = time.perf_counter()
            with joblib.parallel_config(backend="dask"):
                models[name] = fit(progress)
            seconds[name] = time.perf_counter() - start
    found = {
        name: np.concatenate([p.forces.mean.ravel() for p in gp.predict_full(test)]) for name, gp in models.items()
    }
    print(f"{'':22}{'seconds':>9}  forces differ from one process, from two processes by at most (eV/A)")
    for name, forces in found.items():
        differences = [abs(forces - found[other]).max() for other in ("1 process", "2 processes")]
        print(f"{name:22}{seconds[name]:9.1f}  {differences[0]:.1e}  {differences[1]:.1e}")


if __name__ == "__main__":
    main()
