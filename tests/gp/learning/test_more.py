"""What is learnt after a fit is what a fit to everything gives, by dense normal equations; the old model stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.errors import InducingWarning, KernpotError, StructureError
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.more import with_inducing, with_labels, with_new_environments
from kernpot.gp.learning.start import starting_noise
from kernpot.gp.predicting.predictor import Predictor
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.labels import LabelledStructure, label_structures
from tests.gp.small import ISOLATED, NOISE, bound, dense, fitted, rows_of
from tests.helpers.systems import cluster, crystals, gases, labelled

FIRST, THEN = crystals(2, symbols="Cu2Au2"), [cluster("Cu2Au2"), *crystals(1, seed=8, symbols="CuAu3")]
NEW = crystals(1, seed=9, symbols="Cu3Au", strain=0.1)[0]


def more(fitted: FittedGP, frames: list[Atoms]) -> FittedGP:
    return with_labels(fitted, label_structures(frames), None, None)


def require_posterior(gp: FittedGP, frames: list[Atoms]) -> None:
    """Means and parameter covariances of the labels of a structure that nobody has seen."""
    expected, rows = dense(gp, frames), rows_of(gp, NEW)
    mean = gp.mean(NEW)
    energy = mean.energy - sum(ISOLATED[z] for z in NEW.numbers)
    found = np.concatenate([[energy], mean.forces.ravel(), mean.stress])
    np.testing.assert_allclose(found, expected.mean(rows), rtol=0, atol=2e-5 * np.abs(found).max())
    parts = [variances.parameter for _, variances in Predictor(gp).labels(NEW, LABEL_KINDS).values()]
    covariance = expected.covariance(rows).diagonal() / np.array([len(NEW) ** 2, *18 * [1]])
    np.testing.assert_allclose(torch.cat(parts), covariance, rtol=1e-4, atol=1e-7 * covariance.max())


def test_labels_in_two_steps_are_the_labels_of_all() -> None:
    old = fitted(FIRST).fitted_
    before, told = old.log_evidence, list(old.summary["updates"])
    new = more(old, THEN)
    require_posterior(new, [*FIRST, *THEN])
    assert len(new.training or ()) == 4
    assert new.summary["updates"][len(told) :][0]["data"]["structures"] == 2
    # Nothing of the old one has moved.
    require_posterior(replace(old, found_posterior=None), FIRST)
    assert old.summary["updates"] == told
    assert replace(old, found_posterior=None).log_evidence == before


def test_kinds_that_come_later_start_as_in_a_fit() -> None:
    with pytest.warns(match="no structure has stress"):
        old = fitted([labelled(a, ["energy", "forces"]) for a in FIRST], noise={"energy": 0.01, "forces": 0.1}).fitted_
    later: list[LabelledStructure] = label_structures(THEN)
    new = with_labels(old, later, None, None)
    assert new.kinds - old.kinds == {"stress"}
    assert new.noise["stress"] == starting_noise(later, old.noise_model, ISOLATED)["stress"]
    assert new.misfit["stress"].constant == new.noise["stress"]
    assert new.misfit["forces"] == old.misfit["forces"]


def test_more_inducing_environments_are_those_of_a_fit_with_all_of_them() -> None:
    old = fitted([*FIRST, *THEN]).fitted_
    new = with_inducing(old, gases(1, "Cu3Au3", seed=3), None, None)
    assert new.n_inducing == old.n_inducing + 6
    require_posterior(new, [*FIRST, *THEN])
    found = bound(new.maker, [*FIRST, *THEN], new.amplitudes.numpy(), NOISE)
    assert new.log_evidence == pytest.approx(found, rel=1e-6)
    assert new.log_evidence > old.log_evidence  # the bound grows with every inducing environment


def test_environments_that_are_inducing_already_change_nothing() -> None:
    old = fitted(FIRST).fitted_
    with pytest.warns(InducingWarning, match="inducing already"):
        assert with_inducing(old, gases(1, "Cu4Au4", seed=2), None, None) is old


def test_new_environments_enter_while_there_is_room() -> None:
    old = fitted(FIRST).fitted_
    strange = label_structures([labelled(a) for a in gases(1, "Cu3Au3", seed=3)])
    for room in (0, 1, 3):
        new = with_new_environments(old, strange, old.n_inducing + room, None, None)
        assert new.n_inducing == old.n_inducing + room
        assert (new is old) == (room == 0)
    known = label_structures([labelled(a) for a in gases(1, "Cu4Au4", seed=2)])
    assert with_new_environments(old, known, 100, None, None) is old


def test_other_elements_and_forgotten_structures_are_refused() -> None:
    old = fitted(FIRST).fitted_
    with pytest.raises(StructureError, match="Ag"):
        more(old, crystals(1, symbols="Cu3Ag"))
    with pytest.raises(KernpotError, match="needs the training structures"):
        with_inducing(replace(old, training=None), [NEW], None, None)
