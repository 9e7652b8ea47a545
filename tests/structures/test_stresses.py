"""Stress and virial: of structures that have one, and only where they do not contradict each other."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import voigt_6_to_full_3x3_stress

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures import label_structures, read_structures


@pytest.fixture
def crystal() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array @ np.array([[0.97, 0.01, 0], [0, 1.02, 0], [0, 0.02, 0.99]]), True)
    atoms.rattle(0.05, seed=3)
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def with_virial(atoms: Atoms, factor: float = 1.0) -> Atoms:
    stress = voigt_6_to_full_3x3_stress(atoms.calc.results["stress"])
    atoms.info["virial"] = -factor * stress * atoms.get_volume()
    return atoms


def test_stress_and_virial_that_agree(tmp_path, crystal):
    expected = crystal.get_stress()
    write(tmp_path / "a.xyz", with_virial(crystal, 1.001))
    np.testing.assert_allclose(read_structures(tmp_path / "a.xyz")[0].get_stress(), expected, atol=1e-7)


@pytest.mark.wrong_input("Labels", "a stress of zeros beside the true virial", "warned")
@pytest.mark.parametrize("zeros", ["stress", "virial"])
def test_zeros_beside_the_other(tmp_path, crystal, zeros):
    expected = crystal.get_stress()
    with_virial(crystal, 0.0 if zeros == "virial" else 1.0)
    if zeros == "stress":
        crystal.calc.results["stress"] = np.zeros(6)
    write(tmp_path / "a.xyz", [crystal, crystal])
    with pytest.warns(KernpotWarning, match=r"2 of 2 structures \(from a\.xyz#0 on\) .* one is all zeros; the other"):
        frames = read_structures(tmp_path / "a.xyz")
    np.testing.assert_allclose(frames[1].get_stress(), expected, atol=1e-7)


@pytest.mark.wrong_input("Labels", "a stress and a virial that disagree", "refused")
@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        (-1.0, "the stress has the other sign"),
        (units.GPa, "the stress is in GPa"),
        (-units.GPa, "the stress is in GPa and has the other sign"),
        (units.GPa / 10, "the stress is in kbar"),
        (1.5, ""),
    ],
)
def test_what_disagrees_is_refused_with_the_reason(tmp_path, crystal, factor, reason):
    write(tmp_path / "a.xyz", [crystal.copy(), with_virial(crystal, factor)])
    with pytest.raises(StructureError, match=rf"a\.xyz#1: has a stress and a virial that disagree .*{reason}; correct"):
        read_structures(tmp_path / "a.xyz")


def test_a_named_key_settles_it(tmp_path, crystal):
    write(tmp_path / "a.xyz", with_virial(crystal, 2.0))
    keys = {"energy_key": "energy", "forces_key": "forces"}
    by_virial, by_stress = (
        read_structures(tmp_path / "a.xyz", stress_key=key, **keys)[0].get_stress() for key in ("virial", "stress")
    )
    np.testing.assert_allclose(by_virial, 2 * by_stress, atol=1e-6)


def structures_without_a_stress() -> list[Atoms]:
    frames = [fcc111("Cu", (1, 1, 3), vacuum=6.0), molecule("CO"), Atoms("Cu", cell=[20] * 3)]
    for atoms in frames:
        results = {"energy": 1.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}
        atoms.calc = SinglePointCalculator(atoms, **results)
    return frames


@pytest.mark.wrong_input("Labels", "a stress on slabs, molecules or isolated atoms", "warned")
@pytest.mark.parametrize("from_file", [False, True])
def test_a_stress_that_means_nothing_is_left_out_with_one_warning(tmp_path, crystal, from_file):
    frames = [crystal, *structures_without_a_stress()]
    for atoms in frames:
        atoms.info = {}
    write(tmp_path / "a.xyz", frames)
    with pytest.warns(KernpotWarning) as caught:
        found = label_structures(read_structures(tmp_path / "a.xyz") if from_file else frames)
    # These structures have made-up forces of zero, which is another matter.
    (message,) = (str(entry.message) for entry in caught if "forces are exactly zero" not in str(entry.message))
    first = "a.xyz#1" if from_file else "structures[1]"
    assert message.startswith(f"3 of 4 structures (from {first} on) have a stress or virial, but are not periodic")
    assert [s.kinds for s in found] == [("energy", "forces", "stress"), *[("energy", "forces")] * 3]


def test_the_stress_of_a_live_calculator_on_a_slab_is_left_out():
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    slab.calc = EMT()
    slab.get_forces()
    with pytest.warns(KernpotWarning, match="it is left out"):
        (found,) = label_structures([slab])
    assert found.stress is None and found.forces is not None


def test_nan_in_one_of_two_is_no_contradiction(tmp_path, crystal):
    with_virial(crystal)
    crystal.calc.results["stress"][2] = np.nan
    write(tmp_path / "a.traj", crystal)
    stress = read_structures(tmp_path / "a.traj")[0].calc.results["stress"]
    assert np.isnan(stress).tolist() == [False, False, True, False, False, False]
