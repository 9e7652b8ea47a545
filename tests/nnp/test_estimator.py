"""The ensemble as a user meets it: scikit-learn, labels of every kind, updates, choices, few and odd structures."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from kernpot import NNPEnsemble
from kernpot.errors import KernpotError, KernpotWarning, StructureError
from kernpot.nnp.last_layer import HiddenRows
from kernpot.structures.noise import NoiseModel
from tests.helpers.systems import cluster, crystals, labelled, slab, small_molecule, soap
from tests.nnp.small import LAST_LAYER_OF, ONE_OF, UNCERTAINTIES, acsf, estimator, relabelled

FRAMES = crystals(12, seed=1)
ENERGIES = np.array([a.calc.results["energy"] for a in FRAMES])


def finite(nnp: NNPEnsemble, frames: list[Atoms]) -> None:
    """All answers are numbers, and error bars are positive."""
    for p in nnp.predict_full(frames, covariance=True):
        for quantity in (p.energy, p.energies, p.forces, p.stress):
            if quantity is not None:
                assert (quantity.std > 0).all()
    assert np.isfinite(nnp.sample_potentials(2, 0).evaluate(frames[0]).forces).all()
    assert np.isfinite(nnp.energy_std(frames[0]).gradient).all()


# ------------------------------------------------------------------ scikit-learn

CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_mixin_order",
    "check_valid_tag_types",
    "check_do_not_raise_errors_in_init_or_set_params",
]


@pytest.mark.parametrize("name", CHECKS)
def test_check_of_scikit_learn(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        getattr(estimator_checks, name)("NNPEnsemble", NNPEnsemble())


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_fit_returns_self_and_sets_only_learnt_attributes(uncertainty: str) -> None:
    nnp = estimator(uncertainty=uncertainty, noise={"forces": 0.1})
    parameters, before = dict(nnp.get_params()), set(vars(nnp))
    assert nnp.fit(FRAMES) is nnp
    assert all(nnp.get_params()[name] is value for name, value in parameters.items())
    new = set(vars(nnp)) - before
    assert all(name.startswith("_") or name.endswith("_") for name in new), new
    state = {name: id(value) for name, value in vars(nnp).items()}
    nnp.predict(FRAMES[:2], return_std=True)
    nnp.predict_full(FRAMES[:1], covariance=True)
    nnp.score(FRAMES)
    nnp.energy_std(FRAMES[0])
    nnp.left_out()
    nnp.select(crystals(3, 8), 1)
    assert {name: id(value) for name, value in vars(nnp).items()} == state


@pytest.mark.parametrize(
    "method",
    ["predict", "predict_full", "mean", "score", "save", "calculator", "cutoff", "energy_std", "screen", "left_out",
     "sample_potentials", "calibrate"],
)  # fmt: skip
def test_unfitted_says_so(method: str, tmp_path: Any) -> None:
    arguments = {"mean": [FRAMES[0]], "energy_std": [FRAMES[0]], "save": [tmp_path / "x"], "sample_potentials": [2]}
    arguments |= {name: [FRAMES] for name in ("predict", "predict_full", "score", "calibrate")}
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(estimator(), method)(*arguments.get(method, []))


def test_clone_is_unfitted_with_equal_parameters() -> None:
    nnp = estimator(noise=NoiseModel(forces=0.1), hidden=[5, 4]).fit(FRAMES)
    twin = clone(nnp)
    assert not hasattr(twin, "_trained") and twin.noise == nnp.noise and twin.hidden == [5, 4]
    np.testing.assert_array_equal(twin.fit(FRAMES).predict(FRAMES), nnp.predict(FRAMES))


@pytest.mark.parametrize("uncertainty", LAST_LAYER_OF)
def test_same_seed_same_bits_and_another_seed_others(uncertainty: str) -> None:
    a, b, c = (estimator(uncertainty=uncertainty, random_state=seed).fit(FRAMES) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a.predict(FRAMES, True), b.predict(FRAMES, True))
    assert np.abs(a.predict(FRAMES) - c.predict(FRAMES)).min() > 1e-9
    assert a.summary_ == b.summary_
    again = [estimator(random_state=np.random.RandomState(3)).fit(FRAMES).predict(FRAMES) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_number_of_threads_changes_rounding_only() -> None:
    frames, before = [*crystals(5, symbols="Cu3Au"), slab(), cluster("Cu3Au")], torch.get_num_threads()
    try:
        found = []
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(estimator("Cu", "Au", max_epochs=5).fit(frames).predict(frames, True))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_refit_forgets() -> None:
    nnp = estimator().fit(crystals(5, seed=8)).fit(FRAMES)
    np.testing.assert_array_equal(nnp.predict(FRAMES), estimator().fit(FRAMES).predict(FRAMES))
    assert nnp.summary_["data"]["structures"] == 12


@pytest.mark.parametrize("uncertainty", LAST_LAYER_OF)
def test_travels_between_processes(uncertainty: str) -> None:
    nnp = estimator(uncertainty=uncertainty).fit(FRAMES)
    stream = io.BytesIO()
    joblib.dump(nnp, stream)
    stream.seek(0)
    for twin in (pickle.loads(pickle.dumps(nnp)), copy.deepcopy(nnp), joblib.load(stream)):
        np.testing.assert_array_equal(twin.predict(FRAMES, True), nnp.predict(FRAMES, True))
    more = crystals(2, seed=9)
    np.testing.assert_array_equal(twin.partial_fit(more).predict(FRAMES), nnp.partial_fit(more).predict(FRAMES))


def test_is_a_regressor() -> None:
    assert is_regressor(NNPEnsemble())


def test_predictions_and_std_have_a_regressors_shapes() -> None:
    nnp = estimator().fit(FRAMES)
    mean, std = nnp.predict(FRAMES, return_std=True)
    assert mean.shape == std.shape == (12,) and mean.dtype == std.dtype == np.float64
    np.testing.assert_allclose(nnp.predict(FRAMES), mean, rtol=1e-12)
    assert (std > 0).all()
    assert nnp.predict([]).shape == (0,) and [x.shape for x in nnp.predict([], return_std=True)] == [(0,), (0,)]
    assert nnp.predict_full([]) == []


def test_score_is_r2_of_energies_per_atom() -> None:
    nnp = estimator(max_epochs=100).fit(FRAMES)
    held_out = [crystals(1, 8)[0], crystals(1, 9)[0].repeat((2, 1, 1)), crystals(1, 10)[0]]
    energies = [a.calc.results["energy"] for a in (held_out[0],)] + [3.1, held_out[2].calc.results["energy"]]
    truth, found = np.array(energies) / [4, 8, 4], nnp.predict(held_out) / [4, 8, 4]
    expected = 1 - ((truth - found) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert nnp.score(held_out, energies) == pytest.approx(expected, rel=1e-12)
    assert nnp.score(held_out, energies, sample_weight=[1, 0, 1]) != pytest.approx(expected)
    assert nnp.score([*FRAMES, held_out[1]], [*ENERGIES, None]) == pytest.approx(nnp.score(FRAMES))


@pytest.mark.slow
def test_grid_search() -> None:
    grid = {"max_epochs": [1, 60], "descriptor": [soap(), acsf(["Cu"])]}
    search = GridSearchCV(estimator(n_members=2, learning_rate=0.03), grid, cv=KFold(2)).fit(FRAMES, ENERGIES)
    assert search.best_params_["max_epochs"] == 60
    assert len(search.cv_results_["mean_test_score"]) == 4 and np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(FRAMES[:2]).shape == (2,)


@pytest.mark.slow
def test_cross_validation_with_and_without_targets() -> None:
    nnp = estimator(n_members=2, max_epochs=60, learning_rate=0.03)
    with_targets, without = (cross_val_score(nnp, FRAMES, *y, cv=2) for y in ([ENERGIES], []))
    np.testing.assert_array_equal(with_targets, without)
    expected = [
        clone(nnp).fit([FRAMES[k] for k in train]).score([FRAMES[k] for k in test])
        for train, test in KFold(2).split(FRAMES)
    ]
    np.testing.assert_array_equal(with_targets, expected)
    found = cross_val_predict(nnp, FRAMES, ENERGIES, cv=3)
    assert np.abs(found - ENERGIES).max() / 4 < 0.3 and len(np.unique(found)) == 12


def test_cross_validation_at_its_fastest() -> None:
    scores = cross_val_score(estimator(n_members=2, max_epochs=2), FRAMES, ENERGIES, cv=2)
    expected = [
        estimator(n_members=2, max_epochs=2).fit(FRAMES[train]).score(FRAMES[test])
        for train, test in ((slice(6, 12), slice(6)), (slice(6), slice(6, 12)))
    ]
    np.testing.assert_array_equal(scores, expected)


def test_pipeline() -> None:
    pipe = Pipeline([("same", FunctionTransformer(lambda frames: frames)), ("nnp", estimator())])
    pipe.set_params(nnp__noise={"energy": 0.001})
    mean, std = pipe.fit(FRAMES, ENERGIES).predict(FRAMES, return_std=True)
    assert mean.shape == std.shape == (12,) and pipe.named_steps["nnp"].noise_["energy"] == 0.001


# ------------------------------------------------------------------ what it learns


@pytest.mark.parametrize("uncertainty", ONE_OF)
@pytest.mark.parametrize("descriptor", [soap(["Cu", "Au"]), acsf()], ids=["soap", "acsf"])
def test_it_learns(uncertainty: str, descriptor: Any) -> None:
    """Forces of fresh alloys to less than half of their size."""
    frames, fresh = crystals(20, 1, symbols="Cu3Au"), crystals(8, 2, symbols="Cu3Au")
    nnp = estimator(descriptor=descriptor, uncertainty=uncertainty, max_epochs=60, hidden=(10,), learning_rate=0.03)
    nnp.fit(frames)
    errors = [p.forces.mean - a.get_forces() for a, p in zip(fresh, nnp.predict_full(fresh), strict=True)]
    assert np.std(errors) < 0.5 * np.std([a.get_forces() for a in fresh])
    finite(nnp, fresh[:1])


def test_labels_given_override_the_structures_own() -> None:
    bare = [a.copy() for a in FRAMES]
    forces, stress = ([a.calc.results[k] for a in FRAMES] for k in ("forces", "stress"))
    expected = estimator().fit(FRAMES).predict(FRAMES, True)
    np.testing.assert_array_equal(estimator().fit(bare, ENERGIES, forces, stress).predict(FRAMES, True), expected)
    shifted = estimator().fit(FRAMES, ENERGIES + 40.0)
    np.testing.assert_allclose(shifted.predict(FRAMES), expected[0] + 40.0, atol=1e-3)


def test_input_is_not_changed() -> None:
    frames = crystals(6, 1)
    before = copy.deepcopy(frames)
    nnp = estimator().fit(frames)
    nnp.predict(frames)
    nnp.partial_fit(frames[:1])
    for a, b in zip(frames, before, strict=True):
        assert a == b and a.calc.results.keys() == b.calc.results.keys()


def test_training_does_not_follow_later_changes_of_structures() -> None:
    frames = crystals(6, 1)
    nnp = estimator().fit(frames)
    frames[0].positions += 1.0
    np.testing.assert_array_equal(nnp.fitted_.trained.labelled[0].atoms.positions, crystals(6, 1)[0].positions)


@pytest.mark.filterwarnings("ignore:no structure has", "ignore:the training has left", "ignore:none of the")
@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_structures(uncertainty: str, n: int) -> None:
    for kinds in (("energy", "forces", "stress"), ("energy",), ("energy", "forces")):
        nnp = estimator(uncertainty=uncertainty, max_epochs=3).fit(crystals(n, 1, kinds=kinds))
        finite(nnp, crystals(2, 5))
        assert nnp.summary_["held_out"] == (1 if n == 4 else 0)


@pytest.mark.filterwarnings("ignore:no structure has", "ignore:the training has left nothing")
@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_energies_only(uncertainty: str) -> None:
    nnp = estimator(uncertainty=uncertainty, max_epochs=40).fit(crystals(10, 1, kinds=("energy",)))
    assert set(nnp.noise_) == {"energy"}
    finite(nnp, crystals(2, 5))


@pytest.mark.parametrize("uncertainty", ONE_OF)
def test_an_energy_of_one_structure_only(uncertainty: str) -> None:
    frames = [FRAMES[0], *(relabelled(a, forces=a.get_forces()) for a in FRAMES[1:])]
    nnp = estimator(uncertainty=uncertainty, max_epochs=60).fit(frames)
    finite(nnp, crystals(2, 5))
    assert nnp.predict(FRAMES[:1])[0] == pytest.approx(ENERGIES[0], abs=2.0)


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_isolated_atoms_are_references(uncertainty: str) -> None:
    """Their energy is that of an isolated atom, not a label to train on."""
    alone = labelled(Atoms("Cu"), ("energy",))
    with_atom = estimator(uncertainty=uncertainty).fit([alone, *FRAMES])
    assert with_atom.isolated_atoms_ == {29: alone.get_potential_energy()}
    assert 0 not in with_atom.fitted_.trained.held
    finite(with_atom, [alone, FRAMES[0]])


@pytest.mark.filterwarnings("ignore:no structure has")
@pytest.mark.parametrize("uncertainty", LAST_LAYER_OF)
def test_isolated_atoms_alone(uncertainty: str) -> None:
    alone = [labelled(Atoms(z), ("energy",)) for z in ("Cu", "Au")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nnp = estimator("Cu", "Au", uncertainty=uncertainty).fit(alone)
    found = nnp.predict(alone)
    np.testing.assert_allclose(found, [a.get_potential_energy() for a in alone], atol=1e-2)
    nnp.partial_fit(alone)
    finite(nnp, alone)


@pytest.mark.parametrize("descriptor", [soap(["Cu", "Au"]), acsf()], ids=["soap", "acsf"])
@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_an_element_known_as_an_isolated_atom_only(uncertainty: str, descriptor: Any) -> None:
    frames = [*crystals(6, 1), labelled(Atoms("Au"), ("energy",))]
    nnp = estimator(descriptor=descriptor, uncertainty=uncertainty).fit(frames)
    finite(nnp, [crystals(1, 3, symbols="Cu3Au")[0], frames[-1]])


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_elements_that_never_meet(uncertainty: str) -> None:
    """Pure copper and pure gold: many a batch holds one of them only."""
    frames = [*crystals(6, 1), *crystals(6, 2, symbols="Au4")]
    nnp = estimator("Cu", "Au", uncertainty=uncertainty, batch_size=2).fit(frames)
    finite(nnp, [*frames[:1], *frames[-1:], crystals(1, 3, symbols="Cu2Au2")[0]])


@pytest.mark.parametrize("uncertainty", ONE_OF)
def test_cells_of_one_atom_within_the_cutoff_of_themselves(uncertainty: str) -> None:
    """Forces vanish by symmetry; skewed cells are as good as any."""
    frames = []
    for k in range(10):
        atoms = bulk("Cu")
        strain = 0.04 * np.random.default_rng(k).normal(size=(3, 3))
        atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ atoms.cell.array @ (np.eye(3) + strain))
        frames.append(labelled(atoms))
    nnp = estimator(descriptor=soap(cutoff=5.5), uncertainty=uncertainty, max_epochs=40).fit(frames)
    finite(nnp, frames)
    for p in nnp.predict_full(frames):
        np.testing.assert_allclose(p.forces.mean, 0.0, atol=1e-9)


@pytest.mark.filterwarnings("ignore:no structure has")
@pytest.mark.parametrize("uncertainty", ONE_OF)
def test_molecules_and_crystals_and_five_elements_together(uncertainty: str) -> None:
    frames = [
        *crystals(5, 1, symbols="Cu2AuPt"),
        *(small_molecule("CO", k) for k in range(5)),
        *(small_molecule("H2", k) for k in range(3)),
        slab(),
        labelled(Atoms("H"), ("energy",)),
    ]
    nnp = estimator(descriptor=None, uncertainty=uncertainty).fit(frames)
    assert len(nnp.elements_) == 6
    finite(nnp, frames[::3])


@pytest.mark.filterwarnings("ignore:no structure has")
@pytest.mark.parametrize("uncertainty", ONE_OF)
def test_hydrogen_alone(uncertainty: str) -> None:
    frames = [small_molecule("H2", k) for k in range(8)]
    nnp = estimator("H", uncertainty=uncertainty).fit(frames)
    finite(nnp, frames)


def argon(n: int, epsilon: float) -> list[Atoms]:
    frames = []
    for k in range(n):
        atoms = bulk("Ar", cubic=True, a=5.3)
        atoms.rattle(0.1, rng=np.random.default_rng(k))
        work = atoms.copy()
        work.calc = LennardJones(sigma=3.4, epsilon=epsilon, rc=8.0)
        labels = {"energy": work.get_potential_energy(), "forces": work.get_forces(), "stress": work.get_stress()}
        frames.append(relabelled(atoms, **labels))
    return frames


@pytest.mark.parametrize("epsilon", [1e-4, 1e3])
@pytest.mark.parametrize("uncertainty", ONE_OF)
def test_tiny_and_huge_forces(uncertainty: str, epsilon: float) -> None:
    frames = argon(12, epsilon)
    rms = float(np.std([a.get_forces() for a in frames]))
    assert rms < 1e-3 or rms > 1e2
    nnp = estimator(descriptor=soap(["Ar"], 6.0), uncertainty=uncertainty, max_epochs=100, learning_rate=0.05)
    found = nnp.fit(frames).predict_full(frames)
    finite(nnp, frames[:2])
    error = np.std([p.forces.mean - a.get_forces() for a, p in zip(frames, found, strict=True)])
    assert error < 0.7 * rms


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_labels_that_all_vanish(uncertainty: str) -> None:
    frames = [relabelled(a, energy=0.0, forces=np.zeros((4, 3)), stress=np.zeros(6)) for a in FRAMES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nnp = estimator(uncertainty=uncertainty).fit(frames)
    np.testing.assert_allclose(nnp.predict(FRAMES), 0.0, atol=1e-3)
    finite(nnp, FRAMES[:2])


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_the_same_structure_many_times(uncertainty: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nnp = estimator(uncertainty=uncertainty).fit([FRAMES[0]] * 7)
    finite(nnp, FRAMES[:2])


def test_total_energies_of_all_electron_codes() -> None:
    """Offsets of 1e5 eV an atom change nothing but the energies themselves."""
    moved = [relabelled(a, **(a.calc.results | {"energy": e - 4e5})) for a, e in zip(FRAMES, ENERGIES, strict=True)]
    nnp, plain = estimator().fit(moved), estimator().fit(FRAMES)
    np.testing.assert_allclose(nnp.predict(FRAMES) + 4e5, plain.predict(FRAMES), atol=1e-3)
    np.testing.assert_allclose(nnp.predict_full(FRAMES[0])[0].forces.mean, plain.mean(FRAMES[0]).forces, atol=1e-3)


def test_fewer_components_than_there_are() -> None:
    nnp = estimator(n_components=3).fit(FRAMES)
    assert nnp.fitted_.trained.inputs[29].projection.shape[1] == 3
    assert nnp.summary_["size"] == {"networks": 3, "weights of each": 3 * 6 + 6 + 6 + 1}


def test_summary_tells_of_the_training() -> None:
    nnp = estimator(patience=3, learning_rate=0.5).fit(FRAMES)
    told = nnp.summary_["training"]
    assert told["epochs"] == len(told["learning_curve"]) <= 10 and len(told["best_epochs"]) == 3
    assert told["steps"] == told["epochs"] * 2
    assert nnp.summary_["fitted_isolated_atoms"] == ["Cu"]


def test_progress_reports_every_stage() -> None:
    told: list[tuple[str, int, int]] = []
    estimator(uncertainty="last_layer", progress=lambda *a: told.append(a)).fit(FRAMES)
    stages = list(dict.fromkeys(t[0] for t in told))
    assert stages == ["derivatives", "training", "last layer"]
    for stage in stages:
        done = [t[1:] for t in told if t[0] == stage]
        assert done[-1][0] == done[-1][1] and [d[0] for d in done] == sorted(d[0] for d in done)
    stopped: list[tuple[str, int, int]] = []
    estimator(patience=1, max_epochs=50, learning_rate=0.9, progress=lambda *a: stopped.append(a)).fit(FRAMES)
    assert stopped[-1] == ("training", 50, 50)


# ------------------------------------------------------------------ updates


@pytest.mark.parametrize("uncertainty", ["ensemble", pytest.param("shallow", marks=pytest.mark.slow)])
def test_members_train_on_with_old_and_new_labels(uncertainty: str) -> None:
    frames, more = crystals(10, 1), crystals(6, 2, strain=0.08)
    nnp = estimator(uncertainty=uncertainty, max_epochs=60).fit(frames)
    held, misfit = nnp.fitted_.trained.held.tolist(), dict(nnp.misfit_)

    def error(on: list[Atoms]) -> float:
        return float(np.std([p.forces.mean - a.get_forces() for a, p in zip(on, nnp.predict_full(on), strict=True)]))

    before, old = error(more), error(frames)
    assert nnp.partial_fit(more) is nnp
    assert error(more) < before and error(frames) < 1.5 * old
    # Of the sixteen four should be held out, and of the six new ones one may be.
    now = nnp.fitted_.trained.held.tolist()
    assert now[: len(held)] == held and [k >= 10 for k in now[len(held) :]] == [True]
    assert len(nnp.fitted_.trained.labelled) == 16
    assert nnp.misfit_ != misfit
    assert [u["data"]["structures"] for u in nnp.summary_["updates"]] == [6]
    assert len(nnp.left_out()) == len(held) + 1


@pytest.mark.parametrize("uncertainty", LAST_LAYER_OF)
def test_updates_are_the_same_bit_by_bit(uncertainty: str) -> None:
    found = [
        estimator(uncertainty=uncertainty).fit(FRAMES[:8]).partial_fit(FRAMES[8:]).predict(FRAMES, True)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("uncertainty", ONE_OF)
def test_unfitted_is_fitted(uncertainty: str) -> None:
    expected = estimator(uncertainty=uncertainty).fit(FRAMES).predict(FRAMES)
    for method in ("partial_fit", "update"):
        nnp = getattr(estimator(uncertainty=uncertainty), method)(FRAMES)
        np.testing.assert_array_equal(nnp.predict(FRAMES), expected)


@pytest.mark.parametrize("uncertainty", LAST_LAYER_OF)
def test_updates_with_forces_only_and_one_structure(uncertainty: str) -> None:
    nnp = estimator(uncertainty=uncertainty).fit(FRAMES[:8])
    nnp.update([relabelled(FRAMES[8], forces=FRAMES[8].get_forces())])
    finite(nnp, FRAMES[:2])
    assert nnp.summary_["updates"][0]["data"]["energies"] == 0


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_refused_updates_change_nothing(uncertainty: str) -> None:
    nnp = estimator("Cu", "Au", uncertainty=uncertainty).fit(FRAMES)
    before, summary = nnp.predict(FRAMES, True), copy.deepcopy(nnp.summary_)
    with pytest.raises(StructureError, match=r"structures\[1\]: elements \['Au'\] were not in the fit"):
        nnp.partial_fit([FRAMES[0], crystals(1, symbols="Cu3Au")[0]])
    with pytest.raises(StructureError, match="empty list"):
        nnp.partial_fit([])
    with pytest.raises(KernpotError, match="batch_size"):
        nnp.set_params(batch_size=0).partial_fit(FRAMES[:1])
    np.testing.assert_array_equal(nnp.predict(FRAMES, True), before)
    assert nnp.summary_ == summary


def test_updates_that_fail_on_the_way_change_nothing() -> None:
    for uncertainty in UNCERTAINTIES:
        nnp = estimator(uncertainty=uncertainty).fit(FRAMES[:8])
        before, summary = nnp.predict(FRAMES, True), copy.deepcopy(nnp.summary_)

        def progress(stage: str, done: int, _: int) -> None:
            if stage in ("training", "last layer") and done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            nnp.set_params(progress=progress).partial_fit(FRAMES[8:])
        np.testing.assert_array_equal(nnp.predict(FRAMES, True), before)
        assert nnp.summary_ == summary


# ------------------------------------------------------------------ what to label next


def rows_of(nnp: NNPEnsemble, atoms: Atoms) -> np.ndarray:
    """Rows of all labels, divided by their noise, for the first member."""
    trained = nnp.fitted_.trained
    found = HiddenRows(trained.features, trained.inputs, {z: n.member(0) for z, n in trained.networks.items()})(atoms)
    parts = [(found.energies[:, None] / len(atoms), "energy"), (found.forces, "forces"), (found.stress, "stress")]
    rows = [x.reshape(len(x), -1).T / nnp.noise_[kind] for x, kind in parts if x is not None]
    return trained.amplitude * np.concatenate(rows)


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_choice_is_the_greedy_one_of_largest_determinants(uncertainty: str) -> None:
    nnp = estimator(uncertainty=uncertainty).fit(FRAMES[:6])
    pool = [*crystals(4, 8), *crystals(3, 9, strain=0.1), slab(), cluster()]
    found = nnp.select(pool, 4, random_part=0.0)
    learnt = [FRAMES[k] for k in range(6) if nnp.fitted_.trained.weights[:, k].any()]
    assert len(learnt) == 5
    precision = np.eye(7) + sum((r.T @ r for r in (rows_of(nnp, a) for a in learnt)), np.zeros((7, 7)))
    rows, chosen = [rows_of(nnp, a) for a in pool], []
    for place, gain in zip(found.indices.tolist(), found.gains, strict=True):
        before = np.linalg.slogdet(precision)[1]
        gains = [np.linalg.slogdet(precision + r.T @ r)[1] - before for r in rows]
        left = [k for k in range(len(pool)) if k not in chosen]
        assert gains[place] == pytest.approx(max(gains[k] for k in left), rel=1e-6, abs=1e-9)
        assert gain == pytest.approx(gains[place], rel=1e-4, abs=1e-6)
        chosen.append(place)
        precision += rows[place].T @ rows[place]
    assert not found.random.any() and len(found) == 4


def test_part_of_the_choice_is_random() -> None:
    nnp = estimator().fit(FRAMES)
    pool = crystals(12, 8)
    assert nnp.select(pool, 6).random.tolist() == [False, True] * 3
    assert nnp.select(pool, 6, 1.0).random.all()
    first, second = (nnp.set_params(random_state=k).select(pool, 6).indices.tolist() for k in (0, 1))
    assert first != second and first == nnp.set_params(random_state=0).select(pool, 6).indices.tolist()


def test_labels_are_not_looked_at_and_copies_not_chosen() -> None:
    nnp = estimator().fit(FRAMES[:6])
    pool = [*FRAMES[:3], *crystals(3, 8), crystals(3, 8)[1].copy()]
    found = nnp.select(pool, 3).indices.tolist()
    assert sorted(found) == [3, 4, 5]
    bare = [a.copy() for a in pool]
    assert nnp.select(bare, 3).indices.tolist() == found
    with pytest.raises(KernpotError, match="expected a number of structures to choose, 1 to 3"):
        nnp.select(pool, 4)
    with pytest.raises(KernpotError, match="random_part"):
        nnp.select(pool, 2, 1.5)


@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_choice_before_any_fit(uncertainty: str) -> None:
    """Unlike structures first."""
    pool = [a.copy() for a in [*crystals(6, 1, strain=0.001), crystals(1, 2, strain=0.15)[0], slab()]]
    nnp = estimator(uncertainty=uncertainty)
    found = nnp.select(pool, 3, random_part=0.0)
    assert {6, 7} & set(found.indices.tolist())
    assert (np.diff(found.gains) <= 1e-9).all()
    assert not hasattr(nnp, "_trained")
    assert nnp.select(pool, 3, random_part=0.0).indices.tolist() == found.indices.tolist()
    assert NNPEnsemble().select([small_molecule("CO2", k) for k in range(3)], 2).indices.shape == (2,)


def test_structures_that_cannot_be_chosen() -> None:
    nnp = estimator("Cu", "Au").fit(FRAMES)
    with pytest.raises(StructureError, match=r"structures\[1\].*\['Au'\] were not in the fit"):
        nnp.select([crystals(1, 8)[0], crystals(1, symbols="Cu3Au")[0]], 1)
    with pytest.raises(StructureError, match="empty"):
        nnp.select([], 1)
    with pytest.raises(KernpotError, match="n_members"):
        estimator(n_members=1).select(FRAMES, 1)


def test_novelty_is_not_offered() -> None:
    """The contract leaves it out; a gate asks whether it is there."""
    assert not hasattr(NNPEnsemble(), "novelty")
    assert estimator().fit(FRAMES).screen() is None


@pytest.mark.filterwarnings("ignore:no structure has stress")
def test_labels_that_only_isolated_atoms_have_are_no_obstacle() -> None:
    alone = Atoms("Cu", info={"config_type": "isolated_atom"})
    alone.calc = SinglePointCalculator(alone, energy=-0.5)
    noise = {"config_type": {"isolated_atom": {"energy": 1e-4}}}
    nnp = estimator(noise=noise, max_epochs=3).fit([*crystals(8, 1), alone])
    assert nnp.isolated_atoms_[29] == -0.5
    forces_only = [relabelled(a, forces=a.get_forces()) for a in crystals(8, 1)]
    finite(estimator(max_epochs=3).fit([*forces_only, alone]), crystals(2, 5))


def test_structures_without_labels_neither_train_nor_calibrate() -> None:
    unlabelled = [a.copy() for a in crystals(8, 7)]
    with pytest.warns(KernpotWarning, match=r"8 of 16 structures \(from structures\[8\] on\) have no label"):
        nnp = estimator(max_epochs=8).fit([*crystals(8, 1), *unlabelled])
    assert max(nnp.fitted_.trained.held) < 8 and not nnp.fitted_.trained.weights[:, 8:].any()
    assert max(nnp.summary_["training"]["best_epochs"]) > 1
