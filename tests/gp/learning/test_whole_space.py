"""The mean in the whole space of quadratic forms, against the dense Gaussian process of all labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from sklearn.base import clone

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning import size
from kernpot.gp.learning import whole_space as module
from kernpot.gp.learning.whole_space import WholeSpace, can_be_widened, groups_left_out, in_order, whole_space
from kernpot.gp.predicting.left_out import left_out_forces
from kernpot.gp.rows.compress import compress
from kernpot.gp.rows.maker import RowMaker
from kernpot.gp.rows.whitening import Whitening
from kernpot.structures.labels import label_structures
from tests.helpers.changed import changed
from tests.helpers.dense import DenseGP
from tests.helpers.systems import crystals, gases, soap

NOISE = {"energy": 0.01, "forces": 0.1, "stress": 0.01}
GROUPS = [[0, 3], [2]]


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    return crystals(6, symbols="Cu2Au2")


@pytest.fixture(scope="module")
def sparse(frames: list[Atoms]) -> SparseGPPotential:
    """Far fewer inducing environments than there are labels."""
    kernel = SOAPKernel(2, [29, 79])
    kernel.set_amplitude(torch.tensor([1.5, 0.8], dtype=torch.float64))
    settings = {"kernel": kernel, "noise": NOISE, "optimize": False, "isolated_atoms": {29: 3.0, 79: 3.5}}
    inducing = gases(1, "Cu4Au4", seed=2)
    return SparseGPPotential(soap(["Cu", "Au"], n_max=3, l_max=2), inducing=inducing, **settings).fit(frames)


@pytest.fixture
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solved until nothing changes, at the noise that is given, and with next to no jitter, which nothing else has."""
    monkeypatch.setattr("kernpot.gp.rows.whitening._JITTER", 1e-13)
    for name, value in {"_SCALES": (1.0,), "_STEPS": 400, "_LEFT_OUT": 0.0}.items():
        monkeypatch.setattr(module, name, value)
    # Every step is better than all before.
    steps = count()
    monkeypatch.setattr(module, "log_score", lambda _: -float(next(steps)))


def _searched(fitted: FittedGP, frames: Sequence[Atoms]) -> WholeSpace:
    labelled = label_structures(frames)
    kept = compress(labelled, fitted.maker, {k for group in GROUPS for k in group}).kept
    groups = [[one for one in kept if one.place in group] for group in GROUPS]
    found = whole_space(fitted, labelled, groups, set(), np.random.RandomState(0), None)
    assert found is not None
    return found


@pytest.mark.usefixtures("to_the_end")
def test_errors_on_structures_left_out_are_those_of_dense_fits_without_them(
    sparse: SparseGPPotential, frames: list[Atoms]
) -> None:
    fitted = sparse.fitted_
    found = _searched(fitted, frames)
    assert sorted(found.left_out) == [0, 2, 3]
    for group in GROUPS:
        others = [atoms for k, atoms in enumerate(frames) if k not in group]
        dense = DenseGP(others, fitted.features, sparse.kernels_, NOISE, fitted.isolated)
        for k in group:
            n = len(frames[k])
            mean, _ = dense(frames[k])
            errors = {
                "energy": (frames[k].get_potential_energy() - mean[:1]) / n,
                "forces": frames[k].get_forces().ravel() - mean[1 + n : 1 + 4 * n],
                "stress": frames[k].get_stress() - mean[1 + 4 * n :],
            }
            for kind, expected in errors.items():
                np.testing.assert_allclose(
                    found.left_out[k][kind].numpy(), expected, atol=1e-3 * np.abs(expected).max()
                )


@pytest.mark.usefixtures("to_the_end")
def test_errors_before_are_those_of_the_sparse_model_without_the_structures(
    sparse: SparseGPPotential, frames: list[Atoms]
) -> None:
    errors = []
    for group in GROUPS:
        others = [atoms for k, atoms in enumerate(frames) if k not in group]
        without = clone(sparse).set_params(inducing=gases(1, "Cu4Au4", seed=2)).fit(others).fitted_
        errors += [np.abs(without.mean(frames[k]).forces - frames[k].get_forces()) for k in group]
    told = _searched(sparse.fitted_, frames).told
    assert told["errors_before"]["forces"] == pytest.approx(float(np.mean(errors)), rel=1e-4)


@pytest.mark.usefixtures("to_the_end")
def test_the_model_with_directions_has_the_dense_mean(sparse: SparseGPPotential, frames: list[Atoms]) -> None:
    fitted = sparse.fitted_
    found = _searched(fitted, frames)
    dense = DenseGP(frames, fitted.features, sparse.kernels_, NOISE, fitted.isolated)
    new = crystals(8, symbols="Cu2Au2")[-1]
    whitening = Whitening(found.blocks)
    maker = RowMaker(fitted.features, whitening, fitted.noise_model, fitted.isolated)
    rows = compress(label_structures(frames), maker)
    widened = changed(sparse, whitening=whitening, factors=rows.factors, pull=None).fitted_
    mean, _ = dense(new)
    n = len(new)
    expected = mean[1 + n : 1 + 4 * n]
    scale = np.abs(expected).max()
    got, before = widened.mean(new), fitted.mean(new)
    np.testing.assert_allclose(got.forces.ravel(), expected, atol=1e-3 * scale)
    assert got.energy == pytest.approx(mean[0], abs=1e-3 * scale)
    assert np.abs(before.forces.ravel() - expected).max() > 0.02 * scale


@pytest.mark.parametrize(("name", "value"), [("_WORTH", 10.0), ("_WORK", 1.0)])
def test_a_model_stays_where_nothing_is_better_or_there_is_no_time(
    name: str, value: float, sparse: SparseGPPotential, frames: list[Atoms], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, value)
    labelled = label_structures(frames)
    kept = compress(labelled, sparse.fitted_.maker, {0, 3}).kept
    assert whole_space(sparse.fitted_, labelled, [kept], set(), np.random.RandomState(0), None) is None


@pytest.mark.parametrize(("n", "n_groups", "size"), [(8, 8, 1), (62, 9, 6), (100, 5, 10), (500, 2, 25), (5000, 1, 100)])
def test_groups_are_small_parts_of_all(n: int, n_groups: int, size: int) -> None:
    kept = list(np.random.RandomState(0).permutation(n)[:100])
    groups = groups_left_out(kept, n)
    assert [len(group) for group in groups] == [size] * n_groups
    together = [place for group in groups for place in group]
    assert len(set(together)) == len(together) and set(together) <= set(kept)


def test_the_least_noise_that_does_no_harm_at_the_start_is_tried_first() -> None:
    assert in_order({0.125: -5.1, 0.5: -5.2, 1.0: -5.0}, -5.0) == [0.125, 0.5, 1.0]
    assert in_order({0.125: -4.0, 0.5: -5.2, 1.0: -5.0}, -5.0) == [0.5, 1.0, 0.125]
    assert in_order({0.125: -3.0, 0.5: -4.0, 1.0: -5.0}, -5.0) == [1.0, 0.5, 0.125]


def test_only_quadratic_forms_and_labels_that_can_be_held_against_them(frames: list[Atoms]) -> None:
    labelled = label_structures(frames)
    assert can_be_widened([SOAPKernel(2)], labelled)
    assert not can_be_widened([SOAPKernel(2), SOAPKernel(3)], labelled)


@pytest.fixture(scope="module")
def widened() -> SparseGPPotential:
    """A fit of its own accord, from so few inducing environments that there is something to find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size, "FIRST", 8)
        patch.setattr(size, "WIDENED", 8)
        return SparseGPPotential(soap(["Cu"]), random_state=0).fit(crystals(40))


def test_a_fit_says_what_it_found(widened: SparseGPPotential) -> None:
    told = widened.summary_["hyperparameters"]["whole_space"]
    assert told["directions"] > 0 and told["steps"] > 0
    assert widened.n_inducing_ == 8 + told["directions"]
    for kind, error in told["errors"].items():
        assert error < told["errors_before"][kind]
    leave_one_out = widened.summary_["hyperparameters"]["leave_one_out"]
    assert leave_one_out["mae"] == pytest.approx(told["errors"])
    assert leave_one_out["structures"] == told["structures"] == 40


def test_errors_on_unseen_structures_are_as_it_says(widened: SparseGPPotential) -> None:
    unseen = crystals(60, seed=5)
    errors = [np.abs(widened.fitted_.mean(a).forces - a.get_forces()).mean() for a in unseen]
    said = widened.summary_["hyperparameters"]["leave_one_out"]["mae"]["forces"]
    assert float(np.mean(errors)) == pytest.approx(said, rel=0.35)


def test_its_file_holds_the_errors_on_structures_left_out(widened: SparseGPPotential, tmp_path: Path) -> None:
    widened.save(tmp_path / "m.kernpot")
    again = load(tmp_path / "m.kernpot")
    assert isinstance(again, SparseGPPotential)
    assert widened.fitted_.left_out is not None and again.fitted_.left_out is not None
    assert list(again.fitted_.left_out) == list(widened.fitted_.left_out)
    for place, of_kinds in widened.fitted_.left_out.items():
        for kind, values in of_kinds.items():
            assert torch.equal(values, again.fitted_.left_out[place][kind])
    ours, theirs = widened.left_out(), again.left_out()
    assert len(ours) == 40
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.errors, b.errors)


def test_errors_left_out_are_those_that_the_fit_found(widened: SparseGPPotential) -> None:
    """The directions know of every structure: closed forms for the residuals would be too good."""
    found, held = widened.left_out(), widened.fitted_.left_out
    assert held is not None
    for one, of_kinds in zip(found, held.values(), strict=True):
        np.testing.assert_allclose(one.errors.ravel(), -of_kinds["forces"].numpy(), rtol=1e-12)
    closed = left_out_forces(changed(widened, left_out=None).fitted_)
    assert np.mean([np.abs(a.errors).mean() for a in found]) > np.mean([np.abs(b.errors).mean() for b in closed])
