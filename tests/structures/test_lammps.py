"""Files of LAMMPS: forces of dumps are labels, energies that nobody wrote are none, and elements are never made up."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from kernpot.errors import StructureError
from kernpot.structures import label_structures, read_structures

FORCES = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]])


def dump(columns: str = "id element", first: tuple[str, str] = ("1 Cu", "2 Au"), units: str = "") -> str:
    rows = [f"{start} {i * 2.0} 0.5 0.5 {' '.join(map(str, FORCES[i]))}" for i, start in enumerate(first)]
    frame = [
        *(["ITEM: UNITS", units] if units else []),
        *("ITEM: TIMESTEP", "5", "ITEM: NUMBER OF ATOMS", "2", "ITEM: BOX BOUNDS pp pp ff", "0 4", "0 4", "0 9"),
        f"ITEM: ATOMS {columns} x y z fx fy fz",
        *rows,
    ]
    return "\n".join(frame) + "\n"


@pytest.mark.wrong_input("Files", "energies of 0 eV that a reader makes up for LAMMPS dumps", "read right")
@pytest.mark.parametrize("units", ["", "metal"])
def test_a_dump_has_forces_and_no_energy(tmp_path, units):
    (tmp_path / "md.lammpstrj").write_text(dump(units=units) * 2)
    frames = read_structures(tmp_path / "md.lammpstrj")
    assert [s.kinds for s in label_structures(frames)] == [("forces",), ("forces",)]
    for atoms in frames:
        assert atoms.get_chemical_formula() == "AuCu" and atoms.pbc.tolist() == [True, True, False]
        np.testing.assert_array_equal(atoms.calc.results["forces"], FORCES)


@pytest.mark.wrong_input("Files", "a LAMMPS dump with type numbers in place of elements", "refused")
def test_types_are_no_elements(tmp_path):
    (tmp_path / "md.lammpstrj").write_text(dump("id type", ("1 1", "2 2")))
    with pytest.raises(StructureError, match=r"md\.lammpstrj: does not say which elements .*dump_modify 1 element"):
        read_structures(tmp_path / "md.lammpstrj")


def test_masses_say_which_elements(tmp_path):
    (tmp_path / "md.lammpstrj").write_text(dump("id type mass", ("1 1 63.546", "2 2 196.97")))
    assert read_structures(tmp_path / "md.lammpstrj")[0].get_chemical_symbols() == ["Cu", "Au"]


@pytest.mark.wrong_input("Files", "a LAMMPS dump in units other than eV and Angstrom", "refused")
def test_other_units(tmp_path):
    (tmp_path / "md.lammpstrj").write_text(dump(units="real"))
    with pytest.raises(StructureError, match="is in LAMMPS's units 'real', expected 'metal'"):
        read_structures(tmp_path / "md.lammpstrj")


@pytest.mark.wrong_input("Files", "a LAMMPS data file that does not name its elements", "refused")
def test_data_files(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    write(tmp_path / "named.lammps-data", atoms, format="lammps-data", masses=True)
    assert sorted(read_structures(tmp_path / "named.lammps-data")[0].get_chemical_symbols()) == ["Cl", "Na"]
    write(tmp_path / "bare.lammps-data", atoms, format="lammps-data")
    with pytest.raises(StructureError, match=r"bare\.lammps-data: does not say which elements"):
        read_structures(tmp_path / "bare.lammps-data")
