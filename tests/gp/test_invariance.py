"""Training does not depend on how the structures are written down (predictions: see tests/test_testing.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.testing.physics import voigt_rotation
from tests.helpers.systems import crystals, soap

SETTINGS: dict[str, Any] = {
    "descriptor": soap(["Cu", "Au"]),
    "kernel": SOAPKernel(2, amplitude=5.0),
    "noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001},
    "optimize": False,
    "isolated_atoms": {"Cu": 3.0, "Au": 3.5},
    "inducing": crystals(4, symbols="Cu3Au"),
}
FRAMES = crystals(4, symbols="Cu3Au")
NEW = crystals(1, seed=5, symbols="Cu2Au2")


def rewritten(atoms: Atoms, change: Callable[[Atoms], Atoms], **labels: Any) -> Atoms:
    new = change(atoms.copy())
    new.calc = SinglePointCalculator(new, **(atoms.calc.results | labels))
    return new


def permuted(atoms: Atoms) -> Atoms:
    order = np.random.default_rng(3).permutation(len(atoms))
    return rewritten(atoms, lambda a: a[order], forces=atoms.calc.results["forces"][order])


def translated(atoms: Atoms) -> Atoms:
    def move(a: Atoms) -> Atoms:
        a.translate([0.3, -1.2, 2.0])
        return a

    return rewritten(atoms, move)


def wrapped(atoms: Atoms) -> Atoms:
    def move(a: Atoms) -> Atoms:
        a.positions += np.random.default_rng(3).integers(-2, 3, (len(a), 3)) @ a.cell.array
        a.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ a.cell.array)
        return a

    return rewritten(atoms, move)


def supercell_of_energies(atoms: Atoms) -> Atoms:
    """Twice the cell, twice the energy: with noise per atom it says the same."""
    new = atoms.repeat((1, 2, 1))
    new.calc = SinglePointCalculator(new, energy=2 * atoms.calc.results["energy"])
    return new


def energy_alone(atoms: Atoms) -> Atoms:
    new = atoms.copy()
    new.calc = SinglePointCalculator(new, energy=atoms.calc.results["energy"])
    return new


def posterior(frames: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    p = SparseGPPotential(**SETTINGS).fit(frames).predict_full(NEW, covariance=True)[0]
    assert p.stress is not None
    assert p.covariance is not None
    return np.r_[p.energy.mean, p.forces.mean.ravel(), p.stress.mean], p.covariance.epistemic


def require_same(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(b[0], a[0], rtol=0, atol=1e-8 * np.abs(a[0]).max())
    np.testing.assert_allclose(b[1], a[1], rtol=0, atol=1e-8 * np.abs(a[1]).max())


@pytest.mark.parametrize("change", [permuted, translated, wrapped])
def test_of_training(change: Callable[[Atoms], Atoms]) -> None:
    require_same(posterior(FRAMES), posterior([change(a) for a in FRAMES]))


def test_order_of_training_structures() -> None:
    require_same(posterior(FRAMES), posterior(FRAMES[::-1]))


@pytest.mark.filterwarnings("ignore:no structure has")
def test_supercells_in_training() -> None:
    require_same(posterior([energy_alone(a) for a in FRAMES]), posterior([supercell_of_energies(a) for a in FRAMES]))


def test_rotated_training() -> None:
    """Noise of forces is alike along every axis; that of six stress components is not, so they get no weight here."""
    turn = Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix()

    def rotate(a: Atoms) -> Atoms:
        a.set_cell(a.cell.array @ turn.T, scale_atoms=True)
        return a

    plain, turned = [], []
    for atoms in FRAMES:
        r = atoms.calc.results
        atoms = rewritten(atoms, lambda a: a)
        atoms.info["noise_scale"] = {"stress": 1e6}
        new = rewritten(
            atoms, rotate, forces=r["forces"] @ turn.T, stress=voigt_rotation(turn) @ np.asarray(r["stress"])
        )
        plain.append(atoms)
        turned.append(new)
    require_same(posterior(plain), posterior(turned))
