"""Labels that a part of a set lacks are told, with the name that may be theirs; whole sets are silent."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kernpot.errors import KernpotWarning
from kernpot.structures import label_structures, read_structures
from kernpot.structures.counts import count_by_file, counts_in_words
from kernpot.structures.missing import warn_of_missing


def frame(**results: object) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    given = {"energy": -1.0, "forces": np.full((4, 3), 0.5), "stress": np.ones(6)} | results
    atoms.calc = SinglePointCalculator(atoms, **{kind: value for kind, value in given.items() if value is not None})
    return atoms


def told(frames: list[Atoms]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", KernpotWarning)
        warn_of_missing([(s.source, s.atoms, s.kinds) for s in label_structures(frames)])
    return [str(entry.message) for entry in caught]


@pytest.mark.wrong_input("Labels", "half of the structures without forces", "warned")
def test_half_a_set_without_forces():
    (message,) = told([frame(), frame(), frame(forces=None), frame(forces=None)])
    assert message.startswith("2 of 4 structures of several atoms (from structures[2] on) have no forces")


@pytest.mark.wrong_input("Labels", "some structures without any label", "warned")
def test_structures_without_any_label():
    (message,) = told([frame(), frame(energy=None, forces=None, stress=None)])
    assert message == "1 of 2 structures (from structures[1] on) have no label and are left out."


@pytest.mark.wrong_input("Labels", "labels under another name in a part of the files", "warned")
@pytest.mark.parametrize(
    ("kind", "place", "name"),
    [
        ("energy", "info", "REF_energy"),
        ("energy", "info", "energy_Ha"),
        ("energy", "info", "TotEnergy"),
        ("energy", "info", "E"),
        ("forces", "arrays", "dft_forces"),
        ("forces", "arrays", "gradient"),
        ("stress", "info", "REF_virial"),
    ],
)
def test_other_names_are_told(kind, place, name):
    other = frame()
    getattr(other, place)[name] = other.calc.results.pop(kind)
    (message,) = told([frame(), other])
    assert message.startswith(f"1 of 2 structures (from structures[1] on) have no {kind}, but {name!r}, which is not")
    assert f"give {name!r} as the key of the {kind}" in message


def test_right_sets_are_silent():
    atom = Atoms("Cu", cell=[9, 9, 9])
    atom.calc = SinglePointCalculator(atom, energy=0.5)
    others = frame(stress=None)
    others.info |= {"energy_std": 0.1, "kinetic_energy": 1.0, "energy_cutoff": 500.0, "stress_doubtful": np.ones(6)}
    others.arrays["forces_std"] = np.ones((4, 3))
    slab = frame(stress=None)
    slab.pbc = (True, True, False)
    slab.calc.atoms.pbc = slab.pbc
    slab.info["virial_old"] = np.ones(9)
    assert told([atom, frame(), frame(), others, slab]) == []
    assert told([frame(forces=None), frame(forces=None)]) == []
    few = [frame(forces=None), frame(energy=None, forces=None, stress=None)]
    assert told([*(frame() for _ in range(8)), *few]) == []


def test_unlabelled_structures_are_silent():
    """Files of simulations hold what looks like a label; nobody learns from them."""
    atoms = bulk("Cu")
    atoms.info["E"] = -3.0
    assert told([atoms]) == []


def test_a_missing_named_key_beside_the_standard_one_is_told(tmp_path):
    named = frame()
    named.info["REF_energy"] = named.calc.results.pop("energy")
    write(tmp_path / "a.xyz", [frame(), named])
    keys = {"energy_key": "REF_energy", "forces_key": "forces", "stress_key": "stress"}
    with pytest.warns(KernpotWarning, match=r"1 of 2 structures \(from a\.xyz#0 on\) have no 'REF_energy', but energy"):
        read_structures(tmp_path / "a.xyz", **keys)


def test_counts_by_file():
    counts = count_by_file([("a.xyz#0", ("energy", "forces")), ("b#1.xyz#0", ()), ("a.xyz#1", ("energy", "dipole"))])
    assert counts == {
        "a.xyz": {"structures": 2, "energy": 2, "forces": 1, "stress": 0, "dipole": 1},
        "b#1.xyz": {"structures": 1, "energy": 0, "forces": 0, "stress": 0},
    }
    assert counts_in_words(counts["a.xyz"]) == "2 structures: energy 2, forces 1, stress 0, dipole 1"
    assert list(count_by_file([("structures[0]", ())])) == ["(no file)"]
