"""A fit on a Dask cluster that loses a worker on the way: the model is the same to the last bit.

    python examples/13_cluster_fit.py        # a minute, on a cluster of two processes on this machine

Needs Dask: ``pip install 'kernpot[cluster]'``. On machines of your own, start ``dask scheduler`` on one and
``dask worker tcp://HOST:8786 --nthreads 1`` on all, and write ``Client("tcp://HOST:8786")`` here (docs/cluster.md).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster

from kernpot import SparseGPPotential, read_structures

DATA = Path(__file__).parent / "data" / "dry_ice_gfn1.xyz.gz"

# %% An accident
# Called with every report of progress, it kills a worker once the first rows have come back.


class Accident:
    """Progress reports, and the end of a worker in the middle."""

    def __init__(self, client: Client) -> None:
        self.client, self.happened = client, False

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Kill once."""
        if stage == "rows" and not self.happened and done < total:
            self.happened = True
            os.kill(next(iter(self.client.run(os.getpid).values())), signal.SIGKILL)
            print(f"a worker was killed after {done} of {total} structures")


# %% A fit
# Nothing in it is of a cluster: joblib decides where the work goes.


def fit(progress: Callable[[str, int, int], None] | None = None, n_jobs: int | None = None) -> SparseGPPotential:
    """Fit the training part of the data."""
    train = [a for a in read_structures(DATA) if a.info["split"] == "train"]
    return SparseGPPotential(n_inducing=400, n_jobs=n_jobs, random_state=0, progress=progress).fit(train)


# %% At home, on the cluster, and on the cluster with an accident
# `joblib.parallel_config` is all that it takes.


def fits() -> dict[str, SparseGPPotential]:
    """Models, by where they were fitted."""
    models = {"1 process": fit(n_jobs=1), "2 processes": fit(n_jobs=2)}
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for name, progress in (("Dask, 2 workers", None), ("the same, one killed", Accident(client))):
            with joblib.parallel_config(backend="dask"):
                models[name] = fit(progress)
    return models


# %% The same bits
# Two shares of the work give the same sums wherever they are made; one share rounds differently. Workers of a local
# cluster import this script, so that what only the first process does stands behind the usual guard.

if __name__ == "__main__":
    test = [a for a in read_structures(DATA) if a.info["split"] == "test"]
    found = {
        name: np.concatenate([p.forces.mean.ravel() for p in gp.predict_full(test)]) for name, gp in fits().items()
    }
    print(f"{'':22}  forces differ from one process, from two processes by at most (eV/A)")
    for name, forces in found.items():
        differences = [abs(forces - found[other]).max() for other in ("1 process", "2 processes")]
        print(f"{name:22}  {differences[0]:.1e}  {differences[1]:.1e}")

    true = np.concatenate([a.get_forces().ravel() for a in test])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    left.plot(true, found["the same, one killed"], ".", ms=3)
    left.plot([true.min(), true.max()], [true.min(), true.max()], color="0.3", linewidth=0.8)
    left.set(xlabel="GFN1-xTB, eV/Å", ylabel="kernpot, eV/Å", title="forces of the fit that lost a worker")
    for name, width in (("2 processes", 5), ("Dask, 2 workers", 3), ("the same, one killed", 1)):
        apart = np.sort(abs(found[name] - found["1 process"]))
        right.semilogy(apart[apart > 0], label=name, linewidth=width)
    right.set(
        xlabel="force components, sorted", ylabel="difference to one process, eV/Å", title="rounding, and no more"
    )
    right.legend()
    figure.savefig("13_cluster_fit.png", dpi=130)
