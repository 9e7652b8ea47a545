"""Reading files: formats, named keys, virials, damaged files."""

from __future__ import annotations

import gzip
from pathlib import Path

import ase.db
import ase.test
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import voigt_6_to_full_3x3_stress

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures import label_structures, read_structures


@pytest.fixture
def frames() -> list[Atoms]:
    """A strained crystal with all labels, a molecule with energy and forces, an isolated atom, an unlabelled dimer."""
    crystal = bulk("Cu", cubic=True)
    crystal.set_cell(crystal.cell.array @ np.array([[1.03, 0.01, 0], [0, 1.02, 0], [0, 0.02, 0.99]]), True)
    crystal.rattle(0.05, seed=3)
    water = molecule("H2O")
    labelled = []
    for atoms in (crystal, water, Atoms("Cu")):
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if atoms.pbc.all():
            results["stress"] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **results)
        labelled.append(atoms)
    labelled[0].info["config_type"] = "bulk"
    return [*labelled, molecule("O2")]


def renamed(frames: list[Atoms], names: dict[str, str]) -> list[Atoms]:
    """Frames with labels moved from the calculator to info and arrays under other names."""
    moved = []
    for atoms in frames:
        copy = atoms.copy()
        for kind, value in (atoms.calc.results if atoms.calc else {}).items():
            if kind == "forces":
                copy.arrays[names[kind]] = value
            else:
                copy.info[names[kind]] = value
        moved.append(copy)
    return moved


def assert_same_labels(read: list[Atoms], frames: list[Atoms], atol: float = 1e-7) -> None:
    assert len(read) == len(frames)
    for got, expected in zip(read, frames, strict=True):
        np.testing.assert_array_equal(got.numbers, expected.numbers)
        np.testing.assert_allclose(got.positions, expected.positions, atol=atol)
        results = expected.calc.results if expected.calc else {}
        assert set(got.calc.results if got.calc else {}) == set(results)
        for kind, value in results.items():
            np.testing.assert_allclose(got.calc.results[kind], value, atol=atol)


@pytest.mark.parametrize("name", ["train.xyz", "train.extxyz", "train.xyz.gz", "train.traj", "train.db", "train.json"])
def test_formats_carry_labels_and_sources(tmp_path, frames, name):
    write(tmp_path / name, frames)
    read = read_structures(tmp_path / name)
    assert_same_labels(read, frames)
    assert [atoms.info["source"] for atoms in read] == [f"{name}#{i}" for i in range(4)]
    assert [entry.kinds for entry in label_structures(read)] == [
        ("energy", "forces", "stress"),
        ("energy", "forces"),
        ("energy", "forces"),
        (),
    ]


def test_outcar():
    path = Path(ase.test.__file__).parent / "testdata" / "vasp" / "OUTCAR_example_1"
    if not path.exists():
        pytest.skip("this ASE was installed without its test data")
    read = read_structures(path)
    assert {"energy", "forces", "stress"} == set(read[0].calc.results)
    assert read[0].info["source"] == "OUTCAR_example_1#0"


def test_info_and_config_type_survive(tmp_path, frames):
    write(tmp_path / "a.xyz", frames)
    read = read_structures(str(tmp_path / "a.xyz"))
    assert read[0].info["config_type"] == "bulk"
    assert [entry.config_type for entry in label_structures(read)] == ["bulk", "", "", ""]


def test_several_files_keep_order_and_stay_distinguishable(tmp_path, frames):
    for folder in ("si", "mo"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "train.xyz", frames[:2])
    write(tmp_path / "other.xyz", frames[2:])
    read = read_structures([tmp_path / "si" / "train.xyz", tmp_path / "other.xyz", tmp_path / "mo" / "train.xyz"])
    assert_same_labels(read, [*frames[:2], *frames[2:], *frames[:2]])
    sources = [atoms.info["source"] for atoms in read]
    assert sources[2:4] == ["other.xyz#0", "other.xyz#1"]
    assert sources[0] == f"{tmp_path / 'si' / 'train.xyz'}#0"
    assert len(set(sources)) == 6


@pytest.mark.parametrize("name", ["train.xyz", "train.xyz.gz"])
def test_named_keys(tmp_path, frames, name):
    names = {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"}
    write(tmp_path / name, renamed(frames, names))
    assert all(atoms.calc is None for atoms in read_structures(tmp_path / name))
    keys = {f"{kind}_key": key for kind, key in names.items()}
    read = read_structures(tmp_path / name, **keys)
    assert_same_labels(read, frames)
    assert "REF_energy" in read[0].info


def test_named_keys_of_a_database(tmp_path, frames):
    with ase.db.connect(tmp_path / "a.db") as database:
        for atoms in frames[:2]:
            results = atoms.calc.results
            database.write(
                atoms.copy(), dft_energy=results["energy"], config_type="solid", data={"dft_forces": results["forces"]}
            )
    read = read_structures(tmp_path / "a.db", energy_key="dft_energy", forces_key="dft_forces")
    for got, expected in zip(read, frames, strict=False):
        assert got.calc.results["energy"] == pytest.approx(expected.calc.results["energy"])
        np.testing.assert_allclose(got.calc.results["forces"], expected.calc.results["forces"])
    assert label_structures(read)[0].config_type == "solid"


def test_key_in_the_calculator_and_frames_without_it(tmp_path, frames):
    for atoms in frames[:2]:
        atoms.calc.results["free_energy"] = atoms.calc.results["energy"] - 1
    write(tmp_path / "a.traj", frames)
    with pytest.warns(KernpotWarning, match=r"1 of 4 structures \(from a\.traj#2 on\) have no 'free_energy'"):
        read = read_structures(tmp_path / "a.traj", energy_key="free_energy", forces_key="forces", stress_key="stress")
    energies = [entry.energy for entry in label_structures(read)]
    assert energies[0] == pytest.approx(frames[0].calc.results["energy"] - 1)
    assert energies[2:] == [None, None]


def test_unnamed_labels_next_to_named_ones_are_reported(tmp_path, frames):
    for atoms in frames:
        atoms.info["energy_S1"] = 7.0
    write(tmp_path / "a.xyz", frames)
    with pytest.warns(
        KernpotWarning, match='energy come from named keys, but forces and stress .* forces_key="forces"'
    ):
        read_structures(tmp_path / "a.xyz", energy_key="energy_S1")
    read = read_structures(tmp_path / "a.xyz", energy_key="energy_S1", forces_key="forces", stress_key="stress")
    assert read[0].calc.results["energy"] == 7.0
    np.testing.assert_allclose(read[0].calc.results["forces"], frames[0].calc.results["forces"], atol=1e-7)


def test_absent_key_names_those_that_exist(tmp_path, frames):
    write(tmp_path / "a.xyz", renamed(frames, {"energy": "dft_energy", "forces": "dft_forces", "stress": "s"}))
    with pytest.raises(StructureError, match=r"a\.xyz: 'REF_energy' occurs in none of the 4") as error:
        read_structures(tmp_path / "a.xyz", energy_key="REF_energy")
    assert "dft_energy" in str(error.value)
    assert "arrays: dft_forces" in str(error.value)


@pytest.mark.parametrize("form", ["3x3", "9", "6"])
@pytest.mark.parametrize("key", ["virial", "virials", "REF_virial"])
def test_virial_becomes_stress(tmp_path, frames, key, form):
    crystal = frames[0]
    stress = crystal.calc.results["stress"]
    virial = -voigt_6_to_full_3x3_stress(stress) * crystal.get_volume()
    bare = crystal.copy()
    bare.info[key] = {"3x3": virial, "9": virial.ravel(), "6": -stress * crystal.get_volume()}[form]
    write(tmp_path / "a.traj", [bare])
    (read,) = read_structures(tmp_path / "a.traj", stress_key="REF_virial" if key == "REF_virial" else None)
    np.testing.assert_allclose(read.calc.results["stress"], stress, rtol=1e-12)


def test_virial_of_an_extxyz_file_has_the_sign_of_an_energy_derivative(tmp_path):
    """A compressed crystal wants to expand: virial > 0, ASE stress < 0."""
    atoms = bulk("Cu")
    atoms.set_cell(atoms.cell.array * 0.95, scale_atoms=True)
    atoms.calc = EMT()
    pressure = -atoms.get_stress()[:3].mean()
    assert pressure > 0
    bare = atoms.copy()
    bare.info["virial"] = np.eye(3) * pressure * atoms.get_volume()
    write(tmp_path / "a.xyz", bare)
    (read,) = read_structures(tmp_path / "a.xyz")
    np.testing.assert_allclose(read.calc.results["stress"], atoms.get_stress(), atol=1e-7)


def test_virial_of_a_molecule_is_ignored_with_one_warning(tmp_path, frames):
    for atoms in frames:
        atoms.info["virial"] = np.eye(3)
    del frames[0].calc.results["stress"]
    write(tmp_path / "a.xyz", frames[:2])
    write(tmp_path / "b.xyz", frames[2:])
    with pytest.warns(KernpotWarning) as caught:
        read = read_structures([tmp_path / "a.xyz", tmp_path / "b.xyz"])
    (message,) = (str(entry.message) for entry in caught)
    assert message.startswith("3 of 4 structures (from a.xyz#1 on) have a stress or virial, but are not periodic")
    kinds = [entry.kinds for entry in label_structures(read)]
    assert kinds == [("energy", "forces", "stress"), ("energy", "forces"), ("energy", "forces"), ()]


def test_virial_of_a_molecule_that_was_asked_for_is_left_out_as_well(tmp_path, frames):
    """On the command line there would be no way round a refusal."""
    frames[0].info["virial"] = frames[1].info["virial"] = np.eye(3)
    write(tmp_path / "a.xyz", frames)
    keys = {"energy_key": "energy", "forces_key": "forces", "stress_key": "virial"}
    with pytest.warns(KernpotWarning, match=r"1 of 4 structures \(from a\.xyz#1 on\) have a stress or virial"):
        read = read_structures(tmp_path / "a.xyz", **keys)
    assert [entry.kinds for entry in label_structures(read)][:2] == [
        ("energy", "forces", "stress"),
        ("energy", "forces"),
    ]


def test_bad_labels_name_file_and_frame(tmp_path, frames):
    frames[1].calc.results["energy"] = np.nan
    write(tmp_path / "a.xyz", frames)
    with pytest.raises(StructureError, match=r"a\.xyz#1: energy has 1 NaN"):
        read_structures(tmp_path / "a.xyz")
    for atoms in frames:
        atoms.arrays["two"] = np.zeros((len(atoms), 2))
    write(tmp_path / "b.xyz", renamed(frames, {"energy": "energy", "forces": "f", "stress": "stress"}))
    with pytest.raises(StructureError, match=r"b\.xyz#0: forces have shape \(4, 2\), expected \(4, 3\)"):
        read_structures(tmp_path / "b.xyz", energy_key="energy", forces_key="two", stress_key="stress")


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(StructureError, match=r"nowhere\.xyz: no such file"):
        read_structures(tmp_path / "nowhere.xyz")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(StructureError, match=r"empty\.xyz: "):
        read_structures(tmp_path / "empty.xyz")
    with pytest.raises(StructureError, match="expected at least one path"):
        read_structures([])


@pytest.mark.parametrize("name", ["a.xyz", "a.xyz.gz", "a.traj", "a.db", "a.json"])
def test_truncated_files(tmp_path, frames, name):
    path = tmp_path / name
    write(path, frames)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.7)])
    with pytest.raises(StructureError, match=rf"{name}(#\d)?: cannot be read .*The reader says: \w+"):
        read_structures(path)


@pytest.mark.parametrize("missing_lines", [1, 2, 3])
def test_truncated_in_the_last_frame(tmp_path, frames, missing_lines):
    path = tmp_path / "a.xyz"
    write(path, frames[:2])
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-missing_lines]))
    with pytest.raises(StructureError, match=r"a\.xyz#1: cannot be read"):
        read_structures(path)


@pytest.mark.parametrize("name", ["a.xyz", "a.xyz.gz"])
def test_damaged_frame_is_named(tmp_path, frames, name):
    write(tmp_path / "whole.xyz", [frames[0], frames[1], frames[1], frames[1]])
    lines = (tmp_path / "whole.xyz").read_text().splitlines(keepends=True)
    number, header, third = lines.copy(), lines.copy(), 4 + 2 + 2 * 5
    first = lines.copy()
    number[third - 1] = number[third - 1].replace(".", "?")
    header[third] = "three\n"
    first[2] = first[2].replace(".", "?")
    for damaged, index in ((number, 2), (header, 3), (lines[:-1], 3), (first, 0)):
        text = "".join(damaged).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        with pytest.raises(StructureError, match=rf"{name}#{index}: cannot be read"):
            read_structures(tmp_path / name)


def test_blank_line_between_frames_does_not_lose_the_rest(tmp_path, frames):
    path = tmp_path / "a.xyz"
    write(path, frames[:2])
    whole = path.read_text()
    path.write_text(whole + "\n  \n")
    assert len(read_structures(path)) == 2
    path.write_text(whole + "\n" + whole)
    with pytest.raises(StructureError, match=r"a\.xyz: the reader stopped after 2 structures, at a blank line"):
        read_structures(path)


@pytest.mark.parametrize("name", ["paper.pdf", "a.xyz", "a.traj", "a.db", "a.json", "a.xyz.gz", "OUTCAR"])
def test_foreign_files(tmp_path, name):
    text = b"%PDF-1.7 not a structure at all\n" * 20
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    with pytest.raises(StructureError, match=rf"{name}: "):
        read_structures(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "n_frames", "kinds"),
    [
        ("mlearn/Si_test.xyz", 25, {"energy", "forces", "stress"}),
        ("acac/isolated_atoms.xyz", 3, {"energy", "forces"}),
        ("nbmotaw/train.xyz.gz", 2324, {"energy", "forces", "stress"}),
    ],
)
def test_published_data(shared_data, path, n_frames, kinds):
    labelled = label_structures(read_structures(shared_data / path))
    assert len(labelled) == n_frames
    assert set().union(*(entry.kinds for entry in labelled)) == kinds
    for entry in labelled:
        assert entry.energy is not None
        assert entry.source.startswith(Path(path).name)
        assert not ("Surface" in entry.config_type and entry.stress is not None)
