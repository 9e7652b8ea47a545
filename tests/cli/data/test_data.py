"""`kernpot data`: looking at structures, parting them, choosing and converting."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from typer.testing import CliRunner

from kernpot import read_structures
from kernpot.cli.app import app
from kernpot.structures.identity import identity
from tests.helpers.systems import crystals, labelled


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["data", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    """Two groups, one lone atom, one copy."""
    found = crystals(19, seed=3)
    for k, atoms in enumerate(found):
        atoms.info |= {"config_type": "one" if k < 12 else "two", "run": k // 5}
    found.append(found[0].copy())
    found[-1].calc = found[0].calc
    atom = labelled(Atoms("Cu", cell=[20, 20, 20], pbc=True), ("energy", "forces"))
    atom.info["config_type"] = "atom"
    return [*found, atom]


@pytest.fixture(scope="module")
def file(frames: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "all.xyz"
    write(path, frames)
    return path


def test_inspect_counts_and_names_what_is_odd(file: Path, tmp_path: Path) -> None:
    told = run("inspect", file, "--report", tmp_path)
    assert "21 structures, 81 atoms" in told and "two 7 28 7 7 7" in told
    assert "1 structures are exact copies of others, from all.xyz#0 and all.xyz#19" in told
    assert "Every element has the energy of an isolated atom" in told
    page = (tmp_path / "inspection.html").read_text()
    assert page.count("<img ") == 3 and "all.xyz#19" in page and not re.search("https?:", page)


@pytest.mark.wrong_input("Labels", "one energy far from all others", "warned")
def test_inspect_names_outliers_copies_that_contradict_and_files_without_forces(
    frames: list[Atoms], tmp_path: Path
) -> None:
    wrong = [atoms.copy() for atoms in frames]
    for own, atoms in zip(wrong, frames, strict=True):
        own.calc = type(atoms.calc)(own, **atoms.calc.results)
    wrong[3].calc.results["energy"] += 40.0
    wrong[19].calc.results["energy"] += 0.5
    write(tmp_path / "a.xyz", wrong)
    del wrong[5].calc.results["forces"]
    wrong[5].set_array("REF_forces", np.zeros((4, 3)))
    write(tmp_path / "b.xyz", wrong[5])
    told = run("inspect", tmp_path / "a.xyz", tmp_path / "b.xyz")
    assert re.search(r"! Energy less atoms far from all others .*: a\.xyz#3 \(", told)
    assert "1 structures occur with different energies, from a.xyz#0 and a.xyz#19" in told
    assert "Structures lack forces: 1 of 1 in b.xyz. Names that may be it: REF_forces (--forces-key)" in told


def parts(folder: Path) -> dict[str, list[Atoms]]:
    return {path.stem: read_structures(path) for path in folder.glob("*.xyz")}


def test_every_way_to_split_keeps_copies_together_and_atoms_in_train(file: Path, tmp_path: Path) -> None:
    for way in ("random", "piece", "trajectory", "optimal"):
        run("split", file, "-o", tmp_path / way, "--by", way, "--validation", 0.2, "--test", 0.2)
        found = parts(tmp_path / way)
        assert set(found) == {"train", "test", "validation"} and sum(map(len, found.values())) == 21
        keys = {part: {identity(atoms) for atoms in members} for part, members in found.items()}
        assert not keys["train"] & keys["test"] and not keys["test"] & keys["validation"]
        assert any(len(atoms) == 1 for atoms in found["train"])
        assert 2 <= len(found["test"]) <= 6


@pytest.mark.parametrize(("way", "key", "name"), [("trajectory", "run", "run"), ("group", None, "config_type")])
def test_what_stays_together_is_never_parted(file: Path, tmp_path: Path, way: str, key: str | None, name: str) -> None:
    options = [] if key is None else ["--key", key]
    run("split", file, "-o", tmp_path, "--by", way, *options, "--test", 0.3)
    found = parts(tmp_path)
    names = [{atoms.info.get(name) for atoms in members if len(atoms) > 1} for members in found.values()]
    assert not set.intersection(*names) and all(names)


def test_a_single_trajectory_is_not_parted_but_by_pieces(file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    atoms, walk = crystals(1)[0], []
    for _ in range(40):
        atoms = atoms.copy()
        atoms.positions += rng.normal(0, 0.02, atoms.positions.shape)
        walk.append(labelled(atoms))
    write(tmp_path / "walk.xyz", walk)
    message = run("split", tmp_path / "walk.xyz", "-o", tmp_path / "s", code=1)
    assert "no structure is left for test: 40 structures are 1 trajectories" in message
    run("split", tmp_path / "walk.xyz", "-o", tmp_path / "s", "--by", "piece")
    assert len(read(tmp_path / "s" / "test.xyz", ":")) == 8


def test_select_takes_different_structures_and_the_rest_is_there(file: Path, tmp_path: Path) -> None:
    run("select", file, "-n", 5, "-o", tmp_path / "s.xyz", "--rest", tmp_path / "r.xyz", "--random-part", 0)
    chosen, rest = read_structures(tmp_path / "s.xyz"), read_structures(tmp_path / "r.xyz")
    assert len(chosen) == 5 and len(rest) == 16 and len({identity(atoms) for atoms in chosen}) == 5
    message = run("select", file, "-n", 50, "-o", tmp_path / "t.xyz", code=1)
    assert "1 to 20" in message and "Give another --number" in message


def test_convert_gives_labels_their_names(file: Path, tmp_path: Path) -> None:
    frames = read_structures(file)[:3]
    other = []
    for atoms in frames:
        own = atoms.copy()
        own.info["dft_energy"] = atoms.get_potential_energy()
        own.set_array("dft_forces", atoms.get_forces())
        own.info["virial"] = -atoms.get_volume() * atoms.get_stress(voigt=False)
        del own.info["source"]
        other.append(own)
    write(tmp_path / "a.traj", other)
    write(tmp_path / "a.xyz", other)
    run("convert", tmp_path / "a.xyz", "--energy-key", "dft_energy", "--forces-key", "dft_forces",
        "-o", tmp_path / "b.xyz")  # fmt: skip
    for new, old in zip(read_structures(tmp_path / "b.xyz"), frames, strict=True):
        assert new.get_potential_energy() == pytest.approx(old.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(new.get_forces(), old.get_forces(), atol=1e-7)
        np.testing.assert_allclose(new.get_stress(), old.get_stress(), atol=1e-7)
        assert "dft_energy" not in new.info and "dft_forces" not in new.arrays
