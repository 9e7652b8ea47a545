"""A comparison from fits to verdicts: nothing is fitted twice, and what is said follows from what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from dscribe.descriptors import SOAP

from kernpot import SparseGPPotential
from kernpot.comparison import Shift, Split, criteria, run, summarise, without_group
from kernpot.comparison.criteria import nearest
from kernpot.comparison.run import ALL
from kernpot.comparison.store import ResultStore, settings_key
from kernpot.errors import KernpotError, StructureError
from tests.comparison.rivals import Rival, argon


def split(n: int = 25) -> Split:
    """Two groups, one of which is left out; and structures of neither."""
    train = [*argon(n), *argon(10, 1, "warm", 0.15)]
    test = [*argon(12, 2), *argon(12, 3, "warm", 0.15)]
    return Split(train, test, [without_group(train, test, "warm"), Shift("hot", None, test, argon(12, 4, "hot", 0.25))])


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    Rival.fits.clear()
    # Takes most of the time of an evaluation, and no test looks at it.
    monkeypatch.setattr("kernpot.uncertainty.metrics.oracle_rank_correlation", lambda *_: None)


def best_of(rivals: dict[str, Any], which: Split | None = None) -> dict[str, str | None]:
    found = criteria(summarise(run(rivals, which or split())))
    return {c.name: c.best for c in found}


def test_all_jobs_are_done_once_and_kept(tmp_path: Path) -> None:
    rivals = {"a": Rival("a"), "b": Rival("b", error=2.0)}
    first = run(rivals, split(), tmp_path)
    assert sorted(Rival.fits) == [(name, n) for name in "ab" for n in (10, 20, 25, 35)]
    again = run(rivals, split(), tmp_path)
    assert len(Rival.fits) == 8 and again == first
    assert summarise(again).to_dict() == summarise(first).to_dict()
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())
    # What has changed is done anew, and nothing else.
    run({"a": Rival("a"), "b": Rival("b", error=3.0)}, split(), tmp_path)
    assert [name for name, _ in Rival.fits[8:]] == ["b"] * 4
    run(rivals, split(), tmp_path, learning_curve=False)
    assert [name for name, _ in Rival.fits[12:]] == ["b"] * 2


@pytest.mark.slow
def test_another_label_or_group_is_another_comparison(tmp_path: Path) -> None:
    rivals = {"a": Rival("a"), "b": Rival("b")}
    for change in ("nothing", "label", "group"):
        changed = split()
        if change == "label":
            changed.test[0].calc.results["energy"] += 0.1
        if change == "group":
            changed.test[0].info["config_type"] = "renamed"
        Rival.fits.clear()
        run(rivals, changed, tmp_path, learning_curve=False)
        assert len(Rival.fits) == 4  # both are asked about the test structures in every fit


def test_interrupted_it_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rivals = {"a": Rival("a"), "b": Rival("b")}
    fit = Rival.fit

    def interrupted(self: Rival, structures: Sequence[Atoms]) -> Rival:
        if len(Rival.fits) == 5:
            raise KeyboardInterrupt
        return fit(self, structures)

    monkeypatch.setattr(Rival, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(rivals, split(), tmp_path)
    monkeypatch.setattr(Rival, "fit", fit)
    before = list(Rival.fits)
    run(rivals, split(), tmp_path)
    assert len(before) == 5 and len(Rival.fits) == 8 and not set(before) & set(Rival.fits[5:])


def test_names_that_look_alike_as_files_do_not_mix(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for name in ("a/b", "a_b", "../a b"):
        assert store.get_or_make(name, "key", lambda n=name: {"of": n}) == {"of": name}
    assert store.find("a/b", "key") == {"of": "a/b"} and store.find("a/b", "other key") is None
    assert len(list(tmp_path.iterdir())) == 3 and len(list(tmp_path.parent.glob("a*"))) == 0


def test_settings_have_one_key_whatever_reports_them() -> None:
    def gp(**parameters: Any) -> SparseGPPotential:
        return SparseGPPotential(SOAP(species=["Cu"], r_cut=3.0, n_max=2, l_max=1, periodic=True), **parameters)

    assert settings_key(gp()) == settings_key(gp(progress=True, n_jobs=2)) != settings_key(gp(n_inducing=7))
    other = SOAP(species=["Cu"], r_cut=3.1, n_max=2, l_max=1, periodic=True)
    assert settings_key(gp()) != settings_key(SparseGPPotential(other))


def test_a_potential_that_cannot_learn_from_few_is_told_of_and_the_rest_compared() -> None:
    result = summarise(run({"a": Rival("a"), "picky": Rival("picky", fewest=30)}, split()))
    assert [list(point.failed) for point in result.curve] == [["picky"], ["picky"], []]
    assert "expected 30 structures, got 10" in result.curve[0].failed["picky"]
    warm = next(d for d in result.detection if d.shift == "warm")
    assert set(warm.curves) == {"a"} and set(warm.failed) == {"picky"}
    with pytest.raises(KernpotError, match="expected 99 structures"):
        run({"a": Rival("a"), "b": Rival("b", fewest=99)}, split(), learning_curve=False)


def test_bad_labels_are_refused_before_any_fit() -> None:
    broken = split()
    broken.shifts[1].shifted[3].calc.results["forces"] = np.zeros((2, 3))
    with pytest.raises(StructureError, match=r"structures\[3\]"):
        run({"a": Rival("a"), "b": Rival("b")}, broken)
    assert Rival.fits == []
    with pytest.raises(KernpotError, match="two potentials or more, got 1"):
        run({"a": Rival("a")}, split())


def test_numbers_are_those_of_the_rivals_and_json_can_hold_them() -> None:
    result = summarise(run({"a": Rival("a"), "b": Rival("b", error=2.0)}, split()))
    assert (result.n_train, result.n_test) == (35, 24) and [p.n_train for p in result.curve] == [10, 20, 35]
    for kind in ("energy", "forces", "stress"):
        score = result.score(kind, "mae")
        assert score is not None and score.values["b"] == pytest.approx(2 * score.values["a"], rel=1e-3)
        row = result.row("b", kind)
        assert row is not None and row["mae"] == pytest.approx(score.values["b"], rel=1e-3)
    few, all_of_them = (point.score("forces", "mae") for point in (result.curve[0], result.curve[-1]))
    assert few is not None and all_of_them is not None
    assert few.values["a"] / all_of_them.values["a"] == pytest.approx(np.sqrt(3.5), rel=1e-3)
    assert {row["config_type"] for row in result.metrics["a"]} == {"all", "crystal", "warm"}
    assert set(result.shifted) == {"warm", "hot"} and [d.shift for d in result.detection] == ["warm", "hot"]
    assert [d.n_shifted for d in result.detection] == [22, 12] and [d.n_familiar for d in result.detection] == [12, 24]
    json.dumps(result.to_dict(), allow_nan=False)


def test_tolerance_is_what_19_of_20_test_forces_stay_below_unless_given() -> None:
    answers = run({"a": Rival("a"), "b": Rival("b", error=2.0)}, split(), learning_curve=False)
    errors = np.concatenate([answers[name][ALL]["forces"]["error"] for name in "ab"])
    (limit,) = {d.tolerance for d in summarise(answers).detection}
    assert np.mean(errors < limit) == pytest.approx(0.95, abs=0.01)
    assert {d.tolerance for d in summarise(answers, 0.123).detection} == {0.123}


def test_equals_have_no_winner() -> None:
    found = best_of({"a": Rival("a"), "b": Rival("b")})
    assert len(found) >= 12
    # Their numbers are the same to the last bit; only times differ.
    assert {name for name, best in found.items() if best} <= {"a short fit", "fast dynamics", "cheap error bars"}


def test_each_wins_where_it_is_better() -> None:
    found = best_of({"sharp": Rival("s", width=0.3), "honest": Rival("h", error=1.5)})
    assert found["accurate energies"] == found["accurate forces"] == found["few data (10 structures)"] == "sharp"
    assert found["honest error bars of forces"] == found["honest error bars of derived quantities"] == "honest"


def test_honesty_is_nearness_to_what_is_claimed() -> None:
    assert (
        nearest({"a": (0.86, 0.93), "b": (0.3, 0.5)}, 0.9) == nearest({"a": (0.79, 0.88), "b": (0.3, 0.5)}, 0.9) == "a"
    )
    assert nearest({"a": (0.86, 0.93), "b": (0.82, 0.88)}, 0.9) is nearest({"a": (0.86, 0.93)}, 0.9) is None
    assert nearest({"cautious": (0.97, 1.0), "narrow": (0.5, 0.6)}, 0.9) == "cautious"


def test_few_test_structures_decide_nothing_about_errors() -> None:
    train, test = argon(20), argon(6, 1)
    found = best_of({"a": Rival("a"), "b": Rival("b", error=5.0)}, Split(train, test))
    assert found["accurate forces"] is None and "honest error bars of forces" not in found
