"""The screen: the mean it gives is the mean, and what it says of stds bounds them, inside and outside of training."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.gp.predicting.screen import ForceScreen
from kernpot.structures.neighbours import find_pairs
from tests.helpers.changed import changed
from tests.helpers.systems import soap


def hot(atoms: Atoms, kelvin: float, n: int, seed: int) -> list[Atoms]:
    """Labelled frames of EMT dynamics."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    rng = np.random.RandomState(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * kelvin, rng=rng)
    run = Langevin(atoms, 4 * units.fs, temperature_K=kelvin, friction=0.02, rng=rng, fixcm=False)
    run.run(30)
    frames = []
    for _ in range(n):
        run.run(20)
        frames.append(atoms.copy())
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        frames[-1].calc = SinglePointCalculator(frames[-1], **{k: np.array(v) for k, v in labels.items()})
    return frames


def alloy() -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.75) * (2, 1, 1)
    atoms.numbers[[1, 6]] = 79
    return atoms


def surface(frames: list[Atoms]) -> list[Atoms]:
    """The same with a gap."""
    opened = []
    for atoms in frames:
        new = atoms.copy()
        new.set_cell(new.cell.array + np.diag([0, 0, 6.0]))
        opened.append(new)
    return opened


@lru_cache
def fitted(system: str, zeta: int = 2) -> SparseGPPotential:
    atoms, kelvin = (alloy(), 300) if system == "alloy" else (bulk("Al", cubic=True), 200)
    settings: dict[str, Any] = {"n_inducing": 50, "random_state": 0, "kernel": SOAPKernel(zeta)}
    return SparseGPPotential(soap(sorted(set(atoms.symbols))), **settings).fit(hot(atoms, kelvin, 14, seed=1))


def largest(gp: SparseGPPotential, frames: list[Atoms]) -> tuple[np.ndarray, np.ndarray]:
    screen = gp.screen()
    assert screen is not None
    exact = np.array([p.forces.std.max() for p in gp.predict_full(frames)])
    return exact, np.array([screen(a)[1].max() for a in frames])


@pytest.mark.parametrize(("system", "zeta"), [("alloy", 2), ("aluminium", 2), ("aluminium", 3)])
def test_bounds_the_exact_std_where_the_potential_is_at_home_and_where_it_is_not(system: str, zeta: int) -> None:
    gp = fitted(system, zeta)
    start = alloy() if system == "alloy" else bulk("Al", cubic=True)
    inside = hot(start, 250, 8, seed=2)
    outside = hot(start, 1000, 8, seed=3) + surface(inside)
    exact, rough = largest(gp, inside)
    assert (exact <= rough).all() and (rough < 20 * exact).all()
    exact, rough = largest(gp, outside)
    assert (exact <= 1.3 * rough).all() and (rough < 20 * exact).all()


def test_grows_where_the_exact_std_grows() -> None:
    gp = fitted("aluminium")
    rng = np.random.default_rng(0)
    move = rng.normal(size=(4, 3))
    frames = []
    for size in (0.1, 0.2, 0.3):
        atoms = bulk("Al", cubic=True)
        atoms.positions += size * move
        frames.append(atoms)
    exact, rough = largest(gp, frames)
    assert (np.diff(exact) > 0).all() and (np.diff(rough) > 0).all()


def test_its_mean_is_the_mean_to_the_last_bit() -> None:
    gp, atoms = fitted("alloy"), hot(alloy(), 300, 1, seed=5)[0]
    screen = gp.screen()
    assert screen is not None
    for pairs in (None, find_pairs(atoms, gp.cutoff)):
        found, expected = screen(atoms, pairs)[0], gp.mean(atoms, pairs)
        assert found.energy == expected.energy
        np.testing.assert_array_equal(found.forces, expected.forces)
        np.testing.assert_array_equal(found.stress, expected.stress)


def test_does_not_depend_on_how_a_structure_is_written_down() -> None:
    gp, atoms = fitted("alloy"), hot(alloy(), 300, 1, seed=6)[0]
    screen = gp.screen()
    assert screen is not None
    expected = screen(atoms)[1]
    np.testing.assert_allclose(screen(atoms * (1, 2, 1))[1], np.tile(expected, 2), rtol=1e-8)
    order = np.random.default_rng(0).permutation(len(atoms))
    np.testing.assert_allclose(screen(atoms[order])[1], expected[order], rtol=1e-8)
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(screen(turned)[1], expected, rtol=1e-6)


def test_is_made_once_for_a_model_and_anew_for_another() -> None:
    gp = SparseGPPotential(soap(["Al"]), n_inducing=12, optimize=False, random_state=0)
    gp.fit(hot(bulk("Al", cubic=True), 200, 4, seed=1))
    first = gp.screen()
    assert isinstance(first, ForceScreen) and gp.screen() is first
    gp.partial_fit(hot(bulk("Al", cubic=True), 200, 1, seed=9))
    assert gp.screen() is not first


def test_a_model_file_gives_the_same_screen_and_none_without_training_structures(tmp_path: Path) -> None:
    gp, atoms = fitted("aluminium"), hot(bulk("Al", cubic=True), 400, 1, seed=7)[0]
    gp.save(tmp_path / "al.kernpot")
    loaded = load(tmp_path / "al.kernpot")
    screens = gp.screen(), loaded.screen()
    assert screens[0] is not None and screens[1] is not None
    np.testing.assert_array_equal(screens[1](atoms)[1], screens[0](atoms)[1])
    assert isinstance(loaded, SparseGPPotential)
    assert changed(loaded, training=None).screen() is None
