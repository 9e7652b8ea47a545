"""When the inducing environments span all labels the sparse posterior is the dense one: mean, covariance, evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from ase import Atoms
from dscribe.descriptors import SOAP

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.prediction import Prediction
from tests.helpers.dense import DenseGP
from tests.helpers.systems import cluster, crystals, gases, slab, soap

NOISE = {"energy": 0.01, "forces": 0.1, "stress": 0.01}


@pytest.fixture(autouse=True)
def small_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jitter is the one thing in which the sparse posterior differs; these descriptors do with little."""
    monkeypatch.setattr("kernpot.gp.rows.whitening._JITTER", 1e-12)


def both(
    structures: Sequence[Atoms], inducing: Sequence[Atoms], descriptor: SOAP | list[SOAP], kernel: list[SOAPKernel]
) -> tuple[SparseGPPotential, DenseGP]:
    gp = SparseGPPotential(descriptor, kernel=kernel, noise=NOISE, optimize=False, inducing=inducing)
    gp.fit(structures)
    return gp, DenseGP(structures, gp.fitted_.features, gp.kernels_, NOISE, gp.isolated_atoms_)


def both_quiet(
    structures: Sequence[Atoms], inducing: Sequence[Atoms], descriptor: SOAP | list[SOAP], kernel: list[SOAPKernel]
) -> tuple[SparseGPPotential, DenseGP]:
    with pytest.warns(match="labels, so their misfit is unknown"):
        return both(structures, inducing, descriptor, kernel)


def require_equal(p: Prediction, dense: tuple[np.ndarray, np.ndarray], tolerance: float = 1e-6) -> None:
    mean, covariance = dense
    n = len(p.energies.mean)
    names = ["energy", "energies", "forces"] + ["stress"] * (p.stress is not None)
    ends = np.cumsum([0, 1, n, 3 * n, 6])
    for name, start, stop in zip(names, ends, ends[1:], strict=False):
        q = getattr(p, name)
        np.testing.assert_allclose(q.mean.ravel(), mean[start:stop], rtol=0, atol=tolerance * np.abs(q.mean).max())
        variance = covariance.diagonal()[start:stop]
        np.testing.assert_allclose(q.epistemic_std.ravel() ** 2, variance, rtol=0, atol=tolerance * variance.max())
    if p.covariance is None:
        return
    joint = np.r_[0, 1 + n : len(mean)]  # all but the atomic energies
    expected = covariance[np.ix_(joint, joint)]
    scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
    assert np.abs((p.covariance.epistemic - expected) / scale).max() < tolerance


@pytest.mark.parametrize("zeta", [1, 2, 3, 4])
def test_energies_only(zeta: int) -> None:
    """Energies are sums over their own environments: any descriptor is exact when all of them are inducing."""
    frames = crystals(5, kinds=["energy"], symbols="Cu3Au")
    gp, dense = both_quiet(frames, frames, soap(["Cu", "Au"]), [SOAPKernel(zeta, [29, 79], 2.0)])
    for new in (*crystals(2, seed=7, symbols="Cu3Au"), cluster("CuAu2Cu")):
        require_equal(gp.predict_full([new], covariance=True)[0], dense(new))
    assert gp.log_evidence_ == pytest.approx(dense.log_marginal_likelihood(), rel=1e-6)


@pytest.mark.parametrize("zeta", [1, 2])
def test_all_labels(zeta: int) -> None:
    """Forces need derivatives of environments, which are exact when the inducing ones span the space of features."""
    small = soap(n_max=2, l_max=1)  # 6 features: 21 products
    frames = [*crystals(3), slab(), cluster()]
    gp, dense = both(frames, gases(30), small, [SOAPKernel(zeta, amplitude=3.0)])
    for new in (crystals(1, seed=7)[0], slab(3), cluster(seed=4)):
        require_equal(gp.predict_full([new], covariance=True)[0], dense(new))
    assert gp.log_evidence_ == pytest.approx(dense.log_marginal_likelihood(), rel=1e-6)


def test_two_elements_and_two_descriptors() -> None:
    descriptors = [soap(["Cu", "Au"], cutoff=3.2, n_max=2, l_max=1), soap(["Cu", "Au"], cutoff=4.5, n_max=1, l_max=2)]
    kernels = [SOAPKernel(1, [29, 79]), SOAPKernel(2, [29, 79])]
    kernels[0].set_amplitude(torch.tensor([2.0, 0.7], dtype=torch.float64))
    kernels[1].set_amplitude(torch.tensor([0.5, 1.1], dtype=torch.float64))
    frames = crystals(3, symbols="Cu2Au2")
    gp, dense = both(frames, gases(30, "Cu3Au3"), descriptors, kernels)
    for new in (crystals(1, seed=7, symbols="CuAu3")[0], cluster("Cu3Au")):
        require_equal(gp.predict_full([new], covariance=True)[0], dense(new))
    assert gp.log_evidence_ == pytest.approx(dense.log_marginal_likelihood(), rel=1e-6)


def test_noise_scale_is_the_noise_of_that_structure() -> None:
    frames = [*crystals(3), cluster()]
    frames[1].info["noise_scale"] = 4.0
    gp, dense = both(frames, gases(30), soap(n_max=2, l_max=1), [SOAPKernel(2)])
    new = crystals(1, seed=7)[0]
    require_equal(gp.predict_full([new], covariance=True)[0], dense(new))


def test_noise_of_a_config_type_is_the_noise_of_its_structures() -> None:
    """Its own level three times the common one is a scale of three."""
    frames = crystals(4)
    frames[2].info["config_type"] = "odd"
    odd = {"odd": {kind: 3 * sigma for kind, sigma in NOISE.items()}}
    settings = {"kernel": SOAPKernel(2), "optimize": False, "inducing": gases(30)}
    gp = SparseGPPotential(soap(n_max=2, l_max=1), noise={**NOISE, "config_type": odd}, **settings).fit(frames)
    assert set(gp.noise_) == {*NOISE, *(f"{kind}[odd]" for kind in NOISE)}
    frames[2].info["noise_scale"] = 3.0
    dense = DenseGP(frames, gp.fitted_.features, gp.kernels_, NOISE, gp.isolated_atoms_)
    new = crystals(1, seed=7)[0]
    require_equal(gp.predict_full([new])[0], dense(new))


def test_evidence_is_a_lower_bound() -> None:
    frames = crystals(4)
    settings = (soap(), [SOAPKernel(2, amplitude=3.0)])
    few, dense = both(frames, crystals(1, seed=5), *settings)
    more, _ = both(frames, crystals(4, seed=5), *settings)
    exact = dense.log_marginal_likelihood()
    assert few.log_evidence_ < more.log_evidence_ < exact


def test_usual_jitter_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    gp, dense = both([*crystals(3), cluster()], gases(30), soap(n_max=2, l_max=1), [SOAPKernel(2)])
    assert gp.fitted_.whitening.jitter == [1e-10]
    require_equal(gp.predict_full(crystals(1, seed=7))[0], dense(crystals(1, seed=7)[0]), 1e-4)


def test_prior_where_nothing_was_learnt() -> None:
    """With labels of no weight the posterior is the prior: the isolated atoms, and the kernel's own variance."""
    with pytest.warns(match="misfit is unknown"):
        gp = SparseGPPotential(
            soap(), noise={"energy": 1e6}, optimize=False, kernel=SOAPKernel(2, amplitude=1.5), n_inducing=4
        ).fit(crystals(1, kinds=["energy"]))
    new = cluster()
    p = gp.predict_full([new])[0]
    assert p.energy.mean == pytest.approx(4 * gp.isolated_atoms_[29], abs=1e-6)
    np.testing.assert_allclose(p.energies.epistemic_std, 1.5, rtol=1e-6)
