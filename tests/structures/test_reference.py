"""Isolated-atom energies."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures import isolated_atom_energies, label_structures, read_structures
from kernpot.structures.reference import with_atoms_isolated

TRUE = {1: -13.6, 6: -1029.5, 8: -2042.0}
MOLECULES = ("CH4", "H2O", "CO2", "CH3OH", "O2", "C2H6")


def composition_energy(atoms: Atoms) -> float:
    return sum(TRUE[z] for z in atoms.numbers)


def labelled(*structures: Atoms, energies: list[float | None] | None = None):
    return label_structures(structures, energies=energies or [composition_energy(atoms) for atoms in structures])


def test_least_squares_recovers_additive_energies():
    with pytest.warns(KernpotWarning, match="6 compositions"):
        found = isolated_atom_energies(labelled(*map(molecule, MOLECULES)))
    assert list(found) == [1, 6, 8]
    assert found == pytest.approx(TRUE, abs=1e-8)


def test_least_squares_weighs_structures_per_atom():
    """One element: the reference is the mean of the energies per atom, whatever the cell sizes."""
    small, large = bulk("Si"), bulk("Si").repeat(3)
    found = isolated_atom_energies(labelled(small, large, energies=[2 * -5.0, 54 * -5.2]))
    assert found[14] == pytest.approx(-5.1)


def test_single_atom_frames_come_first():
    frames = labelled(Atoms("H"), molecule("H2O"), molecule("H2O2"), energies=[-13.0, -2069.0, -4100.0])
    found = isolated_atom_energies(frames, given={"O": -2040.0, "C": -1000.0})
    assert found == {1: -13.0, 6: -1000.0, 8: -2040.0}
    assert all(type(z) is int and type(energy) is float for z, energy in found.items())


def test_rest_by_least_squares_with_known_fixed():
    frames = labelled(Atoms("H"), molecule("H2O"), energies=[-13.0, -2068.0])
    assert isolated_atom_energies(frames) == pytest.approx({1: -13.0, 8: -2042.0})
    assert isolated_atom_energies(frames, given={8: -2000.0}) == {1: -13.0, 8: -2000.0}


def test_disagreement_with_given_values_is_reported():
    frames = labelled(Atoms("H"), energies=[-13.0])
    with pytest.warns(KernpotWarning, match=r"isolated-atom energy of H: .*-13\.000000 eV, which is used"):
        assert isolated_atom_energies(frames, given={"H": -12.0}) == {1: -13.0}


def test_lowest_of_several_atoms_counts():
    assert isolated_atom_energies(labelled(Atoms("O"), Atoms("O"), energies=[-1.0, -2.0])) == {8: -2.0}


@pytest.mark.parametrize(
    ("atom", "isolated"),
    [
        (Atoms("H"), True),
        (Atoms("H", cell=[3, 3, 3]), True),
        (Atoms("H", cell=[15, 15, 15], pbc=True), True),
        (Atoms("H", cell=[15, 15, 2], pbc=(True, True, False)), True),
        (Atoms("H", cell=[15, 15, 8], pbc=True), False),
        (Atoms("H", cell=[[15, 0, 0], [14, 5, 0], [0, 0, 15]], pbc=True), False),
        (bulk("Po", "sc", a=3.3), False),
    ],
    ids=["free", "cell without pbc", "large box", "open short direction", "short box", "skewed box", "crystal"],
)
def test_what_counts_as_isolated(atom, isolated):
    """A primitive cell of one atom is a crystal; then least squares over both structures decides."""
    other = bulk(atom.symbols[0], "sc", a=2.5).repeat(2)
    found = isolated_atom_energies(labelled(atom, other, energies=[-1.0, 8 * -3.0]))
    assert found[int(atom.numbers[0])] == pytest.approx(-1.0 if isolated else -2.0)


def test_undetermined_compositions_get_the_least_norm():
    """A single stoichiometry tells only the sum; equal shares are the smallest solution."""
    frames = labelled(bulk("NaCl", "rocksalt", a=5.6), energies=[-10.0])
    assert isolated_atom_energies(frames) == pytest.approx({11: -5.0, 17: -5.0})


def test_structures_without_energy_are_ignored():
    frames = labelled(molecule("H2"), molecule("O2"), energies=[-32.0, None])
    assert isolated_atom_energies(frames) == pytest.approx({1: -16.0, 8: 0.0})
    assert isolated_atom_energies(labelled(Atoms("O"), energies=[None])) == {8: 0.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [({"Xx": 1.0}, "'Xx' is no element"), ({0: 1.0}, "0 is no element"), ({"H": np.nan}, "H has nan")],
)
def test_bad_given_energies(given, message):
    with pytest.raises(StructureError, match=message):
        isolated_atom_energies(labelled(molecule("H2")), given=given)


def test_published_isolated_atoms(shared_data):
    folder = shared_data / "acac"
    structures = read_structures([folder / "train_300K.xyz", folder / "isolated_atoms.xyz"])
    found = isolated_atom_energies(label_structures(structures))
    assert list(found) == [1, 6, 8]
    assert found[1] == pytest.approx(-13.568422178253735)


def boxed(length: float, pbc: bool = True, **info: str) -> Atoms:
    return Atoms("Cu", cell=[length] * 3, pbc=pbc, info=info)


@pytest.mark.wrong_input("Labels", "an isolated atom in a box smaller than 12 Å", "read right")
@pytest.mark.parametrize(
    ("atom", "isolated"),
    [
        (boxed(20.0), True),
        (boxed(6.0), True),
        (boxed(4.9), False),
        (boxed(3.0, config_type="IsolatedAtom"), True),
        (boxed(3.0, config_type="isolated_atom"), True),
        (boxed(3.0, config_type="Isolated atoms"), True),
        (boxed(3.0, config_type="sc"), False),
    ],
)
def test_isolated_for_a_model(atom, isolated):
    """One whose images lie beyond the model's cutoff, or that is called so, is taken out of its box."""
    (s,) = with_atoms_isolated(label_structures([atom], [-3.0], stress=[np.zeros(6)]), cutoff=5.0)
    assert bool(s.atoms.pbc.any()) == (not isolated)
    assert s.kinds == (("energy",) if isolated else ("energy", "stress"))
    crystal = label_structures([bulk("Cu", cubic=True)], [-20.0])
    assert isolated_atom_energies([s, *crystal])[29] == pytest.approx(-3.0 if isolated else -4.0)


@pytest.mark.wrong_input("Labels", "several atoms that are called an isolated atom", "refused")
def test_several_atoms_are_not_isolated():
    dimer = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]], info={"config_type": "IsolatedAtom"})
    with pytest.raises(StructureError, match=r"config_type is 'IsolatedAtom', but there are 2 atoms"):
        with_atoms_isolated(label_structures([dimer], [-7.0]), 5.0)


@pytest.mark.wrong_input("Labels", "no isolated atoms, but several compositions", "warned")
def test_missing_isolated_atoms_are_told():
    """With the energies that were fitted instead, and the spread of what determines them."""
    rng = np.random.default_rng(0)
    structures = [molecule(name) for name in MOLECULES * 20]
    noise = 0.1 * rng.normal(size=len(structures))
    energies = [composition_energy(a) + len(a) * e for a, e in zip(structures, noise, strict=True)]
    with pytest.warns(KernpotWarning, match=r"no isolated atoms of H, C, O; .* 6 compositions") as caught:
        found = isolated_atom_energies(labelled(*structures, energies=energies))
    stds = [float(text) for text in re.findall(r"std ([\d.e-]+) eV", str(caught[0].message))]
    counts = np.array([[np.mean(a.numbers == z) for z in TRUE] for a in structures])
    expected = 0.1 * np.sqrt(np.diag(np.linalg.inv(counts.T @ counts)))
    np.testing.assert_allclose(stds, expected, rtol=0.3)
    assert all(abs(found[z] - TRUE[z]) < 4 * std for z, std in zip(TRUE, stds, strict=True))


def test_what_compositions_do_not_determine_is_told():
    salts = [bulk("NaCl", "rocksalt", a=5.6), bulk("NaCl", "rocksalt", a=5.6), bulk("Na", "bcc", a=4.2)]
    salts += [bulk("KCl", "rocksalt", a=6.3).repeat(k) for k in (1, 2)]
    for salt in salts[3:]:
        salt.numbers[salt.numbers == 17] = 35
    with pytest.warns(KernpotWarning, match=r"Na 0\.100 eV \(std .*K .* eV \(not determined by these compositions\)"):
        isolated_atom_energies(labelled(*salts, energies=[-10.0, -10.1, 0.1, -8.0, -64.0]))


def test_one_composition_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        isolated_atom_energies(labelled(bulk("Si"), bulk("Si").repeat(2), energies=[-10.0, -80.0]))
