"""Sites that are not occupied by one whole atom."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

from kernpot.errors import StructureError
from kernpot.structures import label_structures, read_structures
from kernpot.structures.occupancy import check_occupancy

CIF = """data_x
_cell_length_a 3.6
_cell_length_b 3.6
_cell_length_c 3.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
"""


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        pytest.param(
            "Cu1 Cu 0 0 0 0.6\nNi1 Ni 0 0 0 0.4\n",
            r"alloy\.cif#0: site 0 is occupied by Cu 0\.6, Ni 0\.4",
            marks=pytest.mark.wrong_input("Files", "a CIF file with sites that elements share", "refused"),
        ),
        pytest.param(
            "Cu1 Cu 0 0 0 0.9\n",
            r"site 0 is occupied by Cu 0\.9",
            marks=pytest.mark.wrong_input("Files", "a CIF file with sites that are partly empty", "refused"),
        ),
    ],
)
def test_partial_occupancies_of_a_cif_file(tmp_path, sites, message):
    (tmp_path / "alloy.cif").write_text(CIF + sites)
    with pytest.raises(StructureError, match=message):
        read_structures(tmp_path / "alloy.cif")


def test_whole_occupancies_pass(tmp_path):
    (tmp_path / "alloy.cif").write_text(CIF + "Cu1 Cu 0 0 0 1.0\nNi1 Ni 0.5 0 0 1.0\n")
    assert read_structures(tmp_path / "alloy.cif")[0].get_chemical_formula() == "Cu4Ni4"


def test_structures_in_python_and_disorder_that_was_resolved():
    atoms = crystal("Cu", [(0, 0, 0)], spacegroup=225, cellpar=[3.6, 3.6, 3.6, 90, 90, 90])
    atoms.info["occupancy"] = {"0": {"Cu": 0.75, "Ni": 0.25}}
    with pytest.raises(StructureError, match=r"structures\[0\]: site 0 is occupied by"):
        label_structures([atoms])
    atoms.symbols[2] = "Ni"
    check_occupancy(atoms, "a")


def test_occupancies_of_atoms():
    atoms = bulk("Cu", cubic=True)
    for whole in (np.ones(4), np.zeros(4)):
        atoms.arrays["occupancy"] = whole
        check_occupancy(atoms, "a")
    atoms.arrays["occupancy"] = np.array([1, 1, 0.5, 1])
    with pytest.raises(StructureError, match=r"a: atom 2 has an occupancy of 0\.5"):
        check_occupancy(atoms, "a")
