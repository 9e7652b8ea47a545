"""The descriptor that is used when none is given."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols
from ase.spacegroup import crystal

from kernpot.descriptors import SOAPFeatures, default_descriptor
from kernpot.errors import DescriptorError

PEROVSKITE = crystal(
    ["Ba", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[4.0] * 3 + [90] * 3
)
MATERIALS = {
    "Si": bulk("Si"),
    "Mo": bulk("Mo", cubic=True),
    "Cs": bulk("Cs"),
    "H2": molecule("H2"),
    "NaCl": bulk("NaCl", "rocksalt", a=5.64),
    "BaTiO3": PEROVSKITE,
    "ethanol": molecule("CH3CH2OH"),
}


def elements(atoms: Atoms) -> list[int]:
    return sorted(set(atoms.numbers.tolist()))


@pytest.mark.parametrize("name", MATERIALS)
def test_materials(rng, name):
    atoms = MATERIALS[name].copy()
    if not any(atoms.pbc):
        atoms.center(vacuum=2.0)  # DScribe wants a cell when periodic=True
    atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
    soap = default_descriptor(elements(atoms))
    features = SOAPFeatures(soap)
    features.require_smooth()
    got, expected = features(atoms), soap.create(atoms)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    first_shell = np.sort(np.linalg.norm(features.pairs(atoms).vectors, axis=1))
    assert len(first_shell) > 0


@pytest.mark.parametrize("n_elements", [1, 2, 3, 4, 5, 6])
def test_number_of_features_stays_bounded(n_elements):
    features = SOAPFeatures(default_descriptor([41, 42, 73, 74, 28, 46][:n_elements]))
    features.require_smooth()
    assert features.smoothness == (1 if n_elements < 3 else 5)
    assert len(features.species) == n_elements
    assert features.n_features <= 2000
    atoms = bulk("Mo", cubic=True).repeat((2, 2, 1))
    atoms.numbers[:] = np.resize(features.species, len(atoms))
    assert np.isfinite(features(atoms)).all()


def test_cutoff_reaches_the_second_shell_of_common_crystals():
    for atoms, second in ((bulk("Si"), 5.43 / 2**0.5), (bulk("Mo"), 3.15), (bulk("Cu"), 3.61), (bulk("Al"), 4.05)):
        assert SOAPFeatures(default_descriptor(elements(atoms))).cutoff > 1.05 * second


@pytest.mark.slow
def test_every_element_has_one():
    for z in range(1, 97):
        features = SOAPFeatures(default_descriptor([z]))
        assert features.smoothness >= 1, chemical_symbols[z]
        assert 4.0 <= features.cutoff <= 6.5


def test_order_and_repetition_of_elements_do_not_matter():
    a, b = default_descriptor([8, 1, 8]), default_descriptor(np.array([1, 8]))
    assert SOAPFeatures(a).species == SOAPFeatures(b).species == (1, 8)
    assert a._r_cut == b._r_cut


def test_no_elements():
    with pytest.raises(DescriptorError, match="at least one element"):
        default_descriptor([])
