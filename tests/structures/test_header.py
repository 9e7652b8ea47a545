"""Headers of extended xyz as other programs write them: read as they were meant, or refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures import read_structures
from kernpot.structures.header import readable_header

LATTICE = 'Lattice="4.0 0.0 0.0 0.0 5.0 0.0 0.0 0.5 6.0"'
COLUMNS = "Properties=species:S:1:pos:R:3:forces:R:3"


def only(path: Path, header: str) -> Atoms:
    """The one frame of a file with this header."""
    path.write_text(f"1\n{header}\nCu 0.5 0.5 0.5 0.10000000 0.20000000 -0.30000000\n")
    (atoms,) = read_structures(path)
    return atoms


def right(mark: pytest.MarkDecorator, header: str, pbc: str = "TTT") -> object:
    return pytest.param(header, pbc, marks=mark, id=header)


ANOTHER_CASE = pytest.mark.wrong_input("Files", "header entries of extended xyz in another case", "read right")
ANOTHER_COLUMN = pytest.mark.wrong_input("Files", "columns of extended xyz under other names", "read right")
ANOTHER_PBC = pytest.mark.wrong_input("Files", "pbc as FFF, as a list or as 1 1 0", "read right")
EMPTY_TEXT = pytest.mark.wrong_input("Files", "a text without a value before energy and pbc", "read right")
LOOSE_QUOTE = pytest.mark.wrong_input("Files", "a single quote within a text of a header", "read right")
COMMAS = pytest.mark.wrong_input("Files", "commas between the entries of a header", "read right")


@pytest.mark.parametrize(
    ("header", "pbc"),
    [
        pytest.param(f'{LATTICE} {COLUMNS} energy=-3.25 pbc="T T F"', "TTF", id="as ASE writes it"),
        right(ANOTHER_CASE, f"{LATTICE.lower()} {COLUMNS.lower()} energy=-3.25"),
        right(ANOTHER_CASE, f"{LATTICE.upper()} {COLUMNS} ENERGY=-3.25"),
        right(ANOTHER_CASE, f'{LATTICE} {COLUMNS} Energy=-3.25 PBC="F F F"', "FFF"),
        right(ANOTHER_COLUMN, f"{LATTICE} Properties=element:S:1:Position:R:3:Force:R:3 energy=-3.25"),
        *(
            right(ANOTHER_PBC, f"{LATTICE} {COLUMNS} energy=-3.25 pbc={flags}", pbc)
            for flags, pbc in [
                ("FFF", "FFF"),
                ('"TTF"', "TTF"),
                ('"[True, True, False]"', "TTF"),
                ("[True,True,False]", "TTF"),
                ("(True, True, False)", "TTF"),
                ('"1 1 0"', "TTF"),
                ("110", "TTF"),
                ("false", "FFF"),
                ('"p p f"', "TTF"),
            ]
        ),
        *(
            right(EMPTY_TEXT, f'{LATTICE} {COLUMNS} {text} pbc="F F T"', "FFT")
            for text in [
                "config_type= energy=-3.25",
                'config_type="" energy=-3.25',
                "config_type= energy = -3.25",
                "energy=-3.25 config_type=",
            ]
        ),
        right(LOOSE_QUOTE, f"{LATTICE} {COLUMNS} by=O'Brien energy=-3.25 pbc=FFT", "FFT"),
        right(COMMAS, f'{LATTICE}, {COLUMNS}, energy=-3.25, pbc="F F T"', "FFT"),
        pytest.param(f"{LATTICE} {COLUMNS} free_energy=-3.25", "TTT", id="a free energy alone"),
    ],
)
def test_dialects(tmp_path, header, pbc):
    atoms = only(tmp_path / "a.xyz", header)
    assert "".join("FT"[int(flag)] for flag in atoms.pbc) == pbc
    np.testing.assert_array_equal(atoms.cell.array, [[4, 0, 0], [0, 5, 0], [0, 0.5, 6]])
    assert atoms.calc.results["energy"] == -3.25
    np.testing.assert_array_equal(atoms.calc.results["forces"], [[0.1, 0.2, -0.3]])


def refused(mark: pytest.MarkDecorator, header: str, message: str) -> object:
    return pytest.param(header, message, marks=mark, id=header)


BAD_PBC = pytest.mark.wrong_input("Files", "pbc that cannot be understood", "refused")
OTHER_PBC = pytest.mark.wrong_input("Files", "periodicity under another name", "refused")
OTHER_CELL = pytest.mark.wrong_input("Files", "a cell under another name, or in a remark", "refused")
OPEN_QUOTE = pytest.mark.wrong_input("Files", "a quote in a header that is never closed", "refused")
IN_A_TEXT = pytest.mark.wrong_input("Files", "a text of a header that holds the energy", "refused")
NO_VALUE = pytest.mark.wrong_input("Files", "an energy without a value", "refused")
TWICE = pytest.mark.wrong_input("Files", "two energies of one name", "refused")
WITH_UNIT = pytest.mark.wrong_input("Files", "an energy with its unit", "refused")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        refused(BAD_PBC, f"{LATTICE} {COLUMNS} pbc=yes", "pbc='yes' is not understood"),
        refused(BAD_PBC, f'{LATTICE} {COLUMNS} PBC="T T"', "PBC='T T' is not understood"),
        *(
            refused(OTHER_PBC, f"{LATTICE} {COLUMNS} {other}", "looks like periodicity")
            for other in ('periodic="F F F"', "pbc_x=F", 'boundary="p p f"', 'pbc:"F F F"')
        ),
        *(
            refused(OTHER_CELL, f"{cell} {COLUMNS} energy=-3", "looks like a cell")
            for cell in ('cell="4 0 0 0 4 0 0 0 4"', 'box="[4, 4, 4]"', 'cell_a="4 0 0"', "a=4 b=4 c=4 alpha=90")
        ),
        refused(OTHER_CELL, "# CELL(abcABC): 9.0 9.0 9.0 90 90 90 Step: 0", "looks like a cell"),
        *(
            refused(OPEN_QUOTE, f'{LATTICE} {COLUMNS} {text} energy=-3 pbc="F F F"', "swallows")
            for text in ('config_type="', 'config_type="bulk', "name=[1")
        ),
        refused(IN_A_TEXT, f'{LATTICE} {COLUMNS} name="a energy=-3 b"', "swallows"),
        refused(NO_VALUE, f"{LATTICE} {COLUMNS} energy= pbc=FFF", "'energy' has no value"),
        refused(TWICE, f"{LATTICE} {COLUMNS} energy=-3 energy=-4", "gives 'energy' twice"),
        refused(WITH_UNIT, f"{LATTICE} {COLUMNS} energy=-3.2eV", "energy is not numeric"),
    ],
)
def test_what_is_not_understood_is_refused_by_frame(tmp_path, header, message):
    with pytest.raises(StructureError, match=message) as error:
        only(tmp_path / "a.xyz", header)
    assert "a.xyz#0: " in str(error.value)


@pytest.mark.parametrize(
    "header",
    [
        f'{LATTICE} {COLUMNS} config_type="a \\"b\\" c" data="_JSON {{\\"k\\": [1, 2]}}" pbc="T T F"',
        f'{LATTICE} {COLUMNS} supercell="2 2 2" note="energy=low" plane=(001) done',
        f'cell="4 4 4" {COLUMNS} pbc="F F F"',
        "water, Bob's molecule in a box",
        "",
    ],
)
def test_right_headers_stay_as_they_are(header):
    assert readable_header(header, "a.xyz#0") == header


def test_rewritten_headers_keep_their_other_entries(tmp_path):
    text = f'{COLUMNS.lower()} {LATTICE} name="a \\"b\\" c" data="_JSON {{\\"k\\": [1, 2]}}" at=(001) x=[1,2] done'
    info = only(tmp_path / "a.xyz", text).info
    assert info["name"] == 'a "b" c' and info["data"] == {"k": [1, 2]} and info["at"] == "(001)"
    assert info["done"] is True
    np.testing.assert_array_equal(info["x"], [1, 2])


def test_all_frames_and_compressed_files(tmp_path):
    whole = f"1\n{LATTICE.lower()} {COLUMNS}\nCu 0 0 0 0.1 0.2 0.3\n"
    with gzip.open(tmp_path / "a.xyz.gz", "wt") as file:
        file.write(whole + whole.replace("pbc", "") + whole.replace("lattice", "cell"))
    with pytest.raises(StructureError, match=r"/a\.xyz\.gz#2: 'cell' looks like a cell"):
        read_structures(tmp_path / "a.xyz.gz")


@pytest.mark.wrong_input("Files", "columns that the header does not name", "warned")
def test_columns_without_a_name_are_told(tmp_path):
    with pytest.warns(KernpotWarning, match=r"1 of 1 structures \(from a\.xyz#0 on\) have columns that their header"):
        only(tmp_path / "a.xyz", f"{LATTICE} energy=-3.25")


def test_what_kernpot_and_ase_write_is_read_without_a_word(tmp_path):
    atoms = Atoms("Cu", cell=[4, 5, 6], pbc=(True, False, True), info={"config_type": "", "by": "it's", "x": [1, 2]})
    write(tmp_path / "a.xyz", atoms)
    (found,) = read_structures(tmp_path / "a.xyz")
    assert found.pbc.tolist() == [True, False, True] and found.info["by"] == "it's"
