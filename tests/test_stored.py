"""What models fitted by earlier versions answer, and what the same fits come to now."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from kernpot import load, read_structures

STORED = Path(__file__).resolve().parent / "stored"
# Of the largest number of a kind: what rounding on another processor may do to answers, and to a whole fit. A file
# holds no Cholesky factor of the inducing covariance; made anew it differs by rounding over the jitter, 1e-16 / 1e-10.
# A fit's search for the noise passes that on tenfold: answers of gp_crystal with one thread and with two differ by
# 1.2e-5. What changed numbers on purpose so far changed them by 1e-3 at least.
ROUNDING, OF_A_FIT = 1e-5, 1e-4
SCHEMAS = sorted(path.stem for path in (STORED / "schemas").glob("*.npz"))


def module(name):
    spec = importlib.util.spec_from_file_location("stored", STORED / name)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


MAKE = module("make.py")


def largest_difference(found, stored):
    assert set(found) == set(stored.files)
    worst = {}
    for name in stored.files:
        expected = stored[name]
        assert found[name].shape == expected.shape, name
        worst[name] = np.abs(found[name] - expected).max() / max(np.abs(expected).max(), 1e-12)
    return max(worst.items(), key=lambda item: item[1])


@pytest.mark.parametrize("name", list(MAKE.MODELS))
def test_a_stored_model_answers_as_it_did(name):
    potential = load(STORED / "before" / f"{name}.kernpot")
    found = MAKE.answers(potential, MAKE.frames_of(name))
    what, difference = largest_difference(found, np.load(STORED / "before" / f"{name}.npz"))
    assert difference < ROUNDING, what


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MAKE.MODELS))
def test_the_same_fit_comes_to_the_same_model(name):
    found = MAKE.answers(MAKE.MODELS[name][0](), MAKE.frames_of(name))
    # Fits whose numbers have changed since (CHANGELOG) are held to what they came to then.
    kept = STORED / "fits" / f"{name}.npz"
    what, difference = largest_difference(found, np.load(kept if kept.exists() else STORED / "before" / f"{name}.npz"))
    assert difference < OF_A_FIT, what


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_of_earlier_schemas_load_and_answer(name):
    potential = load(STORED / "schemas" / f"{name}.kernpot")
    frames = read_structures(MAKE.DATA / "dry_ice_gfn1.xyz.gz")[40:42]
    predictions = [potential.predict_full([atoms])[0] for atoms in frames]
    stored = np.load(STORED / "schemas" / f"{name}.npz")
    for key in stored.files:
        quantity, part = key.split(".")
        found = np.array([getattr(getattr(p, quantity), part) for p in predictions])
        np.testing.assert_allclose(found, stored[key], atol=1e-6, rtol=ROUNDING, err_msg=key)
