"""Units that structures name: kernpot's own pass, others are refused, unknown words are told."""

from __future__ import annotations

import warnings

import pytest
from ase import Atoms

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.foreign_units import check_units, warn_of_units_in_keys


def check(kinds: tuple[str, ...] = ("energy", "forces", "stress"), **info: object) -> None:
    check_units([("a.xyz#4", Atoms("H", info=info), kinds)])


@pytest.mark.wrong_input("Labels", "a header that names Hartree, Bohr, kcal/mol, GPa or the like", "refused")
@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("energy_unit", "Hartree"),
        ("energy_units", "kcal/mol"),
        ("unit_energy", "Ry"),
        ("energyUnit", "meV"),
        ("force_unit", "Ha/Bohr"),
        ("forces_unit", "Hartree/Bohr"),
        ("stress_unit", "GPa"),
        ("virial_units", "kbar"),
        ("length_unit", "bohr"),
        ("positions_unit", "nm"),
        ("units", "Hartree"),
        ("units", "a.u."),
        ("units", "atomic"),
        ("units", "real"),
        ("UNITS", {"energy": "eV", "forces": "kJ/mol/nm"}),
    ],
)
def test_foreign_units(key, unit):
    with pytest.raises(StructureError, match=rf"^a\.xyz#4: {key} is .* expected eV and Angstrom"):
        check(**{key: unit})


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("energy_unit", "eV"),
        ("units", "eV, Angstrom"),
        ("units", "metal"),
        ("force_unit", "eV/Å"),
        ("stress_unit", "eV/A^3"),
        ("stress_unit", "eV/ang3"),
        ("dipole_unit", "Debye"),
        ("formula_units", 4),
        ("unit_cell", "primitive"),
        ("community", "Hartree"),
    ],
)
def test_own_and_unrelated_units_pass(key, unit):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(**{key: unit})


def test_a_unit_of_a_label_that_is_not_there_does_not_matter():
    check(kinds=("forces",), energy_unit="Hartree")


@pytest.mark.wrong_input("Labels", "a header that names a unit nobody knows", "warned")
def test_unknown_units_are_told():
    with pytest.warns(KernpotWarning, match=r"1 structures \(from a\.xyz#4 on\) name a unit .*energy_unit='quux'"):
        check(energy_unit="quux")


@pytest.mark.wrong_input("Labels", "a key that names a foreign unit", "warned")
@pytest.mark.parametrize("key", ["energy_Ha", "energy(Hartree)", "forces_Ry_bohr", "stress_GPa", "E-kcal"])
def test_units_in_names_of_keys(key):
    with pytest.warns(KernpotWarning, match="names a unit"):
        warn_of_units_in_keys(["REF_energy", key])


def test_keys_without_units_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_units_in_keys(["REF_energy", "energy_eV", "dft_forces", "energy_Au", "PBE_Si"])
