import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from kernpot.dynamics.oracles import Labels, OracleFailure, checked_labels, labelled
from kernpot.dynamics.oracles.labels import prepared
from kernpot.errors import StructureError
from kernpot.structures.labels import label_structures


def test_labels_that_fit_are_kept():
    atoms = bulk("Si")
    labels = checked_labels(atoms, np.float32(1.5), [[0, 0, 1], [0, 0, -1]], np.eye(3))
    assert labels.energy == 1.5 and type(labels.energy) is float
    assert labels.forces.shape == (2, 3) and labels.forces.dtype == np.float64
    np.testing.assert_array_equal(labels.stress, [1, 1, 1, 0, 0, 0])


def test_stress_of_what_has_none_is_left_out():
    slab = bulk("Si")
    slab.pbc = (True, True, False)
    assert checked_labels(slab, 1.0, np.zeros((2, 3)), np.zeros(6)).stress is None


@pytest.mark.parametrize(
    ("energy", "forces", "stress", "message"),
    [
        (np.nan, np.zeros((2, 3)), None, "energy has 1 NaN"),
        (None, np.zeros((2, 3)), None, "energy has 1 NaN"),
        ([1.0, 2.0], np.zeros((2, 3)), None, "expected one number"),
        (1.0, np.full((2, 3), np.inf), None, "forces has 6 infinite"),
        (1.0, np.zeros((3, 3)), None, r"expected \(2, 3\)"),
        (1.0, np.zeros((2, 3)), np.full(6, np.nan), "stress has 6 NaN"),
    ],
)
def test_labels_that_do_not_fit_are_refused(energy, forces, stress, message):
    with pytest.raises(OracleFailure, match=message):
        checked_labels(bulk("Si"), energy, forces, stress)


def test_labelled_frames_are_read_as_training_data():
    atoms = bulk("Si")
    atoms.set_velocities(np.ones((2, 3)))
    atoms.info["config_type"] = "otf"
    labels = Labels(-3.0, np.arange(6.0).reshape(2, 3), np.arange(6.0))
    frame = labelled(atoms, labels)
    (read,) = label_structures([frame])
    assert read.energy == -3.0 and read.config_type == "otf"
    np.testing.assert_array_equal(read.forces, labels.forces)
    np.testing.assert_array_equal(read.stress, labels.stress)
    np.testing.assert_array_equal(frame.get_velocities(), atoms.get_velocities())
    assert atoms.calc is None


def test_calculators_see_no_constraints_and_plain_info():
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    atoms.info.update(charge=1, note="text", table=np.zeros(3))
    frame = prepared(atoms)
    assert frame.constraints == [] and frame.info == {"charge": 1, "note": "text"}
    assert len(atoms.constraints) == 1 and "table" in atoms.info


def test_frames_that_no_code_should_see():
    assert "apart" in prepared(Atoms("H2", [[0, 0, 0], [0, 0, 0.01]])).reason
    with pytest.raises(StructureError, match=r"ase\.Atoms, got list"):
        prepared([0.0])
