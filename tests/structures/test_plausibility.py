"""Labels that cannot be right, told from the labels alone."""

import warnings

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import Bohr, Hartree, Rydberg, kcal, mol

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures import label_structures
from kernpot.structures.plausibility import act_on, findings
from kernpot.structures.slips import mistake, right


def trajectory(n=12, energy=1.0, forces=1.0):
    """Successive structures of a crystal that is shaken a little more each time."""
    rng = np.random.default_rng(0)
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    frames, energies, all_forces = [], [], []
    for _ in range(n):
        atoms.positions += 0.03 * rng.normal(size=(4, 3))
        frames.append(atoms.copy())
        energies.append(energy * atoms.get_potential_energy())
        all_forces.append(forces * atoms.get_forces())
    return label_structures(frames, energies, all_forces)


def test_right_trajectories_are_silent():
    assert findings(trajectory()) == []


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        pytest.param(
            {"forces": -1}, "forces have the other sign: they look like gradients",
            marks=pytest.mark.wrong_input("Labels", "gradients for forces, in a trajectory", "refused"),
        ),
        pytest.param(
            {"energy": 1 / Hartree}, "energies look like Hartree",
            marks=pytest.mark.wrong_input("Labels", "energies in Hartree, in a trajectory", "refused"),
        ),
        ({"energy": mol / kcal}, "energies look like kcal/mol"),
        pytest.param(
            {"forces": Bohr / Hartree}, "forces look like Hartree/bohr",
            marks=pytest.mark.wrong_input("Labels", "forces in Hartree/bohr, in a trajectory", "refused"),
        ),
        ({"forces": 1000.0}, "forces look like meV/Å"),
        pytest.param(
            {"energy": 1 / Rydberg, "forces": Bohr / Rydberg}, "look like atomic units",
            marks=pytest.mark.wrong_input("Labels", "energies and forces in atomic units, in a trajectory", "refused"),
        ),
        ({"forces": 3.3}, "check units and signs of both"),
    ],
)  # fmt: skip
def test_the_work_of_forces_is_what_energies_change_by(changes, cause):
    (found,) = findings(trajectory(**changes))
    assert found.severity == "refused"
    assert cause in found.message
    assert "between 11 pairs of successive structures (from structures[0] on)" in found.message


def test_unrelated_structures_tell_nothing():
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(12):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.3, rng=rng)
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.calc.results["forces"] *= -1
        frames.append(atoms)
    assert findings(label_structures(frames)) == []


def test_refusals_and_trust():
    found = findings(trajectory(forces=-1))
    with pytest.raises(StructureError, match=r"gradients\. Correct the labels; .*trust_labels=True .*--trust-labels"):
        act_on(found, trusted=False)
    with pytest.warns(KernpotWarning, match="they look like gradients"):
        act_on(found, trusted=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        act_on([], trusted=False)


@pytest.mark.parametrize(
    ("kind", "factor", "cause"),
    [
        ("stress", -1.02, "stress has the other sign: ASE counts tension as positive, VASP and others compression"),
        ("stress", -1602.0, "stress looks like kbar, with the other sign (as in VASP's output)"),
        ("stress", 150.0, "stress looks like GPa"),
        ("forces", -0.0194, "forces look like Hartree/bohr, with the other sign"),
        ("forces", 0.53, "forces look like eV/bohr"),
        ("energy", 1.0, None),
        ("energy", 5.0, None),
        ("dipole", -1.0, None),
        ("energy", 0.0, None),
        ("energy", np.inf, None),
    ],
)
def test_mistakes_are_named(kind, factor, cause):
    assert mistake(kind, factor) == cause


def test_what_passes_for_right():
    assert [right(f) for f in (0.5, 0.8, 1.2, 2.0, -1.0)] == [False, True, True, False, False]
