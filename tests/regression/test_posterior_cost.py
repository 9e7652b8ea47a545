"""What rows and standard deviations cost, in operations rather than seconds: nothing twice, nothing quadratic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch.utils.flop_counter import FlopCounterMode

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals import state
from kernpot.functionals.rows import energy_prior, force_rows, stress_rows
from kernpot.functionals.state import Structure
from tests.helpers.systems import crystals, soap

FIXED: dict[str, Any] = {"noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001}, "optimize": False}
M = 20


@pytest.fixture(scope="module", params=[2, 4])
def gp(request: pytest.FixtureRequest) -> SparseGPPotential:
    kernel = SOAPKernel(request.param)
    return SparseGPPotential(soap(), M, kernel=kernel, random_state=0, **FIXED).fit(crystals(8))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Operations are counted in the thread that asks for it."""
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def cell(repeat: int | tuple[int, int, int] = 3) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=0)
    return atoms.repeat(repeat)


def operations(function: Any) -> int:
    """Floating-point operations of all matrix products."""
    with FlopCounterMode(display=False) as counter:
        function()
    return int(counter.get_total_flops())


class Work:
    """What the rows of a structure must cost."""

    def __init__(self, gp: SparseGPPotential, atoms: Atoms) -> None:
        self.d = gp.fitted_.features[0].n_features
        self.zeta = gp.kernels_[0].zeta
        self.n = len(atoms)
        neighbours = np.bincount(gp.fitted_.features[0].pairs(atoms).neighbours, minlength=self.n)
        self.pairs = int(neighbours.sum())
        self.squares = int(((neighbours + 1) ** 2).sum())

    @property
    def cosines(self) -> int:
        return 2 * self.n * self.d * M

    @property
    def forces(self) -> int:
        """Three derivatives of every moving environment; u u', and u g' and g g' for three directions."""
        return 2 * self.d * (3 * (self.pairs + self.n) * M + 7 * self.squares)

    @property
    def stress(self) -> int:
        """Six derivatives of every environment; for the second power their six d x d moments, else double sums."""
        prior = 6 * self.d * self.n if self.zeta == 2 else 13 * self.n**2
        return 2 * self.d * (6 * self.n * M + prior) + 2 * 6 * self.n * self.d  # and the projection of the derivatives


def test_matrix_products_of_force_rows_are_those_of_the_formula(gp: SparseGPPotential) -> None:
    structure, blocks = Structure(gp.fitted_.features, cell()), gp.fitted_.whitening.blocks
    work = Work(gp, cell())
    projection = 2 * 3 * work.n * work.d
    assert operations(lambda: list(force_rows(structure, blocks))) == work.cosines + work.forces + projection


def test_matrix_products_of_stress_rows_are_those_of_the_formula(gp: SparseGPPotential) -> None:
    structure, blocks = Structure(gp.fitted_.features, cell()), gp.fitted_.whitening.blocks
    structure.cosines(blocks[0])
    assert operations(lambda: stress_rows(structure, blocks)) == Work(gp, cell()).stress


def test_every_derivative_is_computed_once_and_neighbours_are_found_once(
    gp: SparseGPPotential, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = cell()
    expected = Work(gp, atoms).pairs
    kind = type(Structure(gp.fitted_.features, atoms).described[0].block.environments)
    found: list[int] = []
    searches: list[int] = []
    tangent, search = kind.pair_tangent, state.find_pairs
    monkeypatch.setattr(kind, "pair_tangent", lambda self, p, slot: (found.append(len(p)), tangent(self, p, slot))[1])
    monkeypatch.setattr(state, "find_pairs", lambda *a: (searches.append(1), search(*a))[1])
    monkeypatch.setattr(SOAPFeatures, "pairs", lambda *_: pytest.fail("neighbours were found a second time"))
    gp.predict_full(atoms)
    assert sum(found) == expected
    assert len(searches) == 1


def test_a_prediction_costs_its_rows_and_little_else(gp: SparseGPPotential) -> None:
    atoms = cell()
    work, blocks = Work(gp, atoms), gp.fitted_.whitening.blocks
    rows = work.cosines + work.forces + work.stress + 2 * 3 * work.n * work.d
    energy = operations(lambda: energy_prior(Structure(gp.fitted_.features, atoms), blocks))
    mean = operations(lambda: gp.mean(atoms))
    assert operations(lambda: gp.predict_full(atoms)) <= rows + energy + mean


def test_work_is_linear_in_the_number_of_atoms(gp: SparseGPPotential) -> None:
    """For the second power all of it; for others all but the variances of the total energy and the stress."""
    small, large = cell((3, 3, 4)), cell((3, 3, 8))
    if gp.kernels_[0].zeta == 2:
        assert operations(lambda: gp.predict_full(large)) == 2 * operations(lambda: gp.predict_full(small))
    else:
        blocks = gp.fitted_.whitening.blocks
        once, twice = (
            operations(lambda a=a: list(force_rows(Structure(gp.fitted_.features, a), blocks))) for a in (small, large)
        )
        assert twice == 2 * once
