"""Learning in parts equals learning at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.errors import KernpotWarning, StructureError
from kernpot.gp.rows.compress import compress
from kernpot.structures.labels import label_structures
from tests.helpers.changed import changed
from tests.helpers.systems import cluster, crystals, labelled, slab, soap

SETTINGS: dict[str, Any] = {
    "descriptor": soap(["Cu", "Au"]),
    "kernel": SOAPKernel(2, amplitude=5.0),
    "noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001},
    "optimize": False,
    "isolated_atoms": {"Cu": 3.0, "Au": 3.5},
}
FIRST = [*crystals(4, symbols="Cu3Au"), cluster("Cu2Au2")]
SECOND = [*crystals(3, seed=1, symbols="Cu2Au2"), slab(), labelled(crystals(1, seed=2)[0], ["energy"])]
NEW = [crystals(1, seed=5, symbols="CuAu3")[0], cluster("CuAu3", seed=2)]


def require_same(a: SparseGPPotential, b: SparseGPPotential, tolerance: float = 1e-8) -> None:
    assert b.log_evidence_ == pytest.approx(a.log_evidence_, rel=1e-9)
    for p, q in zip(a.predict_full(NEW, covariance=True), b.predict_full(NEW, covariance=True), strict=True):
        for name in ("energy", "energies", "forces", "stress"):
            x, y = getattr(p, name), getattr(q, name)
            if x is None:
                continue
            np.testing.assert_allclose(y.mean, x.mean, rtol=0, atol=tolerance * max(1.0, np.abs(x.mean).max()))
            np.testing.assert_allclose(y.std, x.std, rtol=tolerance)
        assert p.covariance is not None
        assert q.covariance is not None
        np.testing.assert_allclose(q.covariance.total, p.covariance.total, atol=tolerance * p.covariance.total.max())


def test_equals_one_fit() -> None:
    at_once = SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST + SECOND)
    in_parts = SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST).partial_fit(SECOND)
    require_same(at_once, in_parts)


def test_equals_one_fit_with_learnt_hyperparameters() -> None:
    """Hyperparameters stay those of the first part; a fit to everything with them fixed is the same."""
    free = SETTINGS | {"noise": None, "optimize": True, "kernel": None}
    in_parts = SparseGPPotential(n_inducing=15, random_state=0, **free).fit(FIRST)
    noise, kernel, misfit = dict(in_parts.noise_), in_parts.kernels_[0], dict(in_parts.misfit_)
    in_parts.partial_fit(SECOND)
    assert in_parts.noise_ == noise
    # How large labels are is that of all of them.
    of_all = dict(in_parts.misfit_)
    assert {k: replace(m, signal=misfit[k].signal, prior=misfit[k].prior) for k, m in of_all.items()} == misfit
    at_once = SparseGPPotential(n_inducing=15, **(SETTINGS | {"noise": noise, "kernel": kernel})).fit(FIRST)
    factors = compress(label_structures(FIRST + SECOND), in_parts.fitted_.maker).factors
    pairs = in_parts.fitted_.unseen_pairs
    at_once = changed(at_once, whitening=in_parts.fitted_.whitening, factors=factors, misfit=of_all, unseen_pairs=pairs)
    require_same(at_once, in_parts)


def test_order_and_number_of_parts_do_not_matter() -> None:
    one_by_one = SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST)
    for atoms in reversed(SECOND):
        one_by_one.partial_fit([atoms])
    require_same(SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST).partial_fit(SECOND), one_by_one)
    assert [u["data"]["structures"] for u in one_by_one.summary_["updates"]] == [1] * 5


def test_first_call_fits() -> None:
    require_same(
        SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST),
        SparseGPPotential(inducing=FIRST, **SETTINGS).partial_fit(FIRST),
    )


@pytest.mark.slow
def test_processes() -> None:
    alone = SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST).partial_fit(SECOND)
    shared = SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST).set_params(n_jobs=2).partial_fit(SECOND)
    require_same(alone, shared)


def test_information_only_grows() -> None:
    gp = SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST)
    before = gp.predict_full(NEW)
    after = gp.partial_fit(SECOND).predict_full(NEW)
    for p, q in zip(before, after, strict=True):
        assert (q.forces.epistemic_std <= p.forces.epistemic_std * (1 + 1e-10)).all()
        assert q.forces.epistemic_std.mean() < 0.99 * p.forces.epistemic_std.mean()


@pytest.mark.filterwarnings("ignore:.*explained no better than by a constant")
def test_first_labels_of_a_kind_bring_their_own_noise() -> None:
    with pytest.warns(KernpotWarning, match="forces"):
        gp = SparseGPPotential(soap(), n_inducing=4, random_state=0).fit([labelled(cluster(), ["energy"])])
    guess = gp.misfit_["forces"]
    gp.partial_fit([cluster(seed=1)])
    assert gp.misfit_["forces"].constant == gp.noise_["forces"] != guess.constant


def test_refusals_leave_the_model_alone() -> None:
    gp = SparseGPPotential(inducing=FIRST, **SETTINGS).fit(FIRST)
    before = gp.predict_full(NEW)
    seen: list[Any] = []
    gp.set_params(progress=lambda *a: seen.append(a))
    foreign = Atoms("Ag", cell=[4, 4, 4], pbc=True)
    with pytest.raises(StructureError, match=r"structures\[1\]: elements \['Ag'\] were not in the fit"):
        gp.partial_fit([SECOND[0], foreign])
    broken = crystals(1)[0]
    broken.calc.results["forces"][1, 1] = np.inf
    with pytest.raises(StructureError, match=r"structures\[1\]: forces has 1 infinite"):
        gp.partial_fit([SECOND[0], broken])
    assert not seen
    for p, q in zip(before, gp.predict_full(NEW), strict=True):
        np.testing.assert_array_equal(p.forces.mean, q.forces.mean)
