"""Inducing environments in few directions: an exact model, the whole one where nothing is cut off, and never blind."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from sklearn.base import clone

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.descriptors import SOAPFeatures
from kernpot.errors import ModelFileError
from kernpot.files.container import read_model, write_model
from kernpot.functionals.descriptions import Descriptions
from kernpot.gp.inducing.directions import principal_directions
from kernpot.prediction import Prediction
from kernpot.testing import check_potential
from tests.helpers.changed import changed
from tests.helpers.systems import cluster, crystals, gases, labelled, slab, soap

ALLOY = [*crystals(5, symbols="Cu3Au"), slab(), cluster("Cu3Au")]
NEW = [crystals(1, seed=5, symbols="Cu2Au2")[0], cluster("Cu2Au2", 3)]
FIXED = {"noise": {"energy": 0.01, "forces": 0.1, "stress": 0.01}, "optimize": False, "random_state": 0}


def assert_same(p: Prediction, q: Prediction, tolerance: float) -> None:
    for name in ("energy", "energies", "forces", "stress"):
        x, y = getattr(p, name), getattr(q, name)
        for part in ("mean", "std", "epistemic_std") if y is not None else ():
            want = np.asarray(getattr(y, part))
            np.testing.assert_allclose(getattr(x, part), want, rtol=0, atol=tolerance * np.abs(want).max())


def compression(mode: str) -> dict[str, Any]:
    return {"compression": {"mode": mode, "species_weighting": None}}


@pytest.mark.parametrize(
    "changes",
    [
        {"descriptor": soap(["Cu", "Au"]), "n_components": 5},
        pytest.param(
            {"descriptor": soap(["Cu", "Au"], **compression("mu1nu1")), "n_components": 6, "kernel": SOAPKernel(3)},
            marks=pytest.mark.slow,
        ),
        {"descriptor": [soap(["Cu", "Au"], 3.0, l_max=1), soap(["Cu", "Au"], 4.5)], "n_components": 4},
    ],
    ids=["off", "mu1nu1", "sum"],
)
def test_it_passes_the_conformance_suite(changes: dict[str, Any]) -> None:
    """Finite differences of energy and variance, invariances, save and load, clone."""
    gp = SparseGPPotential(n_inducing=16, random_state=0, **changes).fit(ALLOY)
    assert gp.summary_["n_components"] == [changes["n_components"]] * len(gp.fitted_.whitening.blocks)
    assert [b.basis.shape[1] for b in gp.fitted_.whitening.blocks] == gp.summary_["n_components"]
    check_potential(gp, NEW)


@pytest.mark.parametrize("zeta", [2, 3])
def test_it_is_the_model_with_these_inducing_environments(zeta: int) -> None:
    """Unit features in the basis serve as inducing environments like any others, written out in all features."""
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=16, n_components=5, kernel=SOAPKernel(zeta), **FIXED)
    gp.fit(ALLOY)
    blocks = [replace(b, environments=b.environments @ b.basis.T, basis=None) for b in gp.fitted_.whitening.blocks]
    whitening = copy.deepcopy(gp.fitted_.whitening)
    whitening.blocks[:] = blocks
    written_out = changed(gp, whitening=whitening)
    for p, q in zip(gp.predict_full(NEW, covariance=True), written_out.predict_full(NEW, covariance=True), strict=True):
        assert_same(p, q, 1e-9)
        np.testing.assert_allclose(
            p.covariance.epistemic, q.covariance.epistemic, atol=1e-9 * p.covariance.epistemic.max()
        )


@pytest.mark.parametrize("zeta", [2, 4])
def test_all_directions_are_the_whole_model(zeta: int) -> None:
    """With one element, mu1nu1 has every feature with n different from n' twice: three quarters span all there is."""
    descriptor = soap(n_max=2, l_max=2, **compression("mu1nu1"))
    frames, new = [labelled(a) for a in gases(12)], [crystals(1, seed=7)[0], cluster(seed=4)]
    # Few and unlike inducing environments: their covariance is well conditioned, so rounding stays small.
    settings = {"inducing": [slab(1)[:1], cluster(seed=1)[:1]], "kernel": SOAPKernel(zeta), **FIXED}
    whole = SparseGPPotential(descriptor, **settings).fit(frames)
    gp = SparseGPPotential(descriptor, n_components=11, **settings).fit(frames)
    assert whole.summary_["n_components"] == [12]
    assert gp.summary_["n_components"] == [9]
    for p, q in zip(gp.predict_full(new), whole.predict_full(new), strict=True):
        assert_same(p, q, 1e-8)


def test_directions_never_seen_keep_their_prior_variance() -> None:
    """Trained on pure metals, no direction of the basis sees an alloy; the error bars do, as without a basis."""
    pure = [*crystals(6, symbols="Cu4"), *crystals(6, seed=3, symbols="Au4")]
    alloy = crystals(2, seed=9, symbols="Cu2Au2")
    std = {}
    for n_components in (None, 8):
        gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=20, n_components=n_components, **FIXED).fit(pure)
        p = gp.predict_full(alloy)[0]
        std[n_components] = np.array([float(p.energy.epistemic_std), p.forces.epistemic_std.mean()])
    assert (np.abs(std[8] / std[None] - 1) < 0.1).all()


@pytest.mark.parametrize("n_components", [None, 18, 100])
def test_no_projection(n_components: int | None) -> None:
    """As many components as features, or more: to the bit as without."""
    frames = crystals(4)
    gp = SparseGPPotential(soap(), n_inducing=8, n_components=n_components, **FIXED).fit(frames)
    assert gp.fitted_.whitening.blocks[0].basis is None
    assert gp.summary_["n_components"] == [18]
    np.testing.assert_array_equal(
        gp.predict(frames), SparseGPPotential(soap(), n_inducing=8, **FIXED).fit(frames).predict(frames)
    )


def test_a_descriptor_with_fewer_features_stays_whole() -> None:
    descriptors = [soap(["Cu", "Au"], n_max=2, l_max=0), soap(["Cu", "Au"])]
    gp = SparseGPPotential(descriptors, n_inducing=8, n_components=12, **FIXED).fit(ALLOY)
    assert gp.summary_["n_components"] == [10, 10, 12, 12]
    assert [b.basis is None for b in gp.fitted_.whitening.blocks] == [True, True, False, False]


def test_more_components_lose_less() -> None:
    """Learnt directions come in order of what they hold."""
    frames = crystals(15)
    whole = SparseGPPotential(soap(), n_inducing=30, **FIXED).fit(frames).mean(frames[0]).forces
    error = [
        np.abs(
            SparseGPPotential(soap(), n_inducing=30, n_components=r, **FIXED).fit(frames).mean(frames[0]).forces - whole
        ).max()
        for r in (2, 8, 15)
    ]
    assert error[0] > 10 * error[1] > 100 * error[2]


def directions(features: SOAPFeatures, structures: list[Atoms], n_components: int) -> dict[int, torch.Tensor]:
    return principal_directions(Descriptions([features], structures), 0, n_components, np.random.RandomState(0))


def test_directions_hold_values_and_derivatives() -> None:
    """A perfect crystal shows one direction in its values; those of its derivatives are found as well."""
    atoms = labelled(crystals(1)[0])
    features = SOAPFeatures(soap(["Cu", "Au"]))
    d = features.n_features
    w = directions(features, [atoms] * 40, d - 1)[29].numpy()
    assert list(directions(features, ALLOY, 3)) == [29, 79]
    np.testing.assert_allclose(w.T @ w, np.eye(w.shape[1]), atol=1e-12)
    for rows in (features(atoms), *(features.jvp(atoms, np.eye(12)[k].reshape(4, 3)) for k in range(12))):
        np.testing.assert_allclose(rows @ w @ w.T, rows, rtol=0, atol=1e-5 * np.abs(rows).max())
    plain = np.linalg.svd(features(atoms))[2][:4]
    moved = features.jvp(atoms, np.eye(12)[0].reshape(4, 3))
    assert np.abs(moved - moved @ plain.T @ plain).max() > 1e-3 * np.abs(moved).max()


def test_same_seed_same_bits_and_clone() -> None:
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=10, n_components=4, random_state=3)
    assert clone(gp).get_params()["n_components"] == 4
    np.testing.assert_array_equal(gp.fit(ALLOY).predict(NEW), clone(gp).fit(ALLOY).predict(NEW))


def test_learning_goes_on_after_loading(tmp_path: Path) -> None:
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=10, n_components=4, random_state=0).fit(ALLOY)
    gp.save(tmp_path / "model.kernpot")
    loaded = load(tmp_path / "model.kernpot")
    assert loaded.n_components == 4
    more = crystals(2, seed=8, symbols="CuAu3")
    np.testing.assert_array_equal(gp.partial_fit(more).predict(NEW), loaded.partial_fit(more).predict(NEW))


def test_new_inducing_environments_are_seen_whole(tmp_path: Path) -> None:
    """The basis grows by what they have outside it; the old ones stay what they are."""
    pure = [*crystals(6, symbols="Cu4"), *crystals(6, seed=3, symbols="Au4")]
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=20, n_components=8, **FIXED).fit(pure)
    before = [b.environments @ b.basis.T for b in gp.fitted_.whitening.blocks]
    alloy = crystals(2, seed=9, symbols="Cu2Au2")
    old = float(gp.predict_full(alloy)[0].energy.epistemic_std)
    gp.partial_fit(alloy).add_inducing(alloy)
    for b, old_environments in zip(gp.fitted_.whitening.blocks, before, strict=True):
        r = b.basis.shape[1]
        assert r > 8
        torch.testing.assert_close(b.basis.T @ b.basis, torch.eye(r, dtype=torch.float64), rtol=0, atol=1e-12)
        torch.testing.assert_close((b.environments @ b.basis.T)[: len(old_environments)], old_environments)
        u = torch.from_numpy(gp.fitted_.features[0](alloy[0])[alloy[0].numbers == b.element])
        u /= u.norm(dim=1, keepdim=True)
        seen = (u @ b.basis).norm(dim=1)
        assert (seen > 0.9999).all()
    assert float(gp.predict_full(alloy)[0].energy.epistemic_std) < 0.1 * old
    gp.save(tmp_path / "a")
    np.testing.assert_array_equal(load(tmp_path / "a").predict(alloy), gp.predict(alloy))


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda _, t: t.pop("basis.1"), r"basis\.1"),
        (lambda _, t: t.update({"basis.0": t["basis.0"] * 2}), r"basis\.0 is off orthonormal"),
        (lambda _, t: t.update({"basis.0": t["basis.0"][1:]}), r"basis\.0 has the shape"),
        (lambda _, t: t.update({"basis.0": t["basis.0"].astype(np.float32)}), "float32"),
        (lambda _, t: t.update({"basis.0": t["basis.0"][:, 1:].copy()}), r"environments\.0 has the shape"),
        (lambda h, _: h["blocks"][0].update(in_basis=False), r"environments\.0 has the shape"),
    ],
)
def test_a_damaged_basis_is_named(tmp_path: Path, forge: Any, message: str) -> None:
    SparseGPPotential(soap(["Cu", "Au"]), n_inducing=8, n_components=4, **FIXED).fit(ALLOY).save(tmp_path / "a")
    header, tensors = read_model(tmp_path / "a")
    del header["sha256"]
    forge(header, tensors)
    write_model(tmp_path / "b", header, tensors)
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path / "b")


def test_a_file_from_before(tmp_path: Path) -> None:
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=8, **FIXED).fit(ALLOY)
    gp.save(tmp_path / "a")
    header, tensors = read_model(tmp_path / "a")
    del header["sha256"], header["parameters"]["n_components"]
    for block in header["blocks"]:
        del block["in_basis"]
    write_model(tmp_path / "b", header, tensors)
    loaded = load(tmp_path / "b")
    assert loaded.n_components is None
    np.testing.assert_array_equal(loaded.predict(NEW), gp.predict(NEW))


def test_element_whose_environments_hold_nothing() -> None:
    """Atoms out of reach of each other move nothing; their one direction is kept."""
    lone = labelled(cluster("Cu"), ["energy"])
    w = directions(SOAPFeatures(soap()), [lone], 5)[29]
    assert w.shape == (18, 1)
    u = torch.from_numpy(SOAPFeatures(soap())(lone))
    torch.testing.assert_close(u @ w @ w.T, u)
