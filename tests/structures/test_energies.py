"""Of two energies the one is the label whose derivative the forces are, from files, calculators and oracles alike."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from kernpot.dynamics.oracles import CalculatorOracle, Labels
from kernpot.dynamics.oracles.results import ResultFile
from kernpot.errors import KernpotWarning
from kernpot.structures import label_structures, read_structures


class Smeared(Calculator):
    """As codes with smeared occupations answer: the free energy, and one extrapolated to no smearing."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def calculate(self, *_: object) -> None:
        self.results = {"energy": -3.0, "free_energy": -3.5, "forces": np.zeros((1, 3))}


def frame(**results: float) -> Atoms:
    atoms = bulk("Cu")
    atoms.calc = SinglePointCalculator(atoms, forces=np.zeros((1, 3)), **results)
    return atoms


@pytest.mark.wrong_input("Labels", "an energy extrapolated to no smearing beside the free energy", "read right")
def test_one_rule_for_files_calculators_and_oracles(tmp_path):
    computed = bulk("Cu")
    computed.calc = Smeared()
    computed.get_forces()
    write(tmp_path / "a.xyz", computed)
    (read,) = read_structures(tmp_path / "a.xyz")
    ((_, answer),) = CalculatorOracle(Smeared, isolate=False).answers([bulk("Cu")])
    assert isinstance(answer, Labels)
    energies = [read.get_potential_energy(), label_structures([read])[0].energy, label_structures([computed])[0].energy]
    assert [*energies, answer.energy] == [-3.5] * 4
    (named,) = read_structures(tmp_path / "a.xyz", energy_key="energy", forces_key="forces")
    assert named.get_potential_energy() == -3.0


@pytest.mark.wrong_input("Files", "a file with free_energy and no energy", "read right")
@pytest.mark.parametrize("name", ["a.xyz", "a.traj", "a.db"])
def test_a_free_energy_alone(tmp_path, name):
    write(tmp_path / name, frame(free_energy=-3.5))
    (read,) = read_structures(tmp_path / name)
    assert label_structures([read])[0].energy == -3.5


def test_a_free_energy_alone_from_somebody_elses_queue(tmp_path):
    write(tmp_path / "results.xyz", frame(free_energy=-3.5))
    (tmp_path / "done").touch()
    answer = ResultFile(tmp_path, bulk("Cu"), "results.xyz", None).look()
    assert isinstance(answer, Labels) and answer.energy == -3.5


@pytest.mark.wrong_input("Labels", "free energies for some structures and other energies for the rest", "warned")
def test_mixed_energies_are_told(tmp_path):
    frames = [frame(energy=-3.0, free_energy=-3.5), frame(energy=-3.0), frame(energy=-3.0)]
    write(tmp_path / "a.xyz", frames)
    message = r"1 structures \(from {}0.* have a free energy .* 2 \(from {}1.* have an energy alone"
    with pytest.warns(KernpotWarning, match=message.format("a.xyz#", "a.xyz#")):
        read_structures(tmp_path / "a.xyz")
    with pytest.warns(KernpotWarning, match=message.format(r"structures\[", r"structures\[")):
        label_structures(frames)


def test_equal_energies_are_no_mixture():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        label_structures([frame(energy=-3.0, free_energy=-3.0), frame(energy=-3.0)])
        label_structures([frame(energy=-3.0, free_energy=-3.5), frame(free_energy=-3.5), molecule("H2O")])


@pytest.mark.wrong_input("Labels", "energies as arrays of one number", "read right")
def test_energies_of_shape_one(tmp_path):
    atoms = frame(energy=np.array([-3.0]))
    assert label_structures([atoms])[0].energy == -3.0
    assert label_structures([bulk("Cu")], energies=np.array([[-2.0]]))[0].energy == -2.0
    bare = bulk("Cu")
    bare.info["REF_energy"] = np.array([-4.0])
    write(tmp_path / "a.traj", bare)
    assert read_structures(tmp_path / "a.traj", energy_key="REF_energy")[0].get_potential_energy() == -4.0
