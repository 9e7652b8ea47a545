"""Variances pooled over surroundings: the average written by hand, its symmetries, and how neighbours come and go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.calibration.surroundings import Surroundings, pooled
from kernpot.descriptors import SOAPFeatures
from kernpot.functionals.state import Structure
from tests.helpers.soaps import make_soap, random_atoms
from tests.helpers.systems import soap

CUTOFF = 4.0


def of(atoms: Atoms, *cutoffs: float) -> Surroundings:
    species = sorted(set(atoms.get_chemical_symbols()))
    features = [SOAPFeatures(soap(species, cutoff, n_max=1, l_max=1)) for cutoff in cutoffs or (CUTOFF,)]
    return Surroundings.of(Structure(features, atoms))


def by_hand(atoms: Atoms, component_variances: np.ndarray) -> np.ndarray:
    """For atoms without images."""
    own = component_variances.reshape(len(atoms), -1).mean(1)
    out = []
    for i in range(len(atoms)):
        x = [np.linalg.norm(atoms.positions[j] - atoms.positions[i]) / CUTOFF for j in range(len(atoms))]
        weights = np.array([(1 - y) ** 2 * (1 + 2 * y) if y < 1 else 0.0 for y in x])
        out.append(weights @ own / weights.sum())
    return np.repeat(out, len(component_variances) // len(atoms))


@pytest.mark.parametrize("width", [1, 3])
def test_average_is_the_one_written_by_hand(rng: np.random.Generator, width: int) -> None:
    """Within the largest cutoff, whichever descriptor has it."""
    atoms = random_atoms(rng, 6, pbc=False, edge=4.0)
    v = rng.uniform(size=6 * width)
    for cutoffs in ((CUTOFF,), (2.5, CUTOFF), (CUTOFF, 2.5)):
        found = of(atoms, *cutoffs).pool(torch.from_numpy(v))
        np.testing.assert_allclose(found, by_hand(atoms, v), rtol=1e-12)


def test_supercells_and_turned_molecules_have_the_same_surroundings(rng: np.random.Generator) -> None:
    atoms = random_atoms(rng, 4)
    v = torch.from_numpy(rng.uniform(size=12))
    torch.testing.assert_close(of(atoms.repeat((2, 1, 3))).pool(v.repeat(6)), of(atoms).pool(v).repeat(6))
    molecule = random_atoms(rng, 4, pbc=False)
    turned = molecule.copy()
    turned.rotate(50, (1, 2, -1))
    torch.testing.assert_close(of(turned).pool(v), of(molecule).pool(v))
    torch.testing.assert_close(of(atoms).pool(torch.full((12,), 0.3).double()), torch.full((12,), 0.3).double())


def test_neighbours_come_in_smoothly() -> None:
    """What one at a distance ``h`` within the cutoff adds is of second order, and nothing beyond."""

    def pulled(h: float) -> float:
        pair = torch.tensor([[CUTOFF - h, 0.0, 0.0]], dtype=torch.float64)
        one, other = torch.tensor([0, 1]), torch.tensor([1, 0])
        surroundings = Surroundings(2, one, other, torch.cat([pair, -pair]), CUTOFF)
        return float(surroundings.pool(torch.tensor([0.0, 1.0], dtype=torch.float64))[0])

    assert pulled(1e-3) / pulled(2e-3) == pytest.approx(1 / 4, rel=1e-2)
    assert pulled(0.0) == pulled(-0.5) == 0.0
    assert pulled(CUTOFF) == pytest.approx(0.5)


def test_kinds_are_pooled_over_what_shares_their_misfit(rng: np.random.Generator) -> None:
    atoms = random_atoms(rng, 2)
    around, own = Surroundings.of(Structure([SOAPFeatures(make_soap())], atoms)), torch.from_numpy(rng.uniform(size=6))
    assert torch.equal(pooled("energy", own, around), own)
    torch.testing.assert_close(pooled("stress", own, around), torch.full_like(own, float(own.mean())))
    assert torch.equal(pooled("forces", own, around), around.pool(own))
