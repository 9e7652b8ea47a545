"""The features are DScribe's, number by number."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from dscribe.descriptors import SOAP
from hypothesis import given, settings
from hypothesis import strategies as st

from kernpot.descriptors import SOAPFeatures
from tests.helpers.soaps import COMPRESSIONS, SPECIES, WEIGHTINGS, make_soap, random_atoms


def assert_same_as_dscribe(soap: SOAP, atoms: Atoms, tolerance: float = 1e-10) -> None:
    expected = soap.create(atoms)
    features = SOAPFeatures(soap)
    got = features(atoms)
    assert got.shape == expected.shape == (len(atoms), features.n_features)
    assert got.dtype == np.float64
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_weightings_and_compressions(rng, weighting, compression):
    assert_same_as_dscribe(make_soap(weighting, compression), random_atoms(rng))


@pytest.mark.parametrize("n_species", [1, 2, 3, 4])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_species_and_their_weights(rng, n_species, compression, weighted):
    species = SPECIES[:n_species]
    soap = make_soap(compression=compression, weighted=weighted, species=species[::-1])
    assert_same_as_dscribe(soap, random_atoms(rng, species=species))


def test_species_weights_matter(rng):
    atoms = random_atoms(rng)
    plain, weighted = (SOAPFeatures(make_soap(weighted=w))(atoms) for w in (False, True))
    assert np.abs(plain - weighted).max() > 0.1 * np.abs(plain).max()


def test_species_that_are_absent_from_the_structure(rng):
    assert_same_as_dscribe(make_soap(), random_atoms(rng, species=("Si",)))


@pytest.mark.parametrize("l_max", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12])
def test_degrees(rng, l_max):
    assert_same_as_dscribe(make_soap(l_max=l_max, species=("H", "O")), random_atoms(rng, species=("H", "O")))


@pytest.mark.parametrize("n_max", [1, 2, 8, 10])
def test_radial_functions(rng, n_max):
    soap = make_soap(n_max=n_max, r_cut=5.0, sigma=0.5, species=("Si",))
    assert_same_as_dscribe(soap, random_atoms(rng, n_atoms=3, species=("Si",), edge=4.0))


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("weighting", ["none", "poly m=1", "pow"])
def test_periodic_directions(rng, pbc, weighting):
    assert_same_as_dscribe(make_soap(weighting), random_atoms(rng, pbc=pbc))


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("Si", cell=[2.0, 2.2, 2.4], pbc=True),
        Atoms("Si", positions=[[0.3, 0.1, 0.2]], cell=[[2, 0, 0], [1.7, 1.1, 0], [-2.5, 0.4, 2]], pbc=True),
        Atoms("Si", cell=[9, 9, 2.3], pbc=(False, False, True)),
        Atoms("Si", cell=[9, 9, 9], pbc=True),
        fcc111("Si", (1, 1, 3), a=4.0, vacuum=5.0),
        bulk("Si").repeat((1, 1, 3)),
    ],
    ids=["one atom", "one atom, skewed", "wire", "isolated in a large cell", "slab", "rod of primitive cells"],
)
@pytest.mark.parametrize("weighting", ["none", "poly m=2"])
def test_small_cells_wires_and_slabs(atoms, weighting):
    assert_same_as_dscribe(make_soap(weighting), atoms)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_isolated_atom_and_molecule(weighting):
    soap = make_soap(weighting, species=("H", "O"), periodic=False)
    assert_same_as_dscribe(soap, molecule("H2O"))
    if weighting != "w0=0":  # an atom hidden from itself has no density at all
        assert_same_as_dscribe(soap, Atoms("H"))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("pbc", [False, True])
def test_atoms_exactly_on_a_centre(weighting, pbc):
    atoms = Atoms("SiSiOH", [[1, 1, 1], [1, 1, 1], [1, 1, 1], [2.5, 1.25, 1.5]], cell=[8] * 3, pbc=pbc)
    assert_same_as_dscribe(make_soap(weighting), atoms)


def test_open_direction_without_cell_vector():
    """DScribe refuses a cell without volume; it is the same structure with any vector there."""
    soap = make_soap()
    wire = Atoms("SiO", [[0, 0, 0], [1.2, 0.4, 1.0]], cell=[0, 0, 2.6], pbc=(False, False, True))
    padded = wire.copy()
    padded.set_cell([20, 20, 2.6])
    np.testing.assert_array_equal(SOAPFeatures(soap)(wire), SOAPFeatures(soap)(padded))
    assert_same_as_dscribe(soap, padded)


def test_images_are_the_same_atom(rng):
    """Atoms outside the cell are where they would be when wrapped."""
    atoms = random_atoms(rng)
    features = SOAPFeatures(make_soap())
    moved = atoms.copy()
    moved.positions += rng.integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    np.testing.assert_allclose(features(moved), features(atoms), rtol=0, atol=1e-12 * np.abs(features(atoms)).max())


@pytest.mark.parametrize("changes", [{"sparse": True}, {"dtype": "float32"}], ids=["sparse", "float32"])
def test_output_is_dense_double_precision_whatever_dscribe_returns(rng, changes):
    atoms = random_atoms(rng)
    got = SOAPFeatures(make_soap(**changes))(atoms)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, SOAPFeatures(make_soap())(atoms))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(1, 6),
    n_species=st.integers(1, 4),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    weighting=st.sampled_from([w for w in WEIGHTINGS if w != "w0=0"]),
    compression=st.sampled_from(COMPRESSIONS),
    weighted=st.booleans(),
    n_max=st.integers(1, 4),
    l_max=st.integers(0, 5),
    sigma=st.floats(0.15, 0.8),
    edge=st.floats(2.0, 4.0),
    skew=st.floats(0.0, 0.9),
)
def test_random_structures_and_settings(
    seed, n_atoms, n_species, pbc, weighting, compression, weighted, n_max, l_max, sigma, edge, skew
):
    species = SPECIES[:n_species]
    atoms = random_atoms(np.random.default_rng(seed), n_atoms, pbc, species, max(edge, 0.7 * n_atoms), skew)
    soap = make_soap(weighting, compression, weighted, species=species, n_max=n_max, l_max=l_max, sigma=sigma)
    assert_same_as_dscribe(soap, atoms)
