"""Settings of a SOAP, taken from one and applied to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dscribe.descriptors import SOAP

from kernpot.descriptors import SOAPFeatures, default_descriptor
from kernpot.descriptors.serial import soap_arguments
from kernpot.errors import DescriptorError
from kernpot.tuning.candidates import Settings, changes


@pytest.mark.parametrize("species", [[14], [1, 6, 8], [1, 6, 7, 8, 16]])
def test_every_change_makes_a_descriptor_whose_forces_are_continuous(species: list[int]) -> None:
    base = default_descriptor(species)
    first = Settings.of(base)
    assert first.applied(base) is base
    axes = changes(first, len(species))
    for change in [change for axis in axes for change in axis]:
        settings = replace(first, **change)
        soap = settings.applied(base)
        assert Settings.of(soap) == settings
        assert soap_arguments(soap)["weighting"]["r0"] == pytest.approx(settings.r_cut)
        features = SOAPFeatures(soap)
        features.require_smooth()
    assert all({} in [{k: v for k, v in c.items() if getattr(first, k) != v} for c in axis] for axis in axes)


def test_what_is_not_chosen_stays() -> None:
    base = soap_arguments(default_descriptor([6, 8]))
    base["compression"] = {"mode": "mu1nu1", "species_weighting": {"C": 2.0, "O": 1.0}}
    base["weighting"] = {"function": "poly", "r0": 4.0, "c": 1.3, "m": 2.0}
    soap = replace(Settings.of(SOAP(**base)), r_cut=2 * base["r_cut"], compression="off").applied(SOAP(**base))
    found = soap_arguments(soap)
    assert found["compression"] == {"mode": "off", "species_weighting": {"C": 2.0, "O": 1.0}}
    assert found["weighting"] == {"function": "poly", "r0": 8.0, "c": 1.3, "m": 2.0}


def test_another_weighting_is_refused() -> None:
    soap = SOAP(species=["Cu"], r_cut=4.0, n_max=2, l_max=2, periodic=True)
    with pytest.raises(DescriptorError, match=r"weighted by a polynomial.*weighting=.*'r0': 4\.0"):
        Settings.of(soap)
