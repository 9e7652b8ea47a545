"""The estimator as scikit-learn sees it."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.descriptors import SOAPFeatures
from kernpot.errors import KernpotError
from kernpot.structures.noise import NoiseModel
from tests.helpers.systems import crystals, soap

FRAMES = crystals(12, seed=1)
ENERGIES = np.array([a.calc.results["energy"] for a in FRAMES])


def estimator(**changes: Any) -> SparseGPPotential:
    return SparseGPPotential(**({"descriptor": soap(), "n_inducing": 12, "random_state": 0} | changes))


# ------------------------------------------------------------------ scikit-learn's own checks

# Those of sklearn.utils.estimator_checks that do not feed arrays of numbers.
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
    check = getattr(estimator_checks, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        check("SparseGPPotential", SparseGPPotential())


def test_fit_returns_self_and_sets_only_learnt_attributes() -> None:
    """check_estimators_overwrite_params, check_dict_unchanged, check_dont_overwrite_attributes for structures."""
    gp = estimator(kernel=SOAPKernel(2), noise={"forces": 0.1})
    parameters = dict(gp.get_params(deep=False))
    before = set(vars(gp))
    assert gp.fit(FRAMES) is gp
    assert all(gp.get_params(deep=False)[name] is value for name, value in parameters.items())
    new = set(vars(gp)) - before
    assert all(name.startswith("_") or name.endswith("_") for name in new), new
    state = {name: id(value) for name, value in vars(gp).items()}
    gp.predict(FRAMES[:2], return_std=True)
    gp.predict_full(FRAMES[:1], covariance=True)
    gp.score(FRAMES)
    assert {name: id(value) for name, value in vars(gp).items()} == state


@pytest.mark.parametrize("method", ["predict", "predict_full", "mean", "score", "save", "calculator", "cutoff"])
def test_unfitted_says_so(method: str, tmp_path: Any) -> None:
    gp = estimator()
    arguments = {
        "predict": [FRAMES],
        "predict_full": [FRAMES],
        "mean": [FRAMES[0]],
        "score": [FRAMES],
        "save": [tmp_path / "x"],
    }
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(gp, method)(*arguments.get(method, []))


def test_clone_is_unfitted_with_equal_parameters() -> None:
    gp = estimator(kernel=[SOAPKernel(3)], noise=NoiseModel(forces=0.1), inducing=FRAMES[:2], n_jobs=1).fit(FRAMES)
    copy = clone(gp)
    assert not hasattr(copy, "kernels_")
    assert copy.noise == gp.noise
    assert copy.kernel[0].zeta == 3
    assert copy.kernel[0].amplitude.item() == 1.0
    assert [a == b for a, b in zip(copy.inducing, gp.inducing, strict=True)] == [True, True]
    np.testing.assert_array_equal(copy.fit(FRAMES).predict(FRAMES), gp.predict(FRAMES))


def test_refit_forgets() -> None:
    """check_fit_idempotent, and no trace of earlier data."""
    gp = estimator().fit(crystals(5, seed=8)).fit(FRAMES)
    np.testing.assert_array_equal(gp.predict(FRAMES), estimator().fit(FRAMES).predict(FRAMES))
    assert gp.summary_["data"]["structures"] == 12


def test_refused_refit_leaves_the_old_fit() -> None:
    gp = estimator().fit(FRAMES)
    before = gp.predict(FRAMES)
    gp.set_params(descriptor=soap(cutoff=3.0), n_inducing=0)
    with pytest.raises(KernpotError, match="n_inducing must be 'auto' or a positive integer, got 0"):
        gp.fit(FRAMES)
    gp.set_params(n_inducing=3, inducing="best")
    with pytest.raises(KernpotError, match="inducing must be one of auto, fps"):
        gp.fit(FRAMES)
    np.testing.assert_array_equal(gp.predict(FRAMES), before)


def test_travels_between_processes() -> None:
    """What joblib does to a fitted estimator: check_estimators_pickle for structures."""
    gp = estimator().fit(FRAMES)
    copy = pickle.loads(pickle.dumps(gp))
    np.testing.assert_array_equal(copy.predict(FRAMES), gp.predict(FRAMES))
    more = crystals(2, seed=9)
    np.testing.assert_array_equal(copy.partial_fit(more).predict(FRAMES), gp.partial_fit(more).predict(FRAMES))


def test_is_a_regressor() -> None:
    assert is_regressor(SparseGPPotential())


def test_random_state_instance() -> None:
    a, b = (estimator(random_state=np.random.RandomState(3)).fit(FRAMES).predict(FRAMES) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_predictions_and_std_have_a_regressors_shapes() -> None:
    gp = estimator().fit(FRAMES)
    mean, std = gp.predict(FRAMES, return_std=True)
    assert mean.shape == std.shape == (12,)
    assert mean.dtype == std.dtype == np.float64
    np.testing.assert_array_equal(gp.predict(FRAMES), mean)
    assert (std > 0).all()


def test_score_is_r2_of_energies_per_atom() -> None:
    gp = estimator().fit(FRAMES[:8])
    held_out = [FRAMES[8], FRAMES[9].repeat((2, 1, 1)), FRAMES[10]]
    energies = [ENERGIES[8], 2 * ENERGIES[9], ENERGIES[10]]
    truth, found = np.array(energies) / [4, 8, 4], gp.predict(held_out) / [4, 8, 4]
    expected = 1 - ((truth - found) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert gp.score(held_out, energies) == pytest.approx(expected, rel=1e-12)
    assert gp.score(held_out, energies, sample_weight=[1, 0, 1]) != pytest.approx(expected)
    assert gp.score(FRAMES[:8]) > 0.9
    assert gp.score([*FRAMES[:8], held_out[1]], [*ENERGIES[:8], None]) == pytest.approx(gp.score(FRAMES[:8]))


# ------------------------------------------------------------------ model selection


def test_grid_search_over_inducing_environments_and_kernels() -> None:
    grid = {"n_inducing": [1, 12], "kernel": [SOAPKernel(1), SOAPKernel(2)]}
    search = GridSearchCV(estimator(), grid, cv=KFold(3)).fit(FRAMES, ENERGIES)
    assert search.best_params_["n_inducing"] == 12
    assert search.best_estimator_.n_inducing_ == 12
    assert search.best_score_ > 0.8
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.predict(FRAMES[:2]).shape == (2,)


def test_grid_search_over_descriptors_without_targets() -> None:
    """Labels come from the structures' calculators, so no y is needed."""
    descriptors = [soap(cutoff=2.7, n_max=2, l_max=0), soap(n_max=4, l_max=3), [soap(cutoff=3.0), soap(cutoff=4.5)]]
    search = GridSearchCV(estimator(), {"descriptor": descriptors}, cv=2).fit(FRAMES)
    assert search.best_index_ in (1, 2)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_validation() -> None:
    scores = cross_val_score(estimator(), FRAMES, ENERGIES, cv=3)
    assert (scores > 0.8).all()
    found = cross_val_predict(estimator(), FRAMES, ENERGIES, cv=4)
    assert np.abs(found - ENERGIES).max() / 4 < 0.1
    assert len(np.unique(found)) == 12


def test_train_test_split_keeps_labels_with_structures() -> None:
    train, test, energies, _ = train_test_split(FRAMES, ENERGIES, random_state=0)
    assert all(isinstance(a, Atoms) for a in train)
    assert [a.calc.results["energy"] for a in train] == energies.tolist()
    assert estimator().fit(train).score(test) > 0.5


def test_pipeline() -> None:
    """A step that prepares structures, then the potential; its parameters are reached by name."""

    def centred(frames: list[Atoms]) -> list[Atoms]:
        out = []
        for atoms in frames:
            new = atoms.copy()
            new.positions -= new.positions.mean(0)
            out.append(new)
        return out

    pipe = Pipeline([("centre", FunctionTransformer(centred)), ("gp", estimator())])
    pipe.set_params(gp__noise={"energy": 0.001})
    with pytest.warns(match="no structure has"):
        pipe.fit(FRAMES, ENERGIES)
    mean, std = pipe.predict(FRAMES, return_std=True)
    assert np.abs(mean - ENERGIES).max() / 4 < 0.05
    assert std.shape == (12,)
    assert clone(pipe).named_steps["gp"].noise == {"energy": 0.001}


@pytest.mark.filterwarnings("ignore:no structure has")
def test_transformed_target() -> None:
    """Energies in another unit, converted on the way in and out."""
    bare = [a.copy() for a in FRAMES]
    wrapped = TransformedTargetRegressor(
        estimator(), func=lambda e: e / 1000, inverse_func=lambda e: e * 1000, check_inverse=False
    )
    wrapped.fit(bare, ENERGIES * 1000)
    plain = estimator().fit(bare, ENERGIES)
    np.testing.assert_allclose(wrapped.predict(bare), 1000 * plain.predict(bare), rtol=1e-7)


def test_grids_over_what_an_estimator_holds() -> None:
    """The power of its kernel and the settings of its descriptor; the user's objects, and fits, stay as they are."""
    kernel, features = SOAPKernel(2), SOAPFeatures(soap())
    grid = {"kernel__zeta": [1, 2], "descriptor__l_max": [1, 2]}
    search = GridSearchCV(estimator(descriptor=features, kernel=kernel), grid, cv=2).fit(FRAMES)
    assert set(search.best_params_) == set(grid)
    assert search.best_estimator_.kernels_[0].zeta == search.best_params_["kernel__zeta"]
    assert f"l_max={search.best_params_['descriptor__l_max']}" in repr(search.best_estimator_.descriptor)
    gp = estimator(descriptor=features).fit(FRAMES)
    before, n_features = gp.predict(FRAMES), features.n_features
    gp.set_params(descriptor__n_max=1)
    assert features.n_features < n_features
    np.testing.assert_array_equal(gp.predict(FRAMES), before)
    with pytest.raises(KernpotError, match=r"has no settings .'colour'., expected some of species"):
        features.set_params(colour=1)
