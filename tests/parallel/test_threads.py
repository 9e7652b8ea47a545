"""Several threads give the numbers of one, and leave torch as it was."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from time import sleep

import numpy as np
import pytest
import torch

from kernpot import SparseGPPotential
from kernpot.descriptors import soap as blocks
from kernpot.parallel.threads import in_threads
from tests.helpers.systems import crystals, soap


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gp() -> SparseGPPotential:
    return SparseGPPotential(soap(), n_inducing=10, optimize=False, random_state=0).fit(crystals(6))


@pytest.mark.usefixtures("two_threads")
def test_the_same_bits(gp: SparseGPPotential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_BLOCK_PAIRS", 100)
    atoms = crystals(1)[0].repeat(2)
    two = gp.mean(atoms)
    torch.set_num_threads(1)
    one = gp.mean(atoms)
    assert len(gp.fitted_.features[0].bounds(len(atoms), gp.fitted_.features[0].pairs(atoms))) > 2
    assert two.energy == one.energy
    np.testing.assert_array_equal(two.forces, one.forces)
    np.testing.assert_array_equal(two.stress, one.stress)


@pytest.mark.usefixtures("two_threads")
def test_order_and_errors() -> None:
    def square(x: int) -> int:
        if x == 13:
            raise ValueError("thirteen")
        return x * x

    done = []

    def slow(x: int) -> int:
        sleep(0.01)
        done.append(x)
        return square(x)

    assert in_threads(square, range(10)) == [x * x for x in range(10)]
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="thirteen"):
        in_threads(slow, range(10, 60))
    assert torch.get_num_threads() == 2
    assert len(done) < 10  # whatever thread it happened in, none works on


def test_sending_a_model_to_another_process_changes_neither(gp: SparseGPPotential) -> None:
    """multiprocessing's pickler moves the memory of tensors; arrays that share it would be left dangling."""
    atoms = crystals(1)[0]
    expected = gp.predict_full(atoms)[0]
    sent = pickle.loads(bytes(ForkingPickler.dumps(gp)))
    np.random.default_rng(0).normal(size=1_000_000)  # other use of memory that was given back
    for model in (sent, gp):
        p = model.predict_full(atoms)[0]
        np.testing.assert_array_equal(p.forces.mean, expected.forces.mean)
        np.testing.assert_array_equal(p.forces.std, expected.forces.std)


def test_no_array_shares_memory_with_a_tensor(gp: SparseGPPotential) -> None:
    compiled = gp.fitted_.features[0]._compiled
    assert compiled is not None
    assert compiled.factor.base is None
    assert compiled.take.base is None


def energy(gp: SparseGPPotential) -> float:
    torch.set_num_threads(2)
    return gp.mean(crystals(1)[0].repeat(2)).energy


def require(gp: SparseGPPotential, expected: float) -> None:
    assert energy(gp) == expected


def test_forked_processes(gp: SparseGPPotential, two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of fork has no threads of its parent; it must not wait for them."""
    # The fit came first, on one thread: torch's own OpenMP does not survive a fork.
    monkeypatch.setattr(blocks, "_BLOCK_PAIRS", 100)
    expected = energy(gp)
    child = multiprocessing.get_context("fork").Process(target=require, args=(gp, expected))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_answers_after_its_parent_has_computed(two_threads: None) -> None:
    """OpenMP's threads, for which torch's loops would wait for ever, are not there in the child."""
    a, b = torch.rand((2, 600, 600), dtype=torch.float64)
    expected = float((a @ b).sum() + torch.exp(torch.rand(10**6, generator=torch.Generator().manual_seed(0))).sum())
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(_sums, (a.numpy(), b.numpy())).get(60)
    assert found[0] == 1 and found[1] == pytest.approx(expected, rel=1e-6)


def _sums(a: np.ndarray, b: np.ndarray) -> tuple[int, float]:
    product = torch.from_numpy(a) @ torch.from_numpy(b)
    rest = torch.exp(torch.rand(10**6, generator=torch.Generator().manual_seed(0))).sum()
    return torch.get_num_threads(), float(product.sum() + rest)
