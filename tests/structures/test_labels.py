"""Labels from calculators and from arguments."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from kernpot.errors import StructureError
from kernpot.structures import label_structures, require_any_energy


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    stress = np.arange(6) / 100
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=np.arange(12.0).reshape(4, 3), stress=stress)
    return atoms


def test_labels_of_a_calculator(crystal):
    crystal.info |= {"config_type": "Surface", "source": "cu.xyz#7"}
    (labelled,) = label_structures([crystal])
    assert labelled.energy == -1.5
    np.testing.assert_array_equal(labelled.forces, crystal.calc.results["forces"])
    np.testing.assert_array_equal(labelled.stress, np.arange(6) / 100)
    assert (labelled.config_type, labelled.source) == ("Surface", "cu.xyz#7")
    assert labelled.noise_scale == {"energy": 1, "forces": 1, "stress": 1}
    assert labelled.kinds == ("energy", "forces", "stress")


def test_labelled_structure_is_independent_of_the_input(crystal):
    (labelled,) = label_structures([crystal])
    crystal.calc.results["forces"][:] = 0
    crystal.positions[:] = 0
    assert labelled.atoms.calc is None
    assert labelled.forces.max() == 11
    assert np.abs(labelled.atoms.positions).max() > 1


def test_missing_labels_stay_missing():
    (labelled,) = label_structures([molecule("H2O")])
    assert labelled.energy is labelled.forces is labelled.stress is None
    assert (labelled.config_type, labelled.source, labelled.kinds) == ("", "structures[0]", ())


def test_constraints_do_not_zero_forces(crystal):
    """ASE's get_forces would; the label is the quantum code's force."""
    crystal.set_constraint(FixAtoms([0, 1, 2, 3]))
    (labelled,) = label_structures([crystal])
    assert np.count_nonzero(labelled.forces) == 11


def test_results_of_a_live_calculator_are_used_but_never_computed(crystal):
    crystal.calc = EMT()
    assert label_structures([crystal])[0].kinds == ()
    energy = crystal.get_potential_energy()
    assert label_structures([crystal])[0].energy == energy


@pytest.mark.parametrize("change", ["positions", "cell", "numbers", "pbc"])
def test_stale_results_are_refused(crystal, change):
    if change == "positions":
        crystal.positions[2] += 0.01
    elif change == "cell":
        crystal.set_cell(crystal.cell.array * 1.01)
    elif change == "numbers":
        crystal.numbers[0] = 28
    else:
        crystal.pbc = False
    with pytest.raises(StructureError, match=r"structures\[1\].*energy, forces, stress belong to another geometry"):
        label_structures([molecule("H2O"), crystal])


def test_given_labels_replace_those_of_the_calculator(crystal):
    other = crystal.copy()
    labelled = label_structures([crystal, other], energies=[None, -3], stress=[np.eye(3) * 0.1, None])
    assert [entry.energy for entry in labelled] == [None, -3.0]
    np.testing.assert_allclose(labelled[0].stress, [0.1, 0.1, 0.1, 0, 0, 0])
    assert labelled[1].stress is None
    assert labelled[0].forces is not None
    assert labelled[1].forces is None


def test_given_labels_make_stale_results_harmless(crystal):
    crystal.rattle(0.1, seed=2)
    forces = np.ones((4, 3))
    (labelled,) = label_structures([crystal], energies=[1.0], forces=[forces], stress=[None])
    np.testing.assert_array_equal(labelled.forces, forces)


def test_arrays_and_generators_are_accepted(crystal):
    frames = [crystal.copy(), crystal.copy()]
    labelled = label_structures((a for a in frames), energies=np.array([1.0, 2.0]), forces=np.ones((2, 4, 3)))
    assert [entry.energy for entry in labelled] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"energies": [1.0, np.nan]}, r"structures\[1\]: energy has 1 NaN"),
        ({"forces": [None, np.zeros((3, 2))]}, r"structures\[1\]: forces have shape \(3, 2\), expected \(3, 3\)"),
        ({"stress": [None, np.zeros(6)]}, r"structures\[1\]: has a stress label but pbc is FFF"),
        ({"energies": [1.0]}, "energies: got 1 entries for 2 structures"),
        ({"forces": [None] * 3}, "forces: got 3 entries for 2 structures"),
        ({"energies": 4.0}, r"energies: expected one entry per structure \(2\), got float"),
    ],
)
def test_bad_labels(crystal, arguments, message):
    with pytest.raises(StructureError, match=message):
        label_structures([crystal, molecule("H2O")], **arguments)


def test_bad_structures(crystal):
    with pytest.raises(StructureError, match="got an empty list"):
        label_structures([])
    with pytest.raises(StructureError, match=r"write \[atoms\]"):
        label_structures(crystal)
    with pytest.raises(StructureError, match=r"structures\[1\]: the structure has no atoms"):
        label_structures([crystal, Atoms()])
    with pytest.raises(StructureError, match=r"structures\[0\]: expected an ase.Atoms object, got str"):
        label_structures(["Si"])


def test_source_of_other_programs_is_not_taken_for_a_file(crystal):
    crystal.info["source"] = "Materials Project"
    assert label_structures([crystal])[0].source == "structures[0]"


def test_noise_scale_per_structure(crystal):
    crystal.info["noise_scale"] = 2
    other = crystal.copy()
    other.info["noise_scale"] = {"forces": 0.5}
    scales = [entry.noise_scale for entry in label_structures([crystal, other])]
    assert scales == [{"energy": 2, "forces": 2, "stress": 2}, {"energy": 1, "forces": 0.5, "stress": 1}]


@pytest.mark.parametrize("scale", [0, -1.0, np.nan, "2", True, {"force": 1.0}, {"forces": 0.0}])
def test_bad_noise_scale(crystal, scale):
    crystal.info["noise_scale"] = scale
    with pytest.raises(StructureError, match=r"structures\[0\]: noise_scale"):
        label_structures([crystal])


def test_require_any_energy(crystal):
    require_any_energy(label_structures([molecule("H2O"), crystal]))
    with pytest.raises(StructureError, match=r"none of the 1 structures .* has an energy"):
        require_any_energy(label_structures([crystal], energies=[None]))


def test_energies_under_another_name_are_told(crystal):
    first, second = crystal.copy(), crystal.copy()
    first.info |= {"Energy_cutoff": 500.0, "REF_energy": -1.0}
    second.info["REF_energy"] = -2.0
    with pytest.raises(StructureError, match=r'name it: read_structures\(path, energy_key="REF_energy"\)') as error:
        require_any_energy(label_structures([first, second]))
    assert "hold 'REF_energy' (2 of 2), 'Energy_cutoff' (1 of 2) in info" in str(error.value)
    del first.info["REF_energy"], second.info["REF_energy"]
    with pytest.raises(StructureError, match=r'energy_key="Energy_cutoff"\)'):
        require_any_energy(label_structures([first, second]))
