"""Learning that also describes what is new."""

from __future__ import annotations

import warnings
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.errors import StructureError
from kernpot.gp.inducing.unrepresented import choose, unrepresented_covariance, worth_describing
from tests.gp.rows.test_columns import require_same
from tests.helpers.systems import cluster, crystals, soap

SETTINGS: dict[str, Any] = {
    "descriptor": [soap(["Cu", "Au"], 3.5), soap(["Cu", "Au"], 4.5, l_max=1)],
    "kernel": [SOAPKernel(2, amplitude=1.0), SOAPKernel(4, amplitude=0.7)],
    "noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001},
    "optimize": False,
    "isolated_atoms": {"Cu": 3.0, "Au": 3.5},
    "random_state": 0,
}
KNOWN = crystals(8, symbols="Cu3Au")
NEW = [cluster("Cu2Au2"), crystals(1, seed=4, symbols="CuAu3")[0]]


def fitted(n_inducing: int = 400) -> SparseGPPotential:
    """All environments of `KNOWN` are inducing, and there is room for more."""
    return deepcopy(_fitted()).set_params(n_inducing=n_inducing)


@cache
def _fitted() -> SparseGPPotential:
    return SparseGPPotential(inducing=KNOWN, **SETTINGS).fit(KNOWN)


def missing(gp: SparseGPPotential, structures: list[Atoms], room: int = 100, level: float = 0.002) -> list[Atoms]:
    """Structures with masks of the environments to add."""
    return worth_describing(structures, gp.fitted_.features, gp.fitted_.whitening, gp.fitted_.amplitudes, level, room)


def n_chosen(chosen: list[Atoms]) -> int:
    return sum(int(a.arrays["inducing"].sum()) for a in chosen)


def test_what_is_new_is_described() -> None:
    """Every environment of a cluster in a model of crystals; the result is that of a fit with them."""
    gp = fitted()
    before = gp.n_inducing_
    assert gp.update(NEW) is gp
    assert gp.n_inducing_ > before
    added = missing(fitted(), NEW)
    assert gp.n_inducing_ == before + 2 * n_chosen(added)
    require_same(SparseGPPotential(inducing=[*KNOWN, *added], **SETTINGS).fit([*KNOWN, *NEW]), gp)


def test_what_is_known_is_only_learnt() -> None:
    gp, learnt = fitted(), fitted()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gp.update(KNOWN[:2])
    assert gp.n_inducing_ == learnt.n_inducing_
    require_same(learnt.partial_fit(KNOWN[:2]), gp)


def test_nothing_is_missing_any_more() -> None:
    """What the inducing environments leave of every atom's energy is below the misfit, and was not before."""
    gp = fitted()
    assert missing(gp, NEW)
    assert missing(gp.update(NEW), NEW) == []


def test_turned_and_moved_copies_are_known() -> None:
    gp = fitted().update(NEW)
    copy = NEW[0].copy()
    copy.rotate(31.0, (1, 2, 3))
    copy.positions += (1.0, -2.0, 0.5)
    assert missing(gp, [copy]) == []


@pytest.mark.parametrize("room", [0, 1, 2, 5])
def test_no_more_than_n_inducing(room: int) -> None:
    """An atom is described under both descriptors, or not at all."""
    gp = fitted(_fitted().n_inducing_ + room).update(NEW)
    assert gp.n_inducing_ == _fitted().n_inducing_ + 2 * (room // 2)


def test_the_newest_comes_first() -> None:
    """With room for one atom: the one whose energy is known least."""
    gp = fitted()
    left = unrepresented_covariance(NEW, gp.fitted_.features, gp.fitted_.whitening, gp.fitted_.amplitudes)
    variance = np.split(sum(m.diagonal().numpy() for m in left), [len(NEW[0])])
    (chosen,) = missing(gp, NEW, room=2)
    at = 0 if len(chosen) == len(NEW[0]) and variance[0].max() > variance[1].max() else 1
    np.testing.assert_array_equal(chosen.positions, NEW[at].positions)
    assert np.flatnonzero(chosen.arrays["inducing"]).tolist() == [variance[at].argmax()]


def test_twins_are_taken_once() -> None:
    gp = fitted()
    alone = n_chosen(missing(gp, NEW[:1]))
    assert n_chosen(missing(gp, [NEW[0], NEW[0].copy()])) == alone


def test_choice_by_hand() -> None:
    """Two alike atoms, a third that shares half with them, a fourth of its own that nobody asks for."""
    features = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [1.0, 1.0, 0], [0, 0, 0.1]], dtype=torch.float64)
    covariance = features @ features.T
    assert choose([covariance], 0.5, 10).tolist() == [True, False, True, False]
    assert choose([covariance], 1.5, 10).tolist() == [True, False, False, False]
    assert choose([covariance], 1e-3, 10).tolist() == [True, False, True, True]
    assert choose([covariance], 1e-3, 1).tolist() == [True, False, False, False]
    # A second descriptor that tells the twins apart.
    apart = torch.diag(torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64))
    assert choose([covariance, apart], 1.5, 1).tolist() == [False, True, False, False]


def test_unfitted_is_fitted() -> None:
    gp = SparseGPPotential(inducing=KNOWN, **SETTINGS).update(KNOWN)
    require_same(_fitted(), gp)


def test_bad_structures_change_nothing() -> None:
    gp = fitted()
    before = gp.predict(NEW, return_std=True)
    with pytest.raises(StructureError):
        gp.update([NEW[0], Atoms("H")])
    np.testing.assert_array_equal(gp.predict(NEW, return_std=True), before)
