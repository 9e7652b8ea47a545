"""A search on small crystals: the best is kept, stopped searches go on, and model files tell of it."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernpot import NNPEnsemble, SOAPKernel, SparseGPPotential, load, tune
from kernpot.errors import KernpotError, KernpotWarning
from kernpot.files.container import read_model
from kernpot.report import describe_model
from kernpot.tuning import TuneResult
from kernpot.tuning.run import tuned
from kernpot.tuning.trial import Trial
from tests.helpers.systems import crystals, soap

FRAMES = crystals(9)
SECONDS = 12.0


def found(journal: Path | None = None, seconds: float = SECONDS, made: list[Trial] | None = None) -> TuneResult:
    """A search in which every fit takes one second."""
    observe = None if made is None else made.append
    estimator = SparseGPPotential(soap(), kernel=SOAPKernel(zeta=3))
    tick = itertools.count().__next__
    return tuned(FRAMES, seconds, estimator, journal, 0, None, observe, n_sample=6, n_inducing=8, clock=tick)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneResult, Path]:
    """A search that nothing stopped, and its journal."""
    journal = tmp_path_factory.mktemp("tune") / "journal.jsonl"
    return found(journal), journal


def test_the_best_has_the_lowest_score_of_fits_to_all_structures(whole: tuple[TuneResult, Path]) -> None:
    result, _ = whole
    trials = result.cv_results_
    of_all = [score for score, n in zip(trials["score"], trials["n_structures"], strict=True) if n == len(FRAMES)]
    assert len(of_all) >= 2 and result.best_score_ == min(of_all)
    best = trials["score"].index(result.best_score_)
    gp = result.best_estimator_
    mae = gp.summary_["hyperparameters"]["leave_one_out"]["mae"]
    assert mae == {kind: trials[f"mae_{kind}"][best] for kind in ("energy", "forces", "stress")}
    assert result.best_score_ == pytest.approx(sum(np.log(list(mae.values()))))
    assert gp.kernels_[0].zeta == 3
    assert gp.n_inducing == result.best_params_["n_inducing"] == trials["params"][best]["n_inducing"]
    assert gp.descriptor.get_number_of_features() == result.best_params_["descriptor"].get_number_of_features()
    assert sum(trials["fit_time"]) == len(trials["score"]) <= SECONDS


def test_a_search_that_was_cut_goes_on_and_chooses_the_same(whole: tuple[TuneResult, Path], tmp_path: Path) -> None:
    result, journal = whole
    lines = journal.read_text().splitlines()
    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(lines[:5]) + "\n" + lines[5][:30])  # killed while the fifth trial was being written
    made: list[Trial] = []
    again = found(cut, made=made)
    assert len(made) == len(lines) - 5
    assert again.cv_results_ == result.cv_results_ and again.best_score_ == result.best_score_
    assert cut.read_text() == journal.read_text()


def test_a_finished_search_makes_no_trial_again_and_the_same_model(whole: tuple[TuneResult, Path]) -> None:
    result, journal = whole
    made: list[Trial] = []
    again = found(journal, made=made)
    assert made == []
    assert again.best_estimator_.predict(FRAMES[:1])[0] == result.best_estimator_.predict(FRAMES[:1])[0]


def test_more_time_goes_on_from_less(whole: tuple[TuneResult, Path], tmp_path: Path) -> None:
    result, journal = whole
    longer = tmp_path / "journal.jsonl"
    longer.write_text(journal.read_text())
    made: list[Trial] = []
    more = found(longer, seconds=20.0, made=made)
    assert made and len(more.cv_results_["score"]) == len(result.cv_results_["score"]) + len(made)
    assert more.best_score_ <= result.best_score_


def test_journals_of_something_else_are_refused(whole: tuple[TuneResult, Path], tmp_path: Path) -> None:
    _, journal = whole
    with pytest.raises(KernpotError, match="journal of another search: it was made with other data, other parameters"):
        tune(crystals(9, seed=1), 0.01, SparseGPPotential(soap()), journal)
    with pytest.raises(KernpotError, match=r"with other random_state\. Its trials"):
        tune(FRAMES, 0.01, SparseGPPotential(soap(), kernel=SOAPKernel(zeta=3)), journal, random_state=1)
    other = tmp_path / "other"
    other.write_text("frames\n")
    with pytest.raises(KernpotError, match="expected a journal of trials, got a file that begins with 'frames'"):
        found(other)
    damaged = tmp_path / "damaged.jsonl"
    lines = journal.read_text().splitlines()
    damaged.write_text("\n".join([*lines[:2], lines[2].replace('"seconds": 1', '"seconds": -1'), *lines[3:]]) + "\n")
    with pytest.raises(KernpotError, match="line 3: expected a trial"):
        found(damaged)


def test_the_model_file_and_its_description_hold_the_table(whole: tuple[TuneResult, Path], tmp_path: Path) -> None:
    result, _ = whole
    result.best_estimator_.save(tmp_path / "m.kernpot")
    again = load(tmp_path / "m.kernpot")
    tuning = again.summary_["tuning"]
    assert tuning == result.best_estimator_.summary_["tuning"] == json.loads(json.dumps(tuning))
    assert tuning["trials"][tuning["best"]]["score"] == result.best_score_
    rows = dict(describe_model(read_model(tmp_path / "m.kernpot")[0]))["Tuning"]
    assert len(rows) == 1 + len(result.cv_results_["score"])
    (chosen,) = [value for name, value in rows if name.endswith(" *")]
    assert f"inducing {result.best_params_['n_inducing']}" in chosen and "energy meV/atom" in chosen
    (marked,) = [row for row in result.table() if row["trial"].endswith("*")]
    assert marked["score"] == f"{result.best_score_:.3f}"


def test_the_chosen_fit_warns_as_any_and_the_others_are_silent() -> None:
    frames = crystals(8, kinds=("energy", "forces"))
    frames[3].calc.results.pop("forces")
    with pytest.warns(KernpotWarning) as of_fit:
        SparseGPPotential(soap(), n_inducing=8, random_state=0).fit(frames)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = tuned(frames, 9.0, SparseGPPotential(soap()), None, 0, None, None, 100, 8, itertools.count().__next__)
    assert len(result.cv_results_["score"]) > 1
    # Of other settings: how uncertain stress is is another number.
    words = [[re.sub(r"[\d.]+ eV/A\^3", "", str(w.message)) for w in warned] for warned in (told, of_fit)]
    assert words[0] == words[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"minutes": 0}, "minutes must be a number above 0, got 0"),
        ({"random_state": None}, "random_state must be a whole number"),
        ({"estimator": NNPEnsemble()}, "expected a SparseGPPotential, got NNPEnsemble"),
        ({"estimator": SparseGPPotential([soap(), soap()])}, "expected None or one dscribe.descriptors.SOAP"),
        ({"estimator": SparseGPPotential(soap(), inducing=FRAMES[:1])}, "expected the name of a method"),
        ({"estimator": SparseGPPotential(soap(), optimize=False)}, "optimize: expected True"),
        ({"structures": FRAMES[:4], "estimator": SparseGPPotential(soap())}, "left no structures out, expected at le"),
    ],
)
def test_what_cannot_be_tuned_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(KernpotError, match=message):
        tune(**{"structures": FRAMES, "minutes": 0.01} | arguments)


def test_notes_are_plain_and_replace_nothing() -> None:
    gp = SparseGPPotential(soap(), n_inducing=5, random_state=0).fit(FRAMES[:2])
    assert gp.note("origin", {"from": "a test"}).summary_["origin"] == {"from": "a test"}
    with pytest.raises(KernpotError, match="expected one that is not in the summary yet, got 'data'"):
        gp.note("data", 1)
    with pytest.raises(KernpotError, match="expected plain data as JSON has it, got Atoms"):
        gp.note("frame", FRAMES[0])
