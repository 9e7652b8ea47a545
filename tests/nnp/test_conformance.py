"""The ensemble holds what the Gaussian process holds: the public conformance suite, in every periodicity."""

from __future__ import annotations

import pytest
from ase import Atoms
from dscribe.descriptors import ACSF

from kernpot import NNPEnsemble
from kernpot.testing import check_potential
from tests.helpers.systems import cluster, crystals, slab, small_molecule, soap

SMALL = {"hidden": (8, 8), "n_members": 4, "max_epochs": 200, "random_state": 0}


def alloy_frames() -> list[Atoms]:
    return [*crystals(14, symbols="Cu3Au"), slab(), slab(2), cluster("Cu3Au"), cluster("Cu3Au", 4)]


def wire() -> Atoms:
    atoms = crystals(1, 3, symbols="Cu3Au")[0]
    atoms.pbc = [False, False, True]
    return atoms


@pytest.mark.slow
def test_an_alloy_and_a_cluster_of_it() -> None:
    nnp = NNPEnsemble(soap(["Cu", "Au"]), **(SMALL | {"max_epochs": 50})).fit(alloy_frames())
    check_potential(nnp, [cluster("Cu3Au", 5)])


@pytest.mark.slow
@pytest.mark.parametrize("uncertainty", ["ensemble", "shallow", "last_layer"])
def test_alloy_in_every_periodicity(uncertainty: str) -> None:
    nnp = NNPEnsemble(soap(["Cu", "Au"]), uncertainty=uncertainty, **SMALL).fit(alloy_frames())
    check_potential(nnp, [crystals(1, 9, symbols="Cu3Au")[0], slab(3), wire(), cluster("Cu3Au", 5), Atoms("Cu")])


@pytest.mark.slow
def test_symmetry_functions() -> None:
    acsf = ACSF(
        r_cut=4.5,
        g2_params=[[0.1, 0.0], [1.0, 0.0], [1.0, 2.5]],
        g4_params=[[0.05, 1.0, 1.0], [0.05, 1.0, -1.0]],
        species=["Cu", "Au"],
        periodic=True,
    )
    nnp = NNPEnsemble(acsf, **SMALL).fit(alloy_frames())
    check_potential(nnp, [crystals(1, 9, symbols="Cu3Au")[0], cluster("Cu3Au", 5)])


@pytest.mark.slow
def test_molecule_with_default_descriptor() -> None:
    frames = [small_molecule("CO", seed) for seed in range(6)] + [small_molecule("CO2", seed) for seed in range(6)]
    check_potential(NNPEnsemble(**SMALL).fit(frames), frames[:1])
