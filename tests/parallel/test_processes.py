"""A fit spread over processes is the fit of one process, whatever carries the work: loky, or Dask on any cluster."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
import psutil
import pytest
from ase import Atoms

from kernpot import SparseGPPotential
from kernpot.errors import KernpotError
from kernpot.gp.rows.compress import deal
from kernpot.parallel.processes import in_processes
from tests.helpers.systems import cluster, crystals, labelled, slab, soap

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


@pytest.mark.slow
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
        worked = client.run(lambda: "kernpot.gp.rows.compress" in sys.modules)
    assert len(worked) == 2
    assert any(worked.values()), "the fit did not go through the cluster"
    require_close(alone, gp)
    require_same_bits(with_loky, gp)


@pytest.fixture
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, as joblib's backend."""
    ray = pytest.importorskip("ray", reason="needs ray, which no extra brings: pip install ray")
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False)
    register_ray()
    with joblib.parallel_config(backend="ray", n_jobs=2):
        yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_gives_the_bits_of_loky(alone: SparseGPPotential, with_loky: SparseGPPotential) -> None:
    gp = SparseGPPotential(**alone.get_params(deep=False)).fit(TRAIN)
    require_same_bits(with_loky, gp)


@pytest.mark.parametrize(("sizes", "n_inducing"), [([5, 3, 8, 1, 1], 2), (list(range(1, 60)), 10), ([4] * 400, 1000)])
def test_shares_hold_every_structure_once_and_cost_alike(sizes: list[int], n_inducing: int) -> None:
    shares = deal(sizes, n_inducing)
    assert sorted(k for share in shares for k in share) == list(range(len(sizes)))
    cost = [sum(sizes[k] for k in share) for share in shares]
    assert max(cost) - min(cost) <= max(sizes)


class Killing:
    """A progress report that kills a worker once, after the first rows have come back: in the middle, whatever the
    machine. ``workers`` gives the processes there are."""

    def __init__(self, workers: Callable[[], list[int]]) -> None:
        self._workers, self.killed, self.after = workers, 0, 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage == "rows" and self.killed and done < total:
            self.after += 1
        if stage == "rows" and not self.killed and done < total:
            self.killed = self._workers()[0]
            os.kill(self.killed, signal.SIGKILL)


def many() -> list[Atoms]:
    """Enough for many shares."""
    return [*TRAIN, *crystals(20, seed=9, symbols="Cu3Au")]


@pytest.fixture(scope="module")
def undisturbed(alone: SparseGPPotential) -> SparseGPPotential:
    return SparseGPPotential(**alone.get_params(deep=False)).set_params(n_jobs=2).fit(many())


def loky_workers() -> list[int]:
    children = psutil.Process().children()
    return [child.pid for child in children if any("LokyProcess" in word for word in child.cmdline())]


@pytest.mark.slow
def test_a_process_that_is_killed_in_the_middle_costs_nothing_but_time(
    alone: SparseGPPotential, undisturbed: SparseGPPotential
) -> None:
    killing = Killing(loky_workers)
    gp = SparseGPPotential(**alone.get_params(deep=False)).set_params(n_jobs=2, progress=killing).fit(many())
    assert killing.killed
    assert killing.after, "no rows came after the kill: it was not in the middle"
    require_same_bits(undisturbed, gp)


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_in_the_middle_costs_nothing_but_time(
    alone: SparseGPPotential, undisturbed: SparseGPPotential
) -> None:
    with dask_cluster(2) as client, joblib.parallel_config(backend="dask"):
        killing = Killing(lambda: list(client.run(os.getpid).values()))
        gp = SparseGPPotential(**alone.get_params(deep=False)).set_params(progress=killing).fit(many())
        assert killing.killed not in client.run(os.getpid).values()
    assert killing.after, "no rows came after the kill: it was not in the middle"
    require_same_bits(undisturbed, gp)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_ray_worker_that_is_killed_in_the_middle_costs_nothing_but_time(
    alone: SparseGPPotential, undisturbed: SparseGPPotential
) -> None:
    def workers() -> list[int]:
        return [p.pid for p in psutil.Process().children(recursive=True) if "PoolActor" in " ".join(p.cmdline())]

    killing = Killing(workers)
    gp = SparseGPPotential(**alone.get_params(deep=False)).set_params(progress=killing).fit(many())
    assert killing.killed
    assert killing.after, "no rows came after the kill: it was not in the middle"
    require_same_bits(undisturbed, gp)


@pytest.mark.slow
def test_processes_that_are_lost_again_and_again_end_in_an_error() -> None:
    with pytest.raises(KernpotError, match=r"lost 3 times.*n_jobs.*the potential is as it was"):
        list(in_processes(os._exit, [(9,)] * 4, 2))


@pytest.mark.slow
def test_results_come_in_order_and_only_few_are_ahead() -> None:
    taken = in_processes(_square, [(k,) for k in range(40)], 2)
    assert next(taken) == 0
    assert list(taken) == [k * k for k in range(1, 40)]


def _square(k: int) -> int:
    return k * k
