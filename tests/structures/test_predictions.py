"""Predictions of kernpot are never learnt or scored as labels; frames that were labelled since are."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from kernpot.calculator import KernpotCalculator
from kernpot.dynamics.frames import annotated, beside_labels
from kernpot.errors import StructureError
from kernpot.structures import label_structures, read_structures
from kernpot.uncertainty.evaluation import evaluate
from tests.helpers.fakes import LennardJones

REFUSED = "its energy and forces are what a potential of kernpot predicted, not labels"


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.rattle(0.1, seed=0)
    return atoms


@pytest.fixture
def predicted(crystal: Atoms) -> Atoms:
    return annotated(crystal, LennardJones().predict_full([crystal])[0])


class ComputedSince(Calculator):
    """A reference method."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, *_: object) -> None:
        self.results = {"energy": -7.0, "forces": np.full((4, 3), 0.5)}


def labelled(atoms: Atoms) -> Atoms:
    frame = atoms.copy()
    frame.calc = SinglePointCalculator(frame, energy=-1.25, forces=np.full((4, 3), 0.5))
    return frame


@pytest.mark.wrong_input("Labels", "predictions of kernpot, as simulations and the gate write them", "refused")
@pytest.mark.parametrize("name", ["md.xyz", "md.traj"])
def test_frames_of_simulations_are_refused(tmp_path, predicted, crystal, name):
    write(tmp_path / name, [labelled(crystal), predicted, predicted])
    frames = read_structures(tmp_path / name)
    with pytest.raises(StructureError, match=rf"^{name}#1: {REFUSED} \(2 of 3 structures .* reference method"):
        label_structures(frames)
    with pytest.raises(StructureError, match=REFUSED):
        evaluate(LennardJones(), frames[1:])


def test_files_from_before_the_energy_was_marked_are_refused_too(predicted):
    del predicted.info["energy_predicted"]
    with pytest.raises(StructureError, match=REFUSED):
        label_structures([predicted])


def test_forces_alone_are_refused(predicted):
    del predicted.calc.results["energy"]
    with pytest.raises(StructureError, match=REFUSED):
        label_structures([predicted])


@pytest.mark.wrong_input("Labels", "results of kernpot's own calculator", "refused")
@pytest.mark.parametrize("through_a_file", [False, True])
def test_results_of_the_calculator_are_refused(tmp_path, crystal, through_a_file):
    crystal.calc = KernpotCalculator(LennardJones())
    crystal.get_forces()
    if through_a_file:
        write(tmp_path / "a.traj", crystal)
        (crystal,) = read_structures(tmp_path / "a.traj")
    with pytest.raises(StructureError, match=REFUSED):
        label_structures([crystal])


def test_labels_of_predicted_frames_are_labels(tmp_path, predicted):
    """The way out that the message names: compute them, in Python or through a file."""
    write(tmp_path / "labelled.xyz", labelled(predicted))
    live = predicted.copy()
    live.calc = ComputedSince()
    live.get_forces()
    (from_file,) = read_structures(tmp_path / "labelled.xyz")
    found = label_structures([labelled(predicted), from_file, live])
    assert [s.energy for s in found] == [-1.25, -1.25, -7.0]


@pytest.mark.parametrize("exact", [False, True])
def test_records_of_the_learner_are_labels(tmp_path, crystal, exact):
    """They carry predictions beside labels, even where an oracle answers as the potential does."""
    prediction = LennardJones().predict_full([crystal])[0]
    frame = labelled(crystal)
    if exact:
        frame.calc.results |= {"energy": float(prediction.energy.mean), "forces": np.array(prediction.forces.mean)}
    write(tmp_path / "labels.xyz", beside_labels(frame, prediction))
    (found,) = label_structures(read_structures(tmp_path / "labels.xyz"))
    assert found.energy == pytest.approx(frame.get_potential_energy(), abs=1e-8)
    again = annotated(read(tmp_path / "labels.xyz"), prediction)
    with pytest.raises(StructureError, match=REFUSED):
        label_structures([again])


def test_given_labels_replace_predictions(predicted):
    (found,) = label_structures([predicted], energies=[-1.0], forces=[np.ones((4, 3))], stress=[None])
    assert found.energy == -1.0
