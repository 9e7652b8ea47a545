"""Products with force rows equal those of the rows."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals import products
from kernpot.functionals.products import ForceProducts
from kernpot.functionals.rows import force_rows, n_columns
from kernpot.functionals.state import InducingBlock, Structure
from kernpot.gp.inducing.blocks import unit_features
from kernpot.kernels import Power
from tests.helpers.soaps import displaced, make_soap, random_atoms


def blocks_of(rng, descriptors: list[SOAPFeatures], zetas: tuple[int, ...], atoms: Atoms) -> list[InducingBlock]:
    other = displaced(atoms, rng.normal(scale=0.15, size=(len(atoms), 3)))
    blocks: list[InducingBlock] = []
    for d, (features, zeta) in enumerate(zip(descriptors, zetas, strict=True)):
        u = unit_features(features, other)
        for element in sorted(set(atoms.numbers.tolist())):
            own = u[torch.from_numpy(atoms.numbers == element)]
            start = blocks[-1].columns.stop if blocks else 0
            blocks.append(InducingBlock(d, element, Power(zeta), own, slice(start, start + len(own))))
    return blocks


@pytest.mark.parametrize("zetas", [(1, 2), (2, 4), (3, 1)])
@pytest.mark.parametrize("pbc", [True, False])
@pytest.mark.parametrize("entries", [1, 1 << 21])
def test_equal_the_rows(rng, zetas: tuple[int, int], pbc: bool, entries: int, monkeypatch) -> None:
    """Two descriptors, four elements; also when columns are taken one by one."""
    monkeypatch.setattr(products, "_ENTRIES", entries)
    atoms = random_atoms(rng, n_atoms=6, pbc=pbc)
    descriptors = [SOAPFeatures(make_soap()), SOAPFeatures(make_soap("poly m=2", compression="mu1nu1"))]
    blocks = blocks_of(rng, descriptors, zetas, atoms)
    # The last block is of an element that is not there.
    start = blocks[-1].columns.stop
    blocks.append(InducingBlock(1, 9, Power(2), blocks[-1].environments[:1], slice(start, start + 1)))
    structure = Structure(descriptors, atoms)
    rows = torch.cat([part for _, part, _ in force_rows(structure, blocks, with_prior=False)])
    weights = torch.from_numpy(rng.normal(size=(n_columns(blocks), 3)))
    directions = torch.from_numpy(rng.normal(size=(len(atoms), 3, 3)))
    made = ForceProducts(structure, blocks)
    forces = made.forces(weights)
    assert forces.shape == (6, 3, 3)
    torch.testing.assert_close(forces.flatten(0, 1), rows @ weights, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(made.sums(directions), rows.T @ directions.flatten(0, 1), rtol=1e-10, atol=1e-10)
