"""What a mean prediction costs, in operations rather than seconds: linear in the atoms, and no more than it must."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch.utils.flop_counter import FlopCounterMode

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.compilation import COMPILED
from kernpot.descriptors import soap as blocks
from kernpot.descriptors.compiled import loops, spectrum
from kernpot.structures.neighbours import find_pairs
from tests.helpers.systems import crystals, soap

FIXED: dict[str, Any] = {"noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001}, "optimize": False}
ATOMS, INDUCING = 108, 20
needs_compiled = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT turns the compiled loops off")


@pytest.fixture(scope="module", params=[2, 4])
def gp(request: pytest.FixtureRequest) -> SparseGPPotential:
    kernel = SOAPKernel(request.param)
    return SparseGPPotential(soap(), INDUCING, kernel=kernel, random_state=0, **FIXED).fit(crystals(8))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Operations are counted in the thread that asks for it."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def cell(n_cells: int = 1) -> Atoms:
    """108 atoms, or a supercell of them."""
    atoms = bulk("Cu", cubic=True).repeat(3)
    atoms.rattle(0.05, seed=0)
    return atoms.repeat((n_cells, 1, 1))


def matrix_operations(gp: SparseGPPotential, atoms: Atoms) -> int:
    """Floating-point operations of all matrix products."""
    with FlopCounterMode(display=False) as counter:
        gp.mean(atoms)
    return int(counter.get_total_flops())


def test_matrix_products_are_those_of_the_formula(gp: SparseGPPotential) -> None:
    """Features against inducing environments and back for a general power; against one square form for the second."""
    n_features = gp.fitted_.features[0].n_features
    form = n_features if gp.kernels_[0].zeta == 2 else 2 * INDUCING
    # ... and the projection that keeps features of unit length.
    assert matrix_operations(gp, cell()) == ATOMS * 2 * n_features * (form + 1)


def test_matrix_products_are_linear_in_the_number_of_atoms(gp: SparseGPPotential) -> None:
    assert matrix_operations(gp, cell(2)) == 2 * matrix_operations(gp, cell())
    assert matrix_operations(gp, cell(5)) == 5 * matrix_operations(gp, cell())


@needs_compiled
@pytest.mark.parametrize("n_cells", [1, 4])
def test_every_pair_is_expanded_once_and_pulled_back_once(
    gp: SparseGPPotential, n_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, int] = {}

    def count(module: Any, name: str, axis: int) -> None:
        function = getattr(module, name)

        def counted(*arguments: Any) -> Any:
            seen[name] = seen.get(name, 0) + len(arguments[axis])
            return function(*arguments)

        monkeypatch.setattr(module, name, counted)

    for module, name in ((loops, "expand"), (loops, "pull"), (spectrum, "values"), (spectrum, "cotangent")):
        count(module, name, 0)
    atoms = cell(n_cells)
    gp.mean(atoms)
    pairs = len(find_pairs(atoms, gp.cutoff).centres)
    assert seen == {"expand": pairs, "pull": pairs, "values": len(atoms), "cotangent": len(atoms)}


@needs_compiled
def test_blocks_stay_small_however_large_the_structure(gp: SparseGPPotential, monkeypatch: pytest.MonkeyPatch) -> None:
    """No array grows with the structure but those of one row per atom or pair, so memory is that of a block."""
    largest = []
    function = loops.expand

    def measured(*arguments: Any) -> None:
        largest.append((arguments[-1].shape[0], len(arguments[0])))
        function(*arguments)

    monkeypatch.setattr(loops, "expand", measured)
    monkeypatch.setattr(blocks, "_BLOCK_PAIRS", 500)
    gp.mean(cell(12))
    assert len(largest) > 4
    assert all(pairs <= 500 for _, pairs in largest)
    assert sum(atoms for atoms, _ in largest) == 12 * ATOMS
