"""Descriptors of one's own, and features that come with the structures, in both backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from dscribe.descriptors import SOAP

from kernpot import NNPEnsemble, SparseGPPotential, load
from kernpot.descriptors import GivenFeatures, features_from_dict
from kernpot.errors import DescriptorError, KernpotError, ModelFileError
from kernpot.testing import check_potential
from tests.doors.distance_features import DistanceFeatures
from tests.doors.real import copper, coverage, ethanol

ETHANOL = (1, 6, 8)
OWN = DistanceFeatures(ETHANOL)
NETWORKS = {"hidden": (16, 16), "n_members": 3, "n_components": 16, "max_epochs": 60, "random_state": 0}


def described(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Features and Jacobians of the descriptor above, as somebody else's code would give them."""
    n = len(atoms)
    jacobian = np.zeros((n, OWN.n_features, n, 3))
    for j in range(n):
        for a in range(3):
            move = np.zeros((n, 3))
            move[j, a] = 1.0
            jacobian[:, :, j, a] = OWN.jvp(atoms, move)
    return OWN(atoms), jacobian


def only_features(atoms: Atoms) -> np.ndarray:
    return OWN(atoms)


def with_arrays(frames: list[Atoms], jacobians: bool) -> list[Atoms]:
    for atoms in frames:
        features, jacobian = described(atoms)
        atoms.arrays["fingerprint"] = features
        if jacobians:
            atoms.arrays["fingerprint_jacobian"] = jacobian
    return frames


def given(jacobians: bool = True, function: bool = False) -> GivenFeatures:
    n = OWN.n_features
    if function:
        return GivenFeatures(described if jacobians else only_features, ["H", "C", "O"], n, jacobians)
    return GivenFeatures("fingerprint", ["H", "C", "O"], n, "fingerprint_jacobian" if jacobians else None)


def energies_alone(frames: list[Atoms]) -> dict[str, list[None]]:
    return {"forces": [None] * len(frames), "stress": [None] * len(frames)}


def backend(name: str, descriptor: object) -> SparseGPPotential | NNPEnsemble:
    if name == "gp":
        return SparseGPPotential(descriptor, n_inducing=60, inducing="fps", random_state=0)
    return NNPEnsemble(descriptor, **NETWORKS)


# ------------------------------------------------------------------ a descriptor of one's own


def test_its_derivatives_are_those_of_its_features(rng) -> None:
    for atoms, own in ((ethanol(0, 1)[0], OWN), (copper(1, 0)[0], DistanceFeatures((29,)))):
        move, weights, h = rng.normal(size=(len(atoms), 3)), rng.normal(size=(len(atoms), own.n_features)), 1e-5
        ends = []
        for step in (-h, h):
            moved = atoms.copy()
            moved.positions += step * move
            ends.append((weights * own(moved)).sum())
        gradient, _ = own.vjp(atoms, weights)
        assert np.isclose((gradient * move).sum(), (ends[1] - ends[0]) / (2 * h), rtol=1e-6)
        np.testing.assert_allclose((own.jvp(atoms, move) * weights).sum(), (gradient * move).sum(), rtol=1e-9)


@pytest.mark.parametrize("name", ["gp", "nnp"])
@pytest.mark.slow
def test_both_backends_learn_it_on_real_data(name: str, tmp_path: Path) -> None:
    train, held_out, test = ethanol(0, 60), ethanol(60, 80), ethanol(80, 110)
    potential = backend(name, OWN).fit(train).calibrate(held_out)
    rmse, inside = coverage(potential, test, "forces")
    spread = np.std(np.concatenate([a.get_forces().ravel() for a in test]))
    assert rmse < 0.7 * spread  # it knows no angles
    assert 0.8 < inside < 0.98
    potential.save(tmp_path / "m.kernpot")
    again = load(tmp_path / "m.kernpot")
    np.testing.assert_allclose(again.mean(test[0]).forces, potential.mean(test[0]).forces, atol=1e-9)


def test_with_it_a_potential_passes_the_conformance_suite() -> None:
    gp = SparseGPPotential(DistanceFeatures((29,)), n_inducing=20, random_state=0).fit(copper(10, 0))
    check_potential(gp, copper(1, 5))


def test_what_the_file_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(DescriptorError, match="kind 'unheard-of', known are acsf, distances, given, soap: import"):
        features_from_dict({"kind": "unheard-of"})


# ------------------------------------------------------------------ given features


def test_given_with_jacobians_is_the_descriptor_itself() -> None:
    """Mean, error bars and draws: the same model, whether kernpot evaluates the features or somebody else does."""
    train, test = with_arrays(ethanol(0, 12), True), with_arrays(ethanol(20, 22), True)
    settings = {"n_inducing": 30, "random_state": 0, "noise": {"energy": 0.002, "forces": 0.05}, "optimize": False}
    own, arrays, function = (
        SparseGPPotential(d, inducing=train[:3], **settings).fit(train) for d in (OWN, given(), given(function=True))
    )
    for atoms in test:
        expected = own.predict_full([atoms], covariance=True)[0]
        for other in (arrays, function):
            found = other.predict_full([atoms], covariance=True)[0]
            np.testing.assert_allclose(found.forces.mean, expected.forces.mean, atol=1e-7)
            np.testing.assert_allclose(found.forces.epistemic_std, expected.forces.epistemic_std, rtol=1e-5, atol=1e-9)
            assert float(found.energy.mean) == pytest.approx(float(expected.energy.mean), abs=1e-7)
            np.testing.assert_allclose(found.covariance.epistemic, expected.covariance.epistemic, atol=1e-8)
            draws = [p.sample_potentials(2, random_state=1).evaluate(atoms).forces for p in (own, other)]
            np.testing.assert_allclose(draws[0], draws[1], atol=1e-6)


@pytest.mark.slow
def test_networks_learn_given_features_with_jacobians() -> None:
    train, test = ethanol(0, 40), ethanol(40, 50)
    own = NNPEnsemble(OWN, **NETWORKS).fit(train)
    other = NNPEnsemble(given(function=True), **NETWORKS).fit(train)
    a, b = (np.concatenate([p.mean(t).forces for t in test]) for p in (own, other))
    assert np.sqrt(np.mean((a - b) ** 2)) < 0.02 * np.std(a)  # single precision on the way


@pytest.mark.parametrize("name", ["gp", "nnp"])
def test_without_jacobians_energies_only(name: str) -> None:
    """And nothing is said of the forces that they cannot have."""
    own = DistanceFeatures((29,))
    train, held_out, test = copper(40, 0), copper(15, 1), copper(30, 2)
    for atoms in (*train, *held_out, *test):
        atoms.arrays["distances"] = own(atoms)
    features = GivenFeatures("distances", ["Cu"], own.n_features)
    potential = backend(name, features).fit(train, **energies_alone(train))
    for atoms in held_out:
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy())
    potential.calibrate(held_out)
    energies, std = potential.predict(test, return_std=True)
    truth = np.array([a.get_potential_energy() for a in test])
    assert np.std(energies - truth) < 0.5 * np.std(truth)
    assert 0.7 < np.mean(np.abs(energies - truth) < 1.645 * std) <= 1.0
    np.testing.assert_allclose(potential.predict(test), energies, atol=1e-9)
    for ask in (potential.predict_full, potential.mean, potential.force_std, potential.energy_std):
        with pytest.raises(KernpotError, match="without Jacobians, so the potential knows energies only"):
            ask(test[0])


def test_labels_that_features_cannot_learn_are_refused_before_any_work() -> None:
    frames = with_arrays(ethanol(0, 3), False)
    with pytest.raises(DescriptorError, match=r"#0: has forces, which features without Jacobians"):
        SparseGPPotential(given(jacobians=False), n_inducing=10).fit(frames)


def test_wrong_arrays_are_named() -> None:
    frames = ethanol(0, 3)
    with pytest.raises(DescriptorError, match=r"#0: expected the array 'fingerprint' on the atoms"):
        SparseGPPotential(given(), n_inducing=10).fit(frames)
    frames = with_arrays(frames, True)
    frames[1].arrays["fingerprint"] = frames[1].arrays["fingerprint"][:, 1:]
    with pytest.raises(DescriptorError, match=r"#1: expected features of shape"):
        SparseGPPotential(given(), n_inducing=10).fit(frames)
    frames = with_arrays(ethanol(0, 3), True)
    for atoms in frames:
        atoms.arrays["fingerprint_jacobian"][:, :, 0] += 0.1
    with pytest.raises(DescriptorError, match="do not change when all atoms move together"):
        SparseGPPotential(given(), n_inducing=10).fit(frames)


@pytest.mark.filterwarnings("ignore:.*explained no better than by a constant")  # by so few structures
def test_arrays_do_not_follow_atoms_that_move() -> None:
    gp = SparseGPPotential(given(), n_inducing=20, inducing="fps", random_state=0).fit(with_arrays(ethanol(0, 8), True))
    with pytest.raises(KernpotError, match="belong to one geometry"):
        gp.calculator()
    assert gp.screen() is None


@pytest.mark.slow
def test_a_function_is_given_again_at_load(tmp_path: Path) -> None:
    train, test = ethanol(0, 20), ethanol(20, 21)[0]
    gp = SparseGPPotential(given(function=True), n_inducing=20, random_state=0).fit(train)
    gp.save(tmp_path / "m.kernpot")
    with pytest.raises(ModelFileError, match=r"described, which no file holds; give it again: load\(path, descriptor"):
        load(tmp_path / "m.kernpot")
    with pytest.raises(ModelFileError, match="does not tell of the same features"):
        load(tmp_path / "m.kernpot", descriptor=OWN)
    again = load(tmp_path / "m.kernpot", descriptor=given(function=True))
    np.testing.assert_allclose(again.mean(test).forces, gp.mean(test).forces, atol=1e-9)
    assert again.calculator() is not None
    torch.testing.assert_close(again.fitted_.posterior.root, gp.fitted_.posterior.root)


@pytest.mark.filterwarnings("ignore:.*explained no better than by a constant")  # by so few structures
def test_arrays_need_no_function_at_load_but_their_structures_stay_behind(tmp_path: Path) -> None:
    train, test = with_arrays(ethanol(0, 8), True), with_arrays(ethanol(20, 21), True)[0]
    gp = SparseGPPotential(given(), n_inducing=20, inducing="fps", random_state=0).fit(train)
    gp.save(tmp_path / "m.kernpot")
    again = load(tmp_path / "m.kernpot")
    np.testing.assert_allclose(again.mean(test).forces, gp.mean(test).forces, atol=1e-9)
    with pytest.raises(KernpotError, match="its features came with the structures"):
        again.left_out()


# ------------------------------------------------------------------ nothing wrong goes in or out silently


def test_draws_are_refused_what_predictions_are() -> None:
    frames = ethanol(0, 12)
    energies = SparseGPPotential(given(jacobians=False, function=True), n_inducing=20, random_state=0)
    energies.fit(frames, **energies_alone(frames))
    with pytest.raises(KernpotError, match="knows energies only"):
        energies.sample_potentials(2)
    arrays = SparseGPPotential(given(), n_inducing=20, inducing="fps", random_state=0).fit(with_arrays(frames, True))
    draws = arrays.sample_potentials(2, random_state=0)
    for potential in (draws[0], draws.mean_potential):
        with pytest.raises(KernpotError, match="belong to one geometry"):
            potential.calculator()


BROKEN = {
    "no Jacobians": (lambda a: (OWN(a), None), True, r"expected Jacobians of shape .* got None"),
    "Jacobians that nobody asked for": (described, False, "got a tuple; .*jacobians=True"),
    "nothing": (lambda _: None, False, r"expected features of shape .* got None"),
    "ragged lists": (lambda _: [[1.0], [1.0, 2.0]], False, "expected features as an array of real numbers, got list"),
    "complex": (lambda a: OWN(a) + 1j, False, "complex numbers"),
    "gradients": (lambda a: torch.tensor(OWN(a), requires_grad=True), False, "got Tensor"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_functions_that_give_something_else_are_refused(name: str) -> None:
    function, jacobians, match = BROKEN[name]
    frames = ethanol(0, 3)
    features = GivenFeatures(function, ["H", "C", "O"], OWN.n_features, jacobians)
    with pytest.raises(DescriptorError, match=match):
        SparseGPPotential(features, n_inducing=10).fit(frames, **({} if jacobians else energies_alone(frames)))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"species": None}, "species: expected symbols"),
        ({"species": [None]}, "species: expected symbols"),
        ({"cutoff": "5"}, "cutoff must be"),
        ({"n_features": True}, "n_features must be"),
        ({"jacobians": described}, "jacobians: expected True or False"),
    ],
)
def test_parameters_out_of_range(changes: dict[str, object], match: str) -> None:
    settings = {"features": described, "species": ["H"], "n_features": 3, "jacobians": True}
    with pytest.raises(DescriptorError, match=match):
        GivenFeatures(**(settings | changes))


def test_the_same_function_is_known_by_what_it_gives(tmp_path: Path) -> None:
    """Not by its name: a script's function is in no module, and an edited one keeps its name."""
    train, path = ethanol(0, 20), tmp_path / "m.kernpot"
    weighting = {"function": "poly", "r0": 3.0, "c": 1.0, "m": 2}
    soap = SOAP(species=["H", "C", "O"], r_cut=3.0, n_max=2, l_max=1, sigma=0.5, periodic=True, weighting=weighting)
    gp = SparseGPPotential([soap, given(function=True)], n_inducing=30, random_state=0).fit(train)
    gp.save(path)

    def elsewhere(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        return described(atoms)

    def edited(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        features, jacobian = described(atoms)
        return 1.1 * features, 1.1 * jacobian

    edited.__qualname__, edited.__module__ = described.__qualname__, described.__module__
    again = [GivenFeatures(f, ["H", "C", "O"], OWN.n_features, True) for f in (elsewhere, edited)]
    loaded = load(path, descriptor=[soap, again[0]])
    np.testing.assert_array_equal(loaded.mean(train[0]).forces, gp.mean(train[0]).forces)
    with pytest.raises(ModelFileError, match=r"gives others for .*give the function of the fit") as refused:
        load(path, descriptor=[soap, again[1]])
    assert "damaged" not in str(refused.value)
    with pytest.raises(ModelFileError, match="the model has 2 descriptors, got 1"):
        load(path, descriptor=again[0])
    with pytest.raises(ModelFileError, match="descriptor=: expected a dscribe"):
        load(path, descriptor=5)
