"""Greedy D-optimal choice: against determinants, plain greedy, and what a user may hand in."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.backend import selection
from kernpot.backend.selection import GreedyChoice, Selection
from kernpot.errors import KernpotError, StructureError
from kernpot.regression.gain import gain, updated
from tests.helpers.systems import crystals, small_molecule, soap

M = 12
SETTINGS: dict[str, Any] = {
    "descriptor": soap(["Cu", "Au"]),
    "kernel": SOAPKernel(2, amplitude=5.0),
    "noise": {"energy": 0.01, "forces": 0.1, "stress": 0.01},
    "optimize": False,
    "n_inducing": 16,
    "random_state": 0,
}
POOL = crystals(8, seed=1, symbols="Cu3Au")


def draw_root(rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.triu(rng.normal(size=(M, M))) + 3 * np.eye(M))


def draw_rows(rng: np.random.Generator, n: int) -> list[Tensor]:
    """Candidates of different sizes, some much alike, so that the order of gains changes as rows are taken."""
    directions = rng.normal(size=(3, M))
    rows = [rng.normal(size=(int(rng.integers(1, 7)), M)) * rng.choice([0.3, 1.0, 3.0]) for _ in range(n)]
    rows += [rng.normal(size=(4, 3)) @ directions + 0.01 * rng.normal(size=(4, M)) for _ in range(n)]
    return [torch.from_numpy(r) for r in rows]


def chosen_greedily(root: Tensor, rows_of: Callable[[int], Tensor], n: int, k: int) -> Selection:
    choice = GreedyChoice(root, n, rows_of)
    for _ in range(k):
        choice.take()
    return choice.selection()


def log_precision(root: Tensor, rows: list[Tensor]) -> float:
    """Log determinant of the posterior precision, squared and all."""
    return float(torch.linalg.slogdet(root.T @ root + sum((r.T @ r for r in rows), torch.zeros(M, M)))[1])


def plain_greedy(root: Tensor, rows: list[Tensor], k: int) -> tuple[list[int], list[float]]:
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        before = log_precision(root, [rows[i] for i in chosen])
        found = [
            -np.inf if i in chosen else log_precision(root, [rows[j] for j in [*chosen, i]]) - before
            for i in range(len(rows))
        ]
        chosen.append(int(np.argmax(found)))
        gains.append(max(found))
    return chosen, gains


def test_gain_is_the_growth_of_the_log_determinant(rng: np.random.Generator) -> None:
    root = draw_root(rng)
    for rows in draw_rows(rng, 3):
        assert gain(root, rows) == pytest.approx(log_precision(root, [rows]) - log_precision(root, []), rel=1e-10)


def test_update_is_the_triangle_of_the_stacked_rows(rng: np.random.Generator) -> None:
    root, rows = draw_root(rng), draw_rows(rng, 1)[0]
    kept = root.clone()
    new = updated(root, rows)
    assert torch.equal(root, kept)
    assert torch.equal(new, new.triu())
    assert torch.allclose(new.T @ new, root.T @ root + rows.T @ rows, rtol=1e-12)


def test_lazy_choice_is_the_plain_greedy_one(rng: np.random.Generator) -> None:
    for _ in range(5):
        root, rows = draw_root(rng), draw_rows(rng, 8)
        found = chosen_greedily(root, rows.__getitem__, len(rows), len(rows))
        chosen, gains = plain_greedy(root, rows, len(rows))
        assert found.indices.tolist() == chosen
        np.testing.assert_allclose(found.gains, gains, rtol=1e-8, atol=1e-10)
        assert (np.diff(found.gains) <= 1e-12).all()


def test_most_gains_are_looked_at_few_times(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is not lazy: plain greedy makes 59 + 58 + ... = 1535 gains here after the first 60."""
    rows = [torch.from_numpy(rng.normal(size=(2, M)) * 10.0**-s) for s in rng.uniform(0, 3, 60)]
    calls: list[int] = []
    looked: list[Tensor] = []
    plain = selection.gain

    def counted(root: Tensor, rows: Tensor) -> float:
        looked.append(rows)
        return plain(root, rows)

    monkeypatch.setattr(selection, "gain", counted)
    found = chosen_greedily(torch.eye(M, dtype=torch.float64), lambda i: calls.append(i) or rows[i], 60, 30)
    assert len(found) == 30
    assert len(calls) == 60  # rows are made once while they fit
    assert len(looked) < 60 + 1535 / 4


def test_small_batches_are_close_to_the_best_of_all(rng: np.random.Generator) -> None:
    root, rows = draw_root(rng), draw_rows(rng, 5)
    found = chosen_greedily(root, rows.__getitem__, len(rows), 3)
    start = log_precision(root, [])
    best = max(log_precision(root, list(some)) - start for some in itertools.combinations(rows, 3))
    assert found.gains.sum() == pytest.approx(log_precision(root, [rows[i] for i in found.indices]) - start, rel=1e-9)
    assert (1 - np.exp(-1)) * best <= found.gains.sum() <= best * (1 + 1e-12)


def test_rows_that_do_not_fit_are_made_again(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    root, rows = draw_root(rng), draw_rows(rng, 8)
    plenty = chosen_greedily(root, rows.__getitem__, len(rows), 6)
    monkeypatch.setattr(selection, "_KEPT", 2 * M)
    calls: list[int] = []
    scarce = chosen_greedily(root, lambda i: calls.append(i) or rows[i], len(rows), 6)
    assert len(calls) > len(rows)
    np.testing.assert_array_equal(scarce.indices, plenty.indices)
    np.testing.assert_array_equal(scarce.gains, plenty.gains)


# ---------------------------------------------------------------- of an estimator


@pytest.fixture(scope="module")
def gp() -> SparseGPPotential:
    return SparseGPPotential(**SETTINGS).fit(crystals(4, symbols="Cu3Au"))


def log_determinant(gp: SparseGPPotential) -> float:
    return 2 * float(gp.fitted_.posterior.root.diagonal().abs().log().sum())


def fitted() -> SparseGPPotential:
    return SparseGPPotential(**SETTINGS).fit(crystals(4, symbols="Cu3Au"))


def test_gains_are_what_learning_the_structures_brings() -> None:
    gp = fitted()
    found = gp.select(POOL, 3, random_part=0)
    for index, expected in zip(found.indices, found.gains, strict=True):
        before = log_determinant(gp)
        gp.partial_fit([POOL[index]])
        assert log_determinant(gp) - before == pytest.approx(expected, rel=1e-6)


def test_no_other_structure_would_have_brought_more() -> None:
    best = fitted().select(POOL, 1, random_part=0)
    brought = []
    for atoms in POOL:
        gp = fitted()
        before = log_determinant(gp)
        brought.append(log_determinant(gp.partial_fit([atoms])) - before)
    assert best.indices[0] == np.argmax(brought)


def test_labels_do_not_enter(gp: SparseGPPotential) -> None:
    bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in POOL]
    for potential in (gp, SparseGPPotential(**SETTINGS)):
        found, expected = potential.select(bare, 4, random_part=0), potential.select(POOL, 4, random_part=0)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.gains, expected.gains)


def test_the_first_of_many_are_the_choice_of_few_and_the_model_stays(gp: SparseGPPotential) -> None:
    before = gp.fitted_.posterior.root.clone()
    many, few = gp.select(POOL, len(POOL), random_part=0), gp.select(POOL, 3, random_part=0)
    np.testing.assert_array_equal(many.indices[:3], few.indices)
    assert sorted(many.indices) == list(range(len(POOL)))
    assert torch.equal(gp.fitted_.posterior.root, before)


def test_what_a_copy_would_teach_is_taken_off() -> None:
    """With almost exact labels a copy teaches each direction once more, log 2 each, whatever the first taught."""
    gp = SparseGPPotential(**(SETTINGS | {"inducing": POOL, "noise": {"energy": 1e-6, "forces": 1e-5, "stress": 1e-7}}))
    turned = POOL[0].copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    shifted = POOL[0].copy()
    shifted.positions += 0.1
    for copy in (shifted, turned):
        first, second = gp.select([POOL[0], copy], 2, random_part=0).gains
        assert first > 100
        # Independent are 1 energy, 6 components of stress (whose noise is not the same along turned axes), and 12 of
        # forces less 3, as they add up to nothing.
        assert second == pytest.approx(16 * np.log(2), rel=0.02)


def test_exact_copies_are_counted_out(gp: SparseGPPotential) -> None:
    """Of the pool as of the training structures: their labels are known."""
    found = gp.select([POOL[0], POOL[0].copy(), *POOL], len(POOL), random_part=0)
    assert sorted(found.indices) == [0, *range(3, len(POOL) + 2)]
    training = [s.atoms for s in gp.fitted_.training]
    assert list(gp.select([*training, POOL[3]], 1).indices) == [len(training)]
    with pytest.raises(KernpotError, match=r"1 to 8 .*copies of one another and of training structures counted out"):
        gp.select([*POOL, *POOL, *training], 9)


def test_the_order_of_the_pool_does_not_matter(gp: SparseGPPotential) -> None:
    found, reversed_ = gp.select(POOL, 5, random_part=0), gp.select(POOL[::-1], 5, random_part=0)
    np.testing.assert_array_equal(len(POOL) - 1 - reversed_.indices, found.indices)
    np.testing.assert_allclose(reversed_.gains, found.gains, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:3 of 4 structures of several atoms", "ignore:1 of 4 structures")
def test_from_scratch_prefers_what_is_different() -> None:
    """Nine hardly strained copies of a perfect crystal and three rattled ones, with noise that hides the strain."""
    perfect = [bulk("Cu", a=3.6 * (1 + 1e-4 * k), cubic=True) for k in range(9)]
    rattled = crystals(3, symbols="Cu4")
    gp = SparseGPPotential(soap(), n_inducing=10, noise={"energy": 0.01, "stress": 0.1}, random_state=0)
    found = gp.select(perfect + rattled, 4, random_part=0)
    assert len({9, 10, 11} & set(found.indices.tolist())) == 3
    assert not hasattr(gp, "elements_")
    assert gp.fit([(perfect + rattled)[i] for i in found.indices]).n_inducing_ > 0


def test_structures_without_stress_and_with_own_noise(gp: SparseGPPotential) -> None:
    """A molecule has no stress; labels that will be less certain teach less."""
    molecule = small_molecule("CO")
    molecule.symbols = ["Cu", "Au"]
    molecule.positions *= 2.0
    doubtful = POOL[0].copy()
    doubtful.positions += 0.1
    doubtful.info["noise_scale"] = 10.0
    found = gp.select([molecule, POOL[0], doubtful], 3, random_part=0)
    order = found.indices.tolist()
    assert order.index(1) < order.index(2)
    assert (found.gains > 0).all()


def test_a_part_is_drawn_at_random_and_counts_as_known() -> None:
    gp = SparseGPPotential(**SETTINGS)
    half, again = gp.select(POOL, 6), gp.select(POOL, 6)
    np.testing.assert_array_equal(half.indices, again.indices)
    assert half.random.tolist() == [False, True] * 3
    assert len(set(half.indices.tolist())) == 6
    np.testing.assert_array_equal(gp.select(POOL, 3).indices, half.indices[:3])
    drawn = [tuple(gp.set_params(random_state=s).select(POOL, 4, random_part=1).indices) for s in range(5)]
    assert len(set(drawn)) > 1
    # A greedy choice after a random one is greedy given both before it.
    fitted_to = fitted()
    told = fitted_to.select(POOL, 3)
    fitted_to.partial_fit([POOL[i] for i in told.indices[:2]])
    rest = [i for i in range(len(POOL)) if i not in told.indices[:2]]
    best = fitted_to.select([POOL[i] for i in rest], 1)
    assert rest[best.indices[0]] == told.indices[2]
    assert best.gains[0] == pytest.approx(told.gains[2], rel=1e-6)


@pytest.mark.parametrize("part", [-0.1, 1.5, float("nan")])
def test_parts_that_are_none(gp: SparseGPPotential, part: float) -> None:
    with pytest.raises(KernpotError, match="random_part: expected a part of the choices, 0 to 1, got"):
        gp.select(POOL, 2, random_part=part)


@pytest.mark.parametrize("k", [0, 9, 2.0, True])
def test_numbers_that_cannot_be_chosen(gp: SparseGPPotential, k: Any) -> None:
    with pytest.raises(KernpotError, match=r"expected a number of structures to choose, 1 to 8 .*, got"):
        gp.select(POOL, k)


def test_structures_that_cannot_be_used(gp: SparseGPPotential) -> None:
    with pytest.raises(StructureError, match="elements \\['Ag'\\] were not in the fit"):
        gp.select([POOL[0], crystals(1, symbols="Cu3Ag")[0]], 1)
    with pytest.raises(StructureError, match=r"write \[atoms\]"):
        gp.select(POOL[0], 1)  # type: ignore[arg-type]
    with pytest.raises(StructureError, match="empty list"):
        gp.select([], 1)


def test_work_is_reported(gp: SparseGPPotential) -> None:
    told: list[tuple[str, int, int]] = []
    potential = SparseGPPotential(**(SETTINGS | {"progress": lambda *args: told.append(args)}))
    potential.select(POOL, 2, random_part=0)
    assert told == [("gains", n, 8) for n in range(1, 9)] + [("choice", 1, 2), ("choice", 2, 2)]
