"""Files whose last number is cut short are refused; whole files without a newline at their end are not."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kernpot.errors import StructureError
from kernpot.structures import read_structures
from kernpot.structures.endings import require_whole_end


@pytest.fixture
def text(tmp_path, rng) -> str:
    frames = []
    for _ in range(2):
        atoms = bulk("Cu", cubic=True)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=rng.normal(size=(4, 3)))
        frames.append(atoms)
    write(tmp_path / "whole.xyz", frames)
    return (tmp_path / "whole.xyz").read_text()


@pytest.mark.wrong_input("Files", "a file whose last number is cut short", "refused")
@pytest.mark.parametrize("compressed", [False, True])
def test_a_cut_number_is_refused_wherever_it_is_cut(tmp_path, text, compressed):
    path = tmp_path / ("cut.xyz.gz" if compressed else "cut.xyz")
    end = len(text.rstrip("\n"))
    for lost in range(1, 9):  # up to the point: with it the number is none, or another one
        cut = text[: end - lost].encode()
        path.write_bytes(gzip.compress(cut) if compressed else cut)
        with pytest.raises(StructureError, match=r"cut\.xyz.*: ends within a line, and its last word .* is cut short"):
            read_structures(path)


def test_whole_files_without_a_newline_are_read(tmp_path, text):
    path = tmp_path / "whole.xyz"
    expected = [atoms.calc.results["forces"] for atoms in read_structures(path)]
    for end in ("", " ", "\r\n", "\n\n"):
        path.write_text(text.rstrip("\n") + end, newline="")
        np.testing.assert_array_equal([atoms.calc.results["forces"] for atoms in read_structures(path)], expected)


@pytest.mark.wrong_input("Files", "an atom cut off a POSCAR or a LAMMPS dump in its last number", "refused")
@pytest.mark.parametrize("name", ["POSCAR", "a.cif", "md.lammpstrj"])
def test_other_text_formats(tmp_path, name):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    if name.endswith("lammpstrj"):
        rows = "\n".join(f"{i + 1} Cu {x:.9f} {y:.9f} {z:.9f}" for i, (x, y, z) in enumerate(atoms.positions + 1))
        box = "0 3.61\n" * 3
        head = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n4\nITEM: BOX BOUNDS pp pp pp\n"
        (tmp_path / name).write_text(f"{head}{box}ITEM: ATOMS id element x y z\n{rows}\n")
    else:
        write(tmp_path / name, atoms)
    whole = (tmp_path / name).read_text().rstrip()
    (tmp_path / name).write_text(whole)
    assert len(read_structures(tmp_path / name)[0]) == 4
    (tmp_path / name).write_text(whole[:-3])
    with pytest.raises(StructureError, match="ends within a line"):
        read_structures(tmp_path / name)


@pytest.mark.parametrize(
    ("column", "last", "whole"),
    [
        (["0.12345678", "-1.00000000"], "-2.3456", False),
        (["0.12345678", "-1.00000000"], "-2", False),
        (["0.12345678", "-1.00000000"], "-2.34567891", True),
        (["1.50000000e-05", "2.00000000e-03"], "1.50000000e-0", False),
        (["1.50000000e-05", "2.00000000e-03"], "1.50000000", False),
        (["1.50000000e-05", "2.00000000e-03"], "1.50000000e-07", True),
        # as many digits as each number needs
        (["0.1234567890123", "-1.0", "0.25", "0.98765432101234", "0.1112223334445"], "0.98", False),
        (["0.1234567890123", "-1.0", "0.25", "0.98765432101234", "0.1112223334445"], "0.987654321", True),
        # typed by hand
        (["0.25", "0.5"], "0.5", True),
        (["0", "0"], "0.74", True),
        (["T", "F"], "F", True),
        (["Cu", "O"], "C", False),
        (["Cu", "C"], "C", True),
        (["1", "2", "3"], "4", True),
        ([], "0.5", True),
    ],
)
def test_what_the_column_says_of_its_last_word(column, last, whole):
    text = "header\n" + "".join(f"a {word}\n" for word in column) + f"a {last}"
    if whole:
        require_whole_end(text, "a.xyz")
    else:
        with pytest.raises(StructureError, match=f"last word '{last}'"):
            require_whole_end(text, "a.xyz")


def test_the_only_row_is_compared_with_its_own_numbers():
    with pytest.raises(StructureError, match=r"'0\.1'"):
        require_whole_end("1\nremark\nCu 0.12345678 0.12345678 0.1", "a.xyz")
