"""Descriptors survive being written down."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dscribe.descriptors import SOAP

from kernpot.descriptors import SOAPFeatures, default_descriptor
from kernpot.descriptors.serial import soap_from_dict, soap_to_dict
from kernpot.errors import DescriptorError
from tests.helpers.soaps import COMPRESSIONS, WEIGHTINGS, make_soap, random_atoms


def through_json(soap: SOAP) -> SOAP:
    return soap_from_dict(json.loads(json.dumps(soap_to_dict(soap))))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weightings(rng, weighting):
    soap, atoms = make_soap(weighting), random_atoms(rng)
    again = through_json(soap)
    np.testing.assert_array_equal(SOAPFeatures(again)(atoms), SOAPFeatures(soap)(atoms))
    np.testing.assert_array_equal(again.create(atoms), soap.create(atoms))
    assert soap_to_dict(again) == soap_to_dict(soap)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("species", [("Mo", "H", "O", "Si"), (42, 1, 8, 14)])
def test_compressions_and_species_weights_by_symbol_or_number(rng, compression, species):
    weights = dict(zip(species, (0.7, 0.5, 2.0, -1.3), strict=True))
    soap = make_soap(species=species, compression={"mode": compression, "species_weighting": weights})
    atoms = random_atoms(rng)
    np.testing.assert_array_equal(SOAPFeatures(through_json(soap))(atoms), SOAPFeatures(soap)(atoms))


def test_numpy_numbers_are_written_as_plain_ones():
    soap = make_soap(n_max=np.int64(3), l_max=np.int32(2), sigma=np.float64(0.5), species=np.array([14, 8]))
    assert soap_to_dict(through_json(soap)) == soap_to_dict(soap)


def test_the_stored_basis_is_used_rather_than_the_one_of_this_machine(rng):
    """At n_max = 10 the basis differs in the eighth digit between processors; the model's own one must win."""
    soap = default_descriptor([14])
    data = soap_to_dict(soap)
    elsewhere = np.array(data["basis"]["betas"]) * (1 + 1e-6 * rng.normal(size=soap._betas.shape))
    data["basis"]["betas"] = elsewhere.tolist()
    again = through_json(soap_from_dict(data))
    np.testing.assert_array_equal(again._betas, elsewhere)
    atoms = random_atoms(rng, species=("Si",))
    assert np.abs(SOAPFeatures(again)(atoms) - SOAPFeatures(soap)(atoms)).max() > 0


def test_a_basis_that_does_not_belong_to_the_arguments_is_refused():
    data = soap_to_dict(make_soap())
    data["n_max"] = 4
    with pytest.raises(DescriptorError, match="DScribe version"):
        soap_from_dict(data)
