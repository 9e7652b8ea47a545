"""Structures that occur more than once."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.errors import KernpotWarning
from kernpot.structures.labels import label_structures
from kernpot.structures.repeats import repeats, without_repeats
from tests.helpers.systems import cluster, crystals, labelled, slab, soap


def again(atoms: Atoms, shift: float = 0.0, wrap: bool = False, **changed: object) -> Atoms:
    """The same structure elsewhere, with its labels, some of them changed."""
    copy = Atoms(atoms.numbers, atoms.positions + shift, cell=atoms.cell, pbc=atoms.pbc)
    if wrap:
        copy.wrap()
    copy.calc = SinglePointCalculator(copy, **{**atoms.calc.results, **changed})
    return copy


@pytest.mark.parametrize("make", [lambda: crystals(1)[0], lambda: labelled(slab()), lambda: labelled(cluster())])
def test_same_but_for_a_shift_and_rounding(make):
    one = make()
    three = [one, again(one, 0.7, wrap=True), again(one, energy=one.get_potential_energy() + 1e-8)]
    assert repeats(label_structures(three)) == [(0, 1), (0, 2)]


def test_other_labels_or_atoms_are_other_structures():
    one, *others = crystals(4)
    moved = again(one)
    moved.positions[0, 0] += 0.01
    moved.calc = SinglePointCalculator(moved, **one.calc.results)
    others += [moved, again(one, energy=one.get_potential_energy() + 0.01), again(one, forces=-one.get_forces())]
    fewer = again(one)
    del fewer.calc.results["forces"]
    swapped = again(one)
    swapped.numbers[0] = 47
    swapped.calc = SinglePointCalculator(swapped, **one.calc.results)
    assert repeats(label_structures([one, *others, fewer, swapped])) == []


def test_labels_are_learnt_once():
    frames = crystals(6)
    settings = {"descriptor": soap(["Cu"]), "n_inducing": 12, "random_state": 0}
    once = SparseGPPotential(**settings).fit(frames)
    with pytest.warns(KernpotWarning, match=r"6 of 12 structures occur a second time .*structures\[6\] on"):
        twice = SparseGPPotential(**settings).fit([*frames, *(again(a) for a in frames)])
    new = crystals(1, seed=9)
    first, second = (gp.predict_full(new)[0].forces for gp in (once, twice))
    np.testing.assert_array_equal(second.std, first.std)
    np.testing.assert_array_equal(second.mean, first.mean)
    assert twice.summary_["data"] == once.summary_["data"]


def test_networks_do_not_hold_out_what_they_learn():
    frames = crystals(12)
    with pytest.warns(KernpotWarning, match="12 of 24 structures"):
        nnp = NNPEnsemble(soap(["Cu"]), n_members=2, max_epochs=1, random_state=0).fit([*frames, *map(again, frames)])
    assert nnp.summary_["data"]["structures"] == 12


def test_order_is_kept():
    a, b, c = crystals(3)
    with pytest.warns(KernpotWarning, match="2 of 5"):
        kept = without_repeats(label_structures([a, b, again(a), c, again(b)]))
    assert [s.source for s in kept] == ["structures[0]", "structures[1]", "structures[3]"]


def test_other_noise_or_other_arrays_are_others():
    one = crystals(1)[0]
    trusted, marked = again(one), again(one)
    trusted.info["noise_scale"] = 0.1
    marked.arrays["fingerprint"] = np.ones((len(one), 2))
    assert repeats(label_structures([one, trusted, marked])) == []


def test_noise_of_a_group_that_was_a_copy_is_no_mistake():
    frames = crystals(6)
    copies = [again(a) for a in frames[:2]]
    for atoms in copies:
        atoms.info["config_type"] = "copied"
    noise = {"energy": 0.01, "config_type": {"copied": {"energy": 0.01}}}
    settings = {"descriptor": soap(["Cu"]), "n_inducing": 12, "noise": noise, "random_state": 0}
    with pytest.warns(KernpotWarning, match="2 of 8"):
        SparseGPPotential(**settings).fit([*frames, *copies])
