"""Descriptors and structures that are refused, and what the messages say."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from kernpot.descriptors import SOAPFeatures
from kernpot.errors import DescriptorError, KernpotError
from kernpot.functionals.state import Structure
from kernpot.structures import find_pairs
from tests.helpers.soaps import make_soap


def test_what_is_not_a_soap():
    with pytest.raises(DescriptorError, match=r"expected a dscribe.descriptors.SOAP, got dict"):
        SOAPFeatures({"r_cut": 5.0})


def test_polynomial_basis():
    with pytest.raises(DescriptorError, match="Use rbf='gto'"):
        SOAPFeatures(make_soap(rbf="polynomial"))


@pytest.mark.parametrize("average", ["inner", "outer"])
def test_averages(average):
    with pytest.raises(DescriptorError, match=f"got average='{average}'"):
        SOAPFeatures(make_soap(average=average))


def test_weighting_that_is_infinite_on_the_centre():
    weighting = {"function": "pow", "r0": 2.0, "c": 1.0, "d": 0.0, "m": 2}
    with pytest.raises(DescriptorError, match="Give d > 0"):
        SOAPFeatures(make_soap(weighting))
    SOAPFeatures(make_soap(weighting | {"w0": 1.0}))


@pytest.fixture
def features() -> SOAPFeatures:
    return SOAPFeatures(make_soap(species=("H", "Si"), periodic=False))


def calls(features: SOAPFeatures, atoms: Atoms):
    zeros = np.zeros((len(atoms), features.n_features))
    return (lambda: features(atoms), lambda: features.vjp(atoms, zeros), lambda: features.jvp(atoms))


def test_unknown_element_is_named(features):
    for call in calls(features, Atoms("HOMo", positions=np.eye(3))):
        with pytest.raises(DescriptorError, match=r"\['O', 'Mo'\] are not among the descriptor's \['H', 'Si'\]"):
            call()


def test_unknown_element_is_named_when_pairs_are_given(features):
    atoms = Atoms("HO", positions=[[0, 0, 0], [0, 0, 1]])
    with pytest.raises(DescriptorError, match=r"\['O'\]"):
        Structure([features], atoms, pairs=[find_pairs(atoms, features.cutoff)])


@pytest.mark.parametrize("pbc", [True, (True, False, False)])
def test_periodic_atoms_for_a_descriptor_that_is_not(features, pbc):
    for call in calls(features, Atoms("Si", cell=[4] * 3, pbc=pbc)):
        with pytest.raises(DescriptorError, match="periodic=True"):
            call()


def test_empty_structure(features):
    for call in calls(features, Atoms()):
        with pytest.raises(DescriptorError, match="at least one atom"):
            call()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_positions_that_are_not_finite(features, bad):
    with pytest.raises(KernpotError, match="atom 1"):
        features(Atoms("SiSi", positions=[[0, 0, 0], [bad, 0, 0]]))
