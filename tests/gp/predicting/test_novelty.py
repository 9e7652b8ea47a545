"""Novelty: what the numbers are, that they do not depend on how a structure is written down, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.errors import StructureError
from kernpot.functionals.state import InducingBlock
from kernpot.gp.predicting.novelty import Novelty, Spread, nearest_distance
from kernpot.kernels import Power
from kernpot.regression.gain import log_det
from tests.helpers.systems import crystals, soap

NAMES = ("leverage", "mahalanobis", "distance", "gain")
SETTINGS: dict[str, Any] = {
    "descriptor": soap(["Cu", "Au"]),
    "kernel": SOAPKernel(2, amplitude=5.0),
    "noise": {"energy": 0.01, "forces": 0.1, "stress": 0.01},
    "optimize": False,
    "n_inducing": 20,
    "random_state": 0,
}
FRAMES = crystals(8, symbols="Cu3Au")


@pytest.fixture(scope="module")
def gp() -> SparseGPPotential:
    return SparseGPPotential(**SETTINGS).fit(FRAMES)


def columns(novelty: Novelty) -> np.ndarray:
    return np.array([getattr(novelty, name) for name in NAMES])


def require_same(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9)


def rotated(atoms: Atoms) -> Atoms:
    turn = Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix()
    new = atoms.copy()
    new.set_cell(new.cell.array @ turn.T, scale_atoms=True)
    return new


def wrapped(atoms: Atoms) -> Atoms:
    new = atoms.copy()
    new.positions += np.random.default_rng(3).integers(-2, 3, (len(new), 3)) @ new.cell.array + [0.1, 2.0, -0.3]
    new.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ new.cell.array)
    return new


@pytest.mark.parametrize("change", [rotated, wrapped])
def test_does_not_depend_on_how_a_structure_is_written_down(
    gp: SparseGPPotential, change: Callable[[Atoms], Atoms]
) -> None:
    new = crystals(1, seed=7, symbols="Cu2Au2")[0]
    plain, changed = gp.novelty([new, change(new)])
    require_same(columns(plain), columns(changed))
    assert changed.structure_gain == pytest.approx(plain.structure_gain, rel=1e-6)


def test_permutations_and_supercells_keep_the_values_of_every_atom(gp: SparseGPPotential) -> None:
    new = crystals(1, seed=7, symbols="Cu2Au2")[0]
    order = [2, 0, 3, 1]
    plain, permuted, repeated = gp.novelty([new, new[order], new.repeat((1, 2, 1))])
    require_same(columns(plain)[:, order], columns(permuted))
    require_same(np.tile(columns(plain), 2), columns(repeated))


def test_inducing_environments_are_at_distance_zero_and_others_are_not() -> None:
    inducing, new = FRAMES[:3], crystals(1, seed=9, symbols="Cu3Au")
    gp = SparseGPPotential(**(SETTINGS | {"inducing": inducing})).fit(FRAMES)
    assert max(n.distance.max() for n in gp.novelty(inducing)) < 1e-12
    assert gp.novelty(new)[0].distance.min() > 1e-3


def test_distances_are_those_of_the_features(gp: SparseGPPotential) -> None:
    new = crystals(1, seed=7, symbols="Cu2Au2")[0]
    u = gp.fitted_.features[0](new)
    u /= np.linalg.norm(u, axis=1)[:, None]
    found = gp.novelty(new)[0]
    for block in gp.fitted_.whitening.blocks:
        own = new.numbers == block.element
        environments = block.environments.numpy()
        apart = np.linalg.norm(u[own][:, None] - environments, axis=2).min(1)
        np.testing.assert_allclose(found.distance[own], apart, rtol=1e-9)
        centred = u[own] - environments.mean(0)
        covariance = np.cov(environments.T, bias=True) + 1e-6 * np.eye(u.shape[1])
        squared = np.einsum("ia,ab,ib->i", centred, np.linalg.inv(covariance), centred)
        np.testing.assert_allclose(found.mahalanobis[own], np.sqrt(squared), rtol=1e-6)


def test_directions_left_out_of_the_basis_count(rng: np.random.Generator) -> None:
    """The part of an environment that the inducing directions cannot show is new, not invisible."""
    basis = torch.linalg.qr(torch.from_numpy(rng.normal(size=(9, 4))))[0]
    environments = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(6, 4))))
    block = InducingBlock(0, 29, Power(2), environments, slice(0, 6), basis)
    inside = environments[:1] @ basis.T
    outside = torch.linalg.qr(torch.cat([basis, torch.from_numpy(rng.normal(size=(9, 1)))], 1))[0][:, 4]
    u = 0.8 * inside + 0.6 * outside
    assert float(nearest_distance(inside, block)) < 1e-12
    assert float(nearest_distance(u, block)) == pytest.approx(np.sqrt(0.2**2 + 0.6**2))
    spread = Spread(block)
    assert float(spread(u)) ** 2 == pytest.approx(float(spread(0.8 * inside)) ** 2 + 0.6**2 / 1e-6)


def one_atom_crystals() -> list[Atoms]:
    frames = []
    for k, a in enumerate(np.linspace(3.4, 3.9, 9)):
        atoms = bulk("Cu", a=a * (1 + 0.01 * (k % 2)))
        atoms.calc = SinglePointCalculator(atoms, energy=0.1 * k)
        frames.append(atoms)
    return frames


@pytest.mark.filterwarnings("ignore:no structure has")
@pytest.mark.filterwarnings("ignore:.*inducing environments are used")
def test_leverages_of_energies_learnt_are_at_most_one_and_count_the_parameters() -> None:
    """Where every atom is a structure of its own, its energy is the label, and H is the hat matrix of the fit."""
    frames = one_atom_crystals()
    gp = SparseGPPotential(**(SETTINGS | {"descriptor": soap(), "isolated_atoms": {"Cu": 0.0}})).fit(frames)
    leverage = np.concatenate([n.leverage for n in gp.novelty(frames)])
    assert ((leverage > 0) & (leverage <= 1)).all()
    root = gp.fitted_.posterior.root
    parameters = len(root) - float(torch.linalg.inv(root).square().sum())  # M - tr (R^T R)^-1
    assert leverage.sum() == pytest.approx(parameters, rel=1e-6)


def test_gain_is_the_growth_of_the_log_determinant(gp: SparseGPPotential) -> None:
    new = crystals(1, seed=7, symbols="Cu3Au")[0]
    found = gp.novelty(new)[0]
    np.testing.assert_allclose(found.gain, np.log1p(found.leverage))
    assert found.gain.max() <= found.structure_gain <= found.gain.sum()
    twice = gp.novelty(new.repeat((2, 1, 1)))[0]
    assert found.structure_gain < twice.structure_gain < 2 * found.structure_gain


@pytest.mark.parametrize("shape", [(7, 3), (3, 7)])
def test_log_determinant_by_either_side(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    half = rng.normal(size=shape)
    expected = np.linalg.slogdet(np.eye(shape[1]) + half.T @ half)[1]
    assert log_det(torch.from_numpy(half)) == pytest.approx(expected, rel=1e-12)


def test_grows_away_from_the_data_and_shrinks_when_they_are_learnt() -> None:
    gp = SparseGPPotential(**SETTINGS).fit(FRAMES)
    far = crystals(1, seed=3, symbols="Cu3Au", strain=0.15)[0]
    known, before = gp.novelty([FRAMES[0], far])
    for name in NAMES:
        assert getattr(before, name).max() > getattr(known, name).max()
    after = gp.partial_fit([far]).novelty(far)[0]
    assert after.leverage.max() < before.leverage.max()
    np.testing.assert_array_equal(after.distance, before.distance)
    assert gp.add_inducing([far]).novelty(far)[0].distance.max() < 1e-12


@pytest.mark.filterwarnings("ignore:no structure has")
def test_of_several_descriptors_the_least_familiar_counts() -> None:
    both = SparseGPPotential(**(SETTINGS | {"descriptor": [soap(["Cu", "Au"]), soap(["Cu", "Au"], 3.0)]})).fit(FRAMES)
    new = crystals(1, seed=7, symbols="Cu2Au2")[0]
    found = both.novelty(new)[0]
    singles = []
    for block in both.fitted_.whitening.blocks:
        u = both.fitted_.features[block.descriptor](new)
        u /= np.linalg.norm(u, axis=1)[:, None]
        apart = np.linalg.norm(u[:, None] - block.environments.numpy(), axis=2).min(1)
        singles.append(np.where(new.numbers == block.element, apart, 0.0))
    np.testing.assert_allclose(found.distance, np.max(singles, axis=0), rtol=1e-9)


def test_a_loaded_model_says_the_same(gp: SparseGPPotential, tmp_path: Any) -> None:
    gp.save(tmp_path / "m.kernpot")
    new = crystals(2, seed=7, symbols="Cu2Au2")
    for a, b in zip(gp.novelty(new), load(tmp_path / "m.kernpot").novelty(new), strict=True):
        np.testing.assert_array_equal(columns(a), columns(b))


def test_unknown_elements_are_refused(gp: SparseGPPotential) -> None:
    with pytest.raises(StructureError, match="elements \\['Ag'\\] were not in the fit"):
        gp.novelty([FRAMES[0], crystals(1, symbols="Cu3Ag")[0]])


def test_makes_no_derivative_of_features(gp: SparseGPPotential, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost is that of energies alone: what forces and their error bars need is never made."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a derivative was asked for")

    monkeypatch.setattr("kernpot.functionals.state.DescribedStructure.pushed", refuse)
    monkeypatch.setattr("kernpot.functionals.moved.Moved.__init__", refuse)
    assert len(gp.novelty(FRAMES[0])[0]) == 4
