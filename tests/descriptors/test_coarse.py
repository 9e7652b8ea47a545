"""Coarse versions of descriptors."""

import numpy as np
import pytest

from kernpot.descriptors import GivenFeatures, SOAPFeatures, default_descriptor, features_of
from kernpot.descriptors.coarse import coarser
from tests.helpers.soaps import make_soap


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([14], (5, 3, "off")),
        ([14, 8], (4, 3, "off")),
        ([1, 6, 8], (3, 3, "mu1nu1")),
        ([1, 6, 7, 8, 16], (3, 3, "mu1nu1")),
    ],
)
def test_fewer_functions_of_the_same_density(elements, expected):
    fine = features_of(default_descriptor(elements))
    coarse = coarser(fine)
    settings, kept = coarse.get_params(), fine.get_params()
    assert (settings["n_max"], settings["l_max"], settings["compression"]["mode"]) == expected
    for name in ("r_cut", "sigma", "weighting", "species"):
        assert settings[name] == kept[name]
    assert coarse.n_features < fine.n_features
    assert (fine.n_features, coarse.cutoff) == (features_of(default_descriptor(elements)).n_features, fine.cutoff)


def test_what_is_coarse_already_stays():
    small = SOAPFeatures(make_soap("poly m=2", "mu1nu1", n_max=2, l_max=1))
    assert coarser(small) is small
    given = GivenFeatures(lambda atoms: np.ones((len(atoms), 2)), ["Cu"], 2)
    assert coarser(given) is given
