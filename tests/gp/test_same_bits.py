"""A model that went through its file goes on as the model that never left memory, to the last bit."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from kernpot import SOAPKernel, SparseGPPotential, load
from tests.helpers.systems import cluster, crystals, soap

START = [*crystals(6, symbols="Cu3Au"), cluster("Cu2Au2"), cluster("CuAu", seed=3)]
MORE = [*crystals(3, seed=1, symbols="Cu2Au2"), cluster("CuAu3", seed=2)]
ASKED = [crystals(1, seed=5, symbols="CuAu3")[0], cluster("CuAu3", seed=4)]

ESTIMATORS: dict[str, dict[str, Any]] = {
    "default": {"n_inducing": 20},
    "learnt": {"descriptor": soap(["Cu", "Au"]), "n_inducing": 25, "isolated_atoms": {"Cu": 3.0, 79: 3.5}},
    "several": {
        "descriptor": [soap(["Cu", "Au"], 3.5), soap(["Cu", "Au"], 4.5, l_max=1)],
        "kernel": [SOAPKernel(2, amplitude=1.3), SOAPKernel(4)],
        "n_inducing": 30,
        "noise": {"forces": 0.03},
    },
    "components": {"descriptor": soap(["Cu", "Au"]), "n_inducing": 20, "n_components": 9, "kernel": SOAPKernel(3)},
    "given": {"descriptor": soap(["Cu", "Au"]), "inducing": START[5:7], "n_inducing": 100},
}


def fitted(name: str) -> SparseGPPotential:
    return SparseGPPotential(random_state=3, **ESTIMATORS[name]).fit(START)


def through_file(gp: SparseGPPotential, folder: Path) -> SparseGPPotential:
    gp.save(folder / "model.kernpot")
    loaded: SparseGPPotential = load(folder / "model.kernpot")
    return loaded


def require_same_bits(a: SparseGPPotential, b: SparseGPPotential) -> None:
    assert (a.noise_, a.misfit_, a.isolated_atoms_) == (b.noise_, b.misfit_, b.isolated_atoms_)
    for p, q in zip(a.kernels_, b.kernels_, strict=True):
        np.testing.assert_array_equal(p.amplitude.detach(), q.amplitude.detach())
    assert a.n_inducing_ == b.n_inducing_
    assert a.log_evidence_ == b.log_evidence_
    for p, q in zip(a.predict_full(ASKED), b.predict_full(ASKED), strict=True):
        for name in ("energy", "energies", "forces", "stress"):
            x, y = getattr(p, name), getattr(q, name)
            if x is not None:
                np.testing.assert_array_equal(x.mean, y.mean)
                np.testing.assert_array_equal(x.std, y.std)


def go_on(gp: SparseGPPotential, how: str) -> SparseGPPotential:
    if how == "update":
        return gp.set_params(n_inducing=gp.n_inducing_ + 6).update(MORE[:2]).update(MORE[2:])
    if how == "partial_fit and add_inducing":
        masked = MORE[3].copy()
        masked.arrays["inducing"] = np.arange(len(masked)) < 2
        return gp.partial_fit(MORE).add_inducing([masked])
    fresh: SparseGPPotential = clone(gp)
    return fresh.fit([*START, *MORE])


@pytest.mark.filterwarnings("ignore::kernpot.errors.KernpotWarning")
@pytest.mark.parametrize("how", ["update", "partial_fit and add_inducing", "fit"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_same_bits(name: str, how: str, tmp_path: Path) -> None:
    if (name, how) == ("given", "fit"):
        pytest.skip("files hold the environments of inducing structures, not the structures")
    in_memory = fitted(name)
    loaded = through_file(deepcopy(in_memory), tmp_path)
    require_same_bits(in_memory, loaded)
    a, b = go_on(in_memory, how), go_on(loaded, how)
    require_same_bits(a, b)
    require_same_bits(a, through_file(b, tmp_path))
