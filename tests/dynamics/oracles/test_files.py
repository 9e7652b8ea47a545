import json
import os
import threading
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from kernpot.dynamics.oracles import FileOracle, Oracle, OracleError, OracleFailure, OraclePending
from kernpot.dynamics.oracles import files as files_module
from kernpot.dynamics.oracles import results as results_module
from kernpot.dynamics.oracles.folders import folder_name


@pytest.fixture(autouse=True)
def settled_soon(monkeypatch):
    monkeypatch.setattr(results_module, "SETTLED_SECONDS", 0.1)
    monkeypatch.setattr(files_module, "SETTLED_SECONDS", 0.1)


def crystals(n=3):
    made = []
    for seed in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.1, seed=seed)
        made.append(atoms)
    return made


def compute(atoms):
    done = atoms.copy()
    done.calc = EMT()
    results = {"energy": done.get_potential_energy(), "forces": done.get_forces(), "stress": done.get_stress()}
    done.calc = SinglePointCalculator(done, **results)
    return done


def put(folder, atoms, name="results.xyz", **settings):
    write(folder / f".{name}", atoms, format=settings.pop("format", "extxyz"), **settings)
    (folder / f".{name}").rename(folder / name)


def pending(oracle, frames):
    with pytest.raises(OraclePending) as caught:
        list(oracle.answers(frames))
    return str(caught.value)


def test_a_queue_that_works_while_we_wait(tmp_path):
    frames = crystals()

    def queue():
        for _ in frames:
            while not (todo := [f for f in tmp_path.glob("Cu4-*") if not (f / "results.xyz").exists()]):
                time.sleep(0.01)
            put(todo[0], compute(read(todo[0] / "frame.xyz")))

    worker = threading.Thread(target=queue)
    worker.start()
    answers = dict(FileOracle(tmp_path, poll=0.05).answers(frames))
    worker.join()
    assert sorted(answers) == [0, 1, 2]
    for index, atoms in enumerate(frames):
        truth = compute(atoms)
        assert answers[index].energy == pytest.approx(truth.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(answers[index].forces, truth.get_forces(), atol=1e-6)
        np.testing.assert_allclose(answers[index].stress, truth.get_stress(), atol=1e-6)


def test_what_is_missing_is_pending_and_asked_once(tmp_path):
    frames = crystals()
    written = []
    oracle = FileOracle(tmp_path / "new", wait=False, poll=0.05, write=lambda folder, _: written.append(folder.name))
    said = pending(oracle, frames)
    assert "3 of the frames" in said and str(tmp_path / "new") in said and "put results.xyz there" in said
    names = [folder_name(atoms) for atoms in frames]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    put(tmp_path / "new" / names[1], compute(frames[1]))
    answers = oracle.answers(frames)
    assert next(answers)[0] == 1
    with pytest.raises(OraclePending, match="2 of the frames"):
        next(answers)
    assert len(written) == 3
    put(tmp_path / "new" / names[0], compute(frames[0]))
    put(tmp_path / "new" / names[2], compute(frames[2]))
    again = FileOracle(tmp_path / "new", wait=False, poll=0.05)  # as a resumed run makes it
    assert len(dict(again.answers(frames))) == 3


def test_waiting_ends(tmp_path):
    start = time.monotonic()
    pending(FileOracle(tmp_path, wait=0.2, poll=0.05), crystals(1))
    assert time.monotonic() - start >= 0.2


def test_the_same_frame_twice_is_one_folder(tmp_path):
    frames = [crystals(1)[0], crystals(1)[0]]
    oracle = FileOracle(tmp_path, wait=False)
    pending(oracle, frames)
    (folder,) = tmp_path.iterdir()
    put(folder, compute(frames[0]))
    answers = dict(oracle.answers(frames))
    assert answers[0].energy == answers[1].energy


@pytest.mark.parametrize(
    "change",
    [
        lambda atoms: atoms.positions.__setitem__((0, 0), np.nextafter(atoms.positions[0, 0], 9)),
        lambda atoms: atoms.cell.array.__setitem__((0, 0), atoms.cell.array[0, 0] + 1e-15 * 8),
        lambda atoms: atoms.set_pbc((True, True, False)),
        lambda atoms: atoms.numbers.__setitem__(0, 79),
    ],
)
def test_folders_are_named_by_the_exact_geometry(change):
    atoms = crystals(1)[0]
    same = atoms.copy()
    same.info["note"] = "other"
    same.set_momenta(np.ones((4, 3)))
    assert folder_name(same) == folder_name(atoms)
    change(same)
    assert folder_name(same) != folder_name(atoms)


def test_zero_has_one_sign():
    a, b = Atoms("Cu", [[0.0, 0, 0]]), Atoms("Cu", [[-0.0, 0, 0]])
    assert folder_name(a) == folder_name(b)


def test_half_written_results_wait_until_they_are_whole(tmp_path):
    frames = crystals(1)
    oracle = FileOracle(tmp_path, wait=False, poll=0.05)
    pending(oracle, frames)
    (folder,) = tmp_path.iterdir()
    put(folder, compute(frames[0]))
    whole = (folder / "results.xyz").read_text()
    # the last cut leaves a file that reads without complaint, with another last force
    for n_characters in (0, 30, len(whole) // 2, len(whole) - 5):
        (folder / "results.xyz").write_text(whole[:n_characters])
        said = pending(oracle, frames)
        assert "1 results cannot be used as they are" in said and folder.name in said
    (folder / "results.xyz").write_text(whole)
    assert dict(oracle.answers(frames))[0].forces.shape == (4, 3)


def test_results_that_still_change_are_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(results_module, "SETTLED_SECONDS", 60.0)
    frames = crystals(1)
    oracle = FileOracle(tmp_path, wait=False, poll=0.05)
    pending(oracle, frames)
    (folder,) = tmp_path.iterdir()
    put(folder, compute(frames[0]))
    monkeypatch.setattr(files_module, "SETTLED_SECONDS", -1.0)
    pending(oracle, frames)
    (folder / "done").touch()
    assert dict(oracle.answers(frames))[0].forces.shape == (4, 3)


def test_frames_are_given_up_by_a_file(tmp_path):
    frames = crystals(1)
    oracle = FileOracle(tmp_path, wait=False)
    pending(oracle, frames)
    (folder,) = tmp_path.iterdir()
    (folder / "failed").write_text("out of memory\n")
    answer = dict(oracle.answers(frames))[0]
    assert isinstance(answer, OracleFailure) and "given up by who computes it: out of memory" in answer.reason


def moved(atoms):
    atoms.positions[2, 1] += 0.01


def sorted_by_hand(atoms):
    atoms.numbers[:] = atoms.numbers[::-1]


def strained(atoms):
    atoms.set_cell(atoms.cell.array * 1.01)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (moved, "atom 2 lies 0.01 A"),
        (sorted_by_hand, "atom 0 is Cu instead of Au"),
        (strained, "cell vectors differ by up to 0.036"),
        (lambda atoms: atoms.pop(), "3 atoms instead of 4"),
    ],
)
def test_results_of_other_geometries_are_refused(tmp_path, change, reason):
    atoms = crystals(1)[0]
    atoms.numbers[0] = 79
    oracle = FileOracle(tmp_path, wait=False)
    pending(oracle, [atoms])
    (folder,) = tmp_path.iterdir()
    other = atoms.copy()
    change(other)
    put(folder, compute(other))
    answer = dict(oracle.answers([atoms]))[0]
    assert isinstance(answer, OracleFailure) and reason in answer.reason and "do not relax" in answer.reason


def test_periodic_images_are_the_same_place(tmp_path):
    atoms = crystals(1)[0]
    oracle = FileOracle(tmp_path, wait=False)
    pending(oracle, [atoms])
    (folder,) = tmp_path.iterdir()
    wrapped = atoms.copy()
    wrapped.positions[1] += wrapped.cell[0] - wrapped.cell[2]
    put(folder, compute(wrapped))
    assert dict(oracle.answers([atoms]))[0].forces.shape == (4, 3)


@pytest.mark.parametrize(("key", "trouble"), [("forces", "no forces"), ("energy", "no energy")])
def test_results_without_what_is_needed_are_named(tmp_path, key, trouble):
    frames = crystals(1)
    oracle = FileOracle(tmp_path, wait=False)
    pending(oracle, frames)
    (folder,) = tmp_path.iterdir()
    done = compute(frames[0])
    del done.calc.results[key]
    put(folder, done)
    assert trouble in pending(oracle, frames)


def test_not_a_number_is_a_failure(tmp_path):
    frames = crystals(1)
    oracle = FileOracle(tmp_path, wait=False)
    pending(oracle, frames)
    (folder,) = tmp_path.iterdir()
    done = compute(frames[0])
    done.calc.results["forces"][0, 0] = np.nan
    put(folder, done)
    assert "forces has 1 NaN" in dict(oracle.answers(frames))[0].reason


def test_inputs_from_a_template_and_a_writer_are_there_at_once(tmp_path):
    template = tmp_path / "template"
    template.mkdir()
    (template / "job.sh").write_text("run\n")
    frames = crystals(1)
    oracle = FileOracle(
        tmp_path / "queue", wait=False, template=template, write={"POSCAR": {"format": "vasp"}}, read="out.json"
    )
    pending(oracle, frames)
    (folder,) = (tmp_path / "queue").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["POSCAR", "frame.xyz", "job.sh"]
    put(folder, compute(frames[0]), name="out.json", format="json")
    assert dict(oracle.answers(frames))[0].stress.shape == (6,)
    said = oracle.describe()
    assert isinstance(oracle, Oracle) and json.loads(json.dumps(said)) == said
    assert said["template"] == ["job.sh"] and str(tmp_path) not in json.dumps(said)


def test_own_reader(tmp_path):
    frames = crystals(1)
    oracle = FileOracle(tmp_path, wait=False, read=lambda _: compute(frames[0]))
    assert dict(oracle.answers(frames))[0].forces.shape == (4, 3)


def test_an_input_that_cannot_be_written_leaves_nothing(tmp_path):
    def broken(folder, atoms):
        raise KeyError("no pseudopotential for Cu")

    with pytest.raises(OracleError, match="no pseudopotential for Cu") as caught:
        list(FileOracle(tmp_path, write=broken).answers(crystals(1)))
    assert not isinstance(caught.value, OracleFailure) and list(tmp_path.iterdir()) == []


def test_a_run_that_was_killed_while_writing_goes_on(tmp_path):
    frames = crystals(1)
    part = tmp_path / f".{folder_name(frames[0])}.part"
    part.mkdir()
    (part / "frame.xyz").write_text("half")
    pending(FileOracle(tmp_path, wait=False), frames)
    (folder,) = tmp_path.iterdir()
    assert len(read(folder / "frame.xyz")) == 4


@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), OSError(30, "Read-only file system")])
def test_a_full_or_read_only_disk_is_said(tmp_path, problem):
    def full(folder, atoms):
        raise problem

    with pytest.raises(OracleError, match=problem.strerror):
        list(FileOracle(tmp_path, write=full).answers(crystals(1)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OracleError, match="Permission denied"):
        list(FileOracle(tmp_path / "queue").answers(crystals(1)))


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path):
    (tmp_path / "queue").touch()
    with pytest.raises(OracleError, match="cannot be written"):
        list(FileOracle(tmp_path / "queue").answers(crystals(1)))


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="poll=0"):
        FileOracle(tmp_path, poll=0)
    with pytest.raises(ValueError, match="expected a folder"):
        FileOracle(tmp_path, template=tmp_path / "none")
    with pytest.raises(ValueError, match="also an input"):
        FileOracle(tmp_path, read="frame.xyz")
    on_top = Atoms("Ar2", [[0, 0, 0], [0, 0, 0.01]])
    assert "apart" in dict(FileOracle(tmp_path / "queue").answers([on_top]))[0].reason
    assert not (tmp_path / "queue").exists()


def test_folders_of_one_geometry_in_several_charge_states_differ():
    """And of a frame of which nothing is said, the name is what it always was."""
    neutral, cation, doublet, on_an_atom = (crystals(1)[0] for _ in range(4))
    cation.info["charge"] = 1
    doublet.info |= {"charge": 1, "spin": 2}
    on_an_atom.set_initial_charges([1.0, 0.0, 0.0, 0.0])
    assert len({folder_name(atoms) for atoms in (neutral, cation, doublet, on_an_atom)}) == 4
    nothing = crystals(1)[0]
    nothing.info["step"] = 5
    nothing.set_initial_charges([0.0] * 4)
    assert folder_name(nothing) == folder_name(neutral)
