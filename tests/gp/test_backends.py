"""A fit spread over processes is the fit of one process, whatever carries the work: loky, or Dask on any cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
import pytest

from kernpot import SparseGPPotential
from kernpot.gp.compress import deal
from tests.systems import cluster, crystals, labelled, slab, soap

SETTINGS: dict[str, Any] = {"descriptor": soap(["Cu", "Au"]), "n_inducing": 12, "random_state": 0}
TRAIN = [*crystals(9, symbols="Cu3Au"), cluster("Cu2Au2"), slab(), labelled(crystals(1, seed=2)[0], ["energy"])]
NEW = [crystals(1, seed=5, symbols="CuAu3")[0], cluster("CuAu3", seed=2)]


@contextmanager
def dask_cluster(n_workers: int) -> Iterator[Any]:
    """A cluster on this machine, of single-threaded processes."""
    distributed = pytest.importorskip("distributed", reason="needs dask: pip install 'kernpot[test]'")
    with (
        distributed.LocalCluster(
            n_workers=n_workers, threads_per_worker=1, memory_limit=None, dashboard_address=None
        ) as cluster_,
        distributed.Client(cluster_) as client,
    ):
        yield client


def numbers(gp: SparseGPPotential) -> list[np.ndarray]:
    """Every mean and every standard deviation of two new structures."""
    found = []
    for p in gp.predict_full(NEW):
        for quantity in (p.energy, p.energies, p.forces, p.stress):
            if quantity is not None:
                found += [np.asarray(quantity.mean), np.asarray(quantity.std), np.asarray(quantity.epistemic_std)]
    return [*found, np.array([gp.log_evidence_, *gp.noise_.values()])]


def require_close(a: SparseGPPotential, b: SparseGPPotential) -> None:
    for x, y in zip(numbers(a), numbers(b), strict=True):
        np.testing.assert_allclose(y, x, rtol=0, atol=1e-10 * max(1.0, np.abs(x).max()))


def require_same_bits(a: SparseGPPotential, b: SparseGPPotential) -> None:
    for x, y in zip(numbers(a), numbers(b), strict=True):
        np.testing.assert_array_equal(y, x)


@pytest.fixture(scope="module")
def alone() -> SparseGPPotential:
    fixed = {"energy": 0.002, "forces": 0.03, "stress": 0.001}
    return SparseGPPotential(**SETTINGS, noise=fixed, optimize=False).fit(TRAIN)


@pytest.fixture(scope="module")
def with_loky(alone: SparseGPPotential) -> SparseGPPotential:
    return SparseGPPotential(**alone.get_params(deep=False)).set_params(n_jobs=2).fit(TRAIN)


def test_two_processes_give_the_fit_of_one(alone: SparseGPPotential, with_loky: SparseGPPotential) -> None:
    require_close(alone, with_loky)


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(alone: SparseGPPotential, with_loky: SparseGPPotential) -> None:
    gp = SparseGPPotential(**alone.get_params(deep=False)).set_params(n_jobs=3).fit(TRAIN)
    require_same_bits(with_loky, gp)


@pytest.mark.slow
def test_dask_gives_the_bits_of_loky(alone: SparseGPPotential, with_loky: SparseGPPotential) -> None:
    with dask_cluster(2) as client, joblib.parallel_config(backend="dask"):
        gp = SparseGPPotential(**alone.get_params(deep=False)).fit(TRAIN)
        worked = client.run(lambda: "kernpot.gp.compress" in sys.modules)
    assert len(worked) == 2
    assert any(worked.values()), "the fit did not go through the cluster"
    require_close(alone, gp)
    require_same_bits(with_loky, gp)


@pytest.mark.parametrize(("sizes", "n_inducing"), [([5, 3, 8, 1, 1], 2), (list(range(1, 60)), 10), ([4] * 400, 1000)])
def test_shares_hold_every_structure_once_and_cost_alike(sizes: list[int], n_inducing: int) -> None:
    shares = deal(sizes, n_inducing)
    assert sorted(k for share in shares for k in share) == list(range(len(sizes)))
    cost = [sum(sizes[k] for k in share) for share in shares]
    assert max(cost) - min(cost) <= max(sizes)
