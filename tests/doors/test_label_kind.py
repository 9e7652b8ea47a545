"""A label kind is two files, the kind and its rows: energies of atoms, learnt, calibrated and predicted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot import NNPEnsemble, OnTop, SparseGPPotential, load
from kernpot.errors import KernpotError, KernpotWarning, ModelFileError, StructureError
from kernpot.functionals import labels as functionals
from kernpot.structures import kinds
from kernpot.structures.labels import label_structures
from tests.doors.atomic_energies import ATOMIC_ENERGIES
from tests.doors.atomic_energy_rows import ROWS
from tests.doors.real import copper, soap


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    kinds.register(ATOMIC_ENERGIES)
    functionals.register(ROWS)
    yield
    kinds.KINDS.pop("energies", None)
    functionals.FUNCTIONALS.pop("energies", None)


@pytest.fixture
def gp() -> SparseGPPotential:
    return SparseGPPotential(soap(["Cu"], 4.5), n_inducing=60, random_state=0).fit(copper(25, 0))


def test_they_are_read_counted_and_get_noise_and_misfit_of_their_own(gp: SparseGPPotential) -> None:
    assert label_structures(copper(1, 0))[0].kinds == ("energy", "forces", "stress", "energies")
    assert gp.summary_["data"]["atomic_energies"] == 25 * 4
    assert set(gp.noise_) == set(gp.misfit_) == {"energy", "forces", "stress", "energies"}
    assert gp.summary_["hyperparameters"]["leave_one_out"]["mae"].keys() == {"energy", "stress", "forces", "energies"}


def test_predicted_with_error_bars_that_hold_after_calibration(gp: SparseGPPotential) -> None:
    gp.calibrate(copper(10, 1))
    assert "energies" in gp.summary_["updates"][-1]["calibration"]
    test = copper(40, 2)
    truth = np.array([a.get_potential_energies() for a in test])
    found = gp.predict_label(test, "energies")
    mean, std = (np.array([getattr(q, part) for q in found]) for part in ("mean", "std"))
    assert found[0].unit == "eV" and mean.shape == truth.shape
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.2 * np.std(truth)
    inside = [(low <= t) & (t <= high) for q, t in zip(found, truth, strict=True) for low, high in [q.interval(0.9)]]
    assert 0.8 < np.mean(inside) < 0.99
    assert (np.array([q.epistemic_std for q in found]) <= std).all()
    energies = gp.predict_full(test[0])[0].energies
    np.testing.assert_allclose(mean[0], energies.mean, atol=1e-7)
    np.testing.assert_allclose(found[0].epistemic_std, energies.epistemic_std, rtol=1e-5)


def test_they_teach_what_totals_do_not_tell() -> None:
    """Without them the split of the energy over atoms is the prior's guess."""
    train, test = copper(15, 0, rattle=0.3), copper(10, 3, rattle=0.3)
    truth = np.array([a.get_potential_energies() for a in test])
    both = [
        SparseGPPotential(soap(["Cu"], 4.5), n_inducing=20, inducing="fps", random_state=0).fit(frames)
        for frames in (train, [_without(atoms) for atoms in train])
    ]
    errors = [np.std(np.array([p.energies.mean for p in gp.predict_full(test)]) - truth) for gp in both]
    assert errors[0] < 0.7 * errors[1]


def _without(atoms):
    copy = atoms.copy()
    results = {k: v for k, v in atoms.calc.results.items() if k in ("energy", "forces", "stress")}
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def test_learning_on_and_through_the_model_file(gp: SparseGPPotential, tmp_path: Path) -> None:
    gp.update(copper(3, 7))
    gp.save(tmp_path / "m.kernpot")
    again, atoms = load(tmp_path / "m.kernpot"), copper(1, 8)
    a, b = (p.predict_label(atoms, "energies")[0] for p in (gp, again))
    np.testing.assert_allclose(a.std, b.std, rtol=1e-9)
    np.testing.assert_array_equal(
        again.fitted_.training[0].others["energies"], gp.fitted_.training[0].others["energies"]
    )
    kinds.KINDS.pop("energies")
    with pytest.raises(ModelFileError, match=r"unknown kind of label .*import the module that registers it"):
        load(tmp_path / "m.kernpot")


def test_noise_may_be_given_and_bad_labels_are_named() -> None:
    frames = copper(8, 0)
    gp = SparseGPPotential(soap(["Cu"]), n_inducing=10, noise={"energies": 0.02}, random_state=0).fit(frames)
    assert gp.noise_["energies"] == 0.02
    frames[3].calc.results["energies"] = np.zeros(3)
    with pytest.raises(StructureError, match=r"structures\[3\]: expected 4 finite energies of atoms"):
        gp.fit(frames)


def test_who_does_not_know_them_says_so(gp: SparseGPPotential) -> None:
    with pytest.raises(
        KernpotError, match=r"expected one of the further kinds of labels in the fit \(energies\), got 'dipole'"
    ):
        gp.predict_label(copper(1, 0), "dipole")
    networks = NNPEnsemble(soap(["Cu"]), hidden=(4,), n_members=2, max_epochs=2, random_state=0)
    with pytest.warns(KernpotWarning, match="the labels energies of these structures are left out"):
        networks.fit(copper(8, 0))


@pytest.mark.slow
def test_other_processes_learn_them_too() -> None:
    """Which have never heard of them."""
    fits = [
        SparseGPPotential(soap(["Cu"], 4.5), n_inducing=30, random_state=0, n_jobs=n).fit(copper(8, 0)) for n in (1, 2)
    ]
    one, two = (gp.predict_label(copper(1, 1)[0], "energies")[0] for gp in fits)
    np.testing.assert_allclose(two.mean, one.mean, atol=1e-8)
    np.testing.assert_allclose(two.std, one.std, rtol=1e-5)


def test_a_baseline_leaves_them_out_with_a_warning() -> None:
    with pytest.warns(KernpotWarning, match="the labels energies of these structures are left out"):
        both = OnTop(MorsePotential(), SparseGPPotential(soap(["Cu"], 4.5), n_inducing=12, random_state=0)).fit(
            copper(12, 0)
        )
    assert "energies" not in both.learner_.noise_
