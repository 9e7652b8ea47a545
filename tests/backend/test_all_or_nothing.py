"""Whatever ends a call that learns, an interrupt, an error, a refusal: the estimator is as it was, to the bit."""

from __future__ import annotations

import copy
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from kernpot import NNPEnsemble, OnTop, SparseGPPotential
from kernpot.errors import KernpotError, NumericalError
from kernpot.files import container
from kernpot.files.container import read_model
from kernpot.regression.posterior import Posterior
from tests.helpers.changed import changed
from tests.helpers.systems import crystals, soap

# Moments at which each call is interrupted, evenly over all calls of functions that it makes, and how often it is
# then made again.
FEW, MANY, AGAIN = 7, 40, 3
DATA, MORE, HELD_OUT = crystals(8), crystals(3, 7), crystals(6, 9)
NEW = crystals(1, 5)[0]


def gp() -> SparseGPPotential:
    # A generator, which an interrupted fit must not use up.
    return SparseGPPotential(soap(), n_inducing=10, random_state=np.random.RandomState(3))


def networks(uncertainty: str) -> NNPEnsemble:
    small: dict[str, Any] = {"hidden": (4,), "n_members": 2, "max_epochs": 3, "n_components": 4}
    return NNPEnsemble(soap(), uncertainty=uncertainty, random_state=np.random.RandomState(3), **small)


MAKE: dict[str, Callable[[], Any]] = {
    "gp": gp,
    "ensemble": lambda: networks("ensemble"),
    "last layer": lambda: networks("last_layer"),
    "on top": lambda: OnTop(gp().fit(crystals(3, 11)), gp()),
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "fit": lambda p: p.fit(DATA[:6]),
    "partial_fit": lambda p: p.partial_fit(MORE),
    "update": lambda p: p.update(MORE),
    "add_inducing": lambda p: p.add_inducing(MORE[:1]),
    "calibrate": lambda p: p.calibrate(HELD_OUT),
}
CASES = [(name, call) for name in MAKE for call in CALLS if name == "gp" or call != "add_inducing"]


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: make().fit(DATA) for name, make in MAKE.items()}


def state(potential: Any, path: Path) -> list[np.ndarray]:
    """All that can be told of an estimator: answers, draws, its file, its generator."""
    (p,) = potential.predict_full([NEW], covariance=True)
    std, draws = potential.energy_std(NEW), potential.sample_potentials(2, random_state=1).evaluate(NEW)
    found = [p.energy.mean, p.energy.std, p.forces.mean, p.forces.std, p.stress.std, p.covariance.total]
    found += [np.array(std.std), std.gradient, draws.energies, draws.forces]
    potential.save(path)
    header, tensors = read_model(path)
    told = {name: value for name, value in header.items() if name not in ("created", "sha256")}
    generator = potential.random_state.get_state()[1] if potential.random_state is not None else np.array(0)
    return [*found, *(tensors[name] for name in sorted(tensors)), np.array(repr(sorted(told.items()))), generator]


def require_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


class Interrupt:
    """Sends SIGINT at a call of a function of kernpot, counted from the first; none at zero. Counts calls."""

    def __init__(self, moment: int) -> None:
        self._moment, self.calls = moment, 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and "kernpot" in frame.f_code.co_filename:
            self.calls += 1
            if self.calls == self._moment:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    def during(self, call: Callable[[], Any]) -> None:
        sys.setprofile(self)
        try:
            call()
        finally:
            sys.setprofile(None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "call", "number"),
    [(*case, FEW) for case in CASES if case[0] != "ensemble"]
    + [pytest.param(*case, MANY, marks=pytest.mark.slow) for case in CASES],
)
def test_interrupted_at_any_moment(fitted: dict[str, Any], name: str, call: str, number: int, tmp_path: Path) -> None:
    path, learn = tmp_path / "m.kernpot", CALLS[call]
    before = state(copy.deepcopy(fitted[name]), path)
    once = copy.deepcopy(fitted[name])
    count = Interrupt(0)
    count.during(lambda: learn(once))
    expected = state(once, path)
    moments = np.unique(np.linspace(1, count.calls, number).astype(int)).tolist()
    too_late = 0
    for k, moment in enumerate(moments):
        potential = copy.deepcopy(fitted[name])
        try:
            Interrupt(moment).during(lambda: learn(potential))  # noqa: B023  called before the loop goes on
        except KeyboardInterrupt:
            require_same(state(potential, path), before)
        else:  # a few calls fewer than were counted, where something was made once and kept
            too_late += 1
            require_same(state(potential, path), expected)
            continue
        if k % (len(moments) // AGAIN) == 1:
            learn(potential)
            require_same(state(potential, path), expected)
    assert too_late <= 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "call"), CASES)
def test_an_error_in_the_middle(
    fitted: dict[str, Any], name: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the mathematics, where the posterior is made; networks without one end in the last structure's labels."""
    path, potential = tmp_path / "m.kernpot", copy.deepcopy(fitted[name])
    before = state(potential, path)
    bad = crystals(6, 13)
    bad[-1].calc.results["energy"] = float("nan")
    if call != "calibrate" and name != "ensemble":
        monkeypatch.setattr(Posterior, "__init__", _fails)
        with pytest.raises(NumericalError, match="broken on purpose"):
            CALLS[call](potential)
        monkeypatch.undo()
    if call != "add_inducing":
        with pytest.raises(KernpotError, match="NaN"):
            getattr(potential, call)(bad)
    require_same(state(potential, path), before)


def _fails(*_: Any) -> None:
    raise NumericalError("broken on purpose")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(MAKE))
def test_what_is_refused_changes_nothing(fitted: dict[str, Any], name: str, tmp_path: Path) -> None:
    path, potential = tmp_path / "m.kernpot", copy.deepcopy(fitted[name])
    before = state(potential, path)
    foreign = crystals(3, 1, symbols="Cu3Au")
    for refused in (potential.partial_fit, potential.update):
        with pytest.raises(KernpotError, match="elements"):
            refused([*MORE, *foreign])
    with pytest.raises(KernpotError):
        potential.calibrate(HELD_OUT[:2])
    with pytest.raises(KernpotError, match="was in the fit"):
        potential.calibrate([*HELD_OUT, DATA[0]])
    require_same(state(potential, path), before)


@pytest.mark.filterwarnings("ignore")
def test_a_warning_that_is_an_error_changes_nothing(fitted: dict[str, Any], tmp_path: Path) -> None:
    potential, path = copy.deepcopy(fitted["gp"]), tmp_path / "m.kernpot"
    before = state(potential, path)
    known = potential.fitted_.training[0].atoms
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Warning, match="inducing already"):
            potential.add_inducing([MORE[0], known, MORE[0]])
    require_same(state(potential, path), before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gp", "ensemble"])
def test_a_good_file_is_never_overwritten_with_part_of_one(
    fitted: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at every call of a save, and when the disk is full in the middle of it."""
    path, potential = tmp_path / "m.kernpot", copy.deepcopy(fitted[name])
    potential.save(path)
    good = path.read_bytes()
    other = changed(potential, summary=potential.summary_ | {"note": "other"})
    other.save(tmp_path / "other.kernpot")  # makes what is made once
    count = Interrupt(0)
    count.during(lambda: other.save(tmp_path / "other.kernpot"))
    new = read_model(tmp_path / "other.kernpot")[0]["summary"]
    for moment in range(1, count.calls + 1, max(1, count.calls // 40)):
        path.write_bytes(good)
        with pytest.raises(KeyboardInterrupt):
            Interrupt(moment).during(lambda: other.save(path))
        # Whole, the one or the other.
        assert path.read_bytes() == good or read_model(path)[0]["summary"] == new
        assert sorted(p.name for p in tmp_path.iterdir()) == ["m.kernpot", "other.kernpot"]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path.write_bytes(good)
    monkeypatch.setattr(container.os, "fsync", full)
    with pytest.raises(KernpotError, match="No space left on device"):
        other.save(path)
    assert path.read_bytes() == good
    assert not list(tmp_path.glob(".*"))


def test_an_unfitted_estimator_stays_unfitted() -> None:
    potential = gp()
    with pytest.raises(KeyboardInterrupt):
        Interrupt(200).during(lambda: potential.fit(DATA[:4]))
    assert not hasattr(potential, "elements_")
    assert isinstance(potential.fit(DATA[:4]).mean(NEW).energy, float)


def test_answers_do_not_change_what_is_known(fitted: dict[str, Any], tmp_path: Path) -> None:
    """Attributes that are handed out are copies."""
    potential, path = copy.deepcopy(fitted["gp"]), tmp_path / "m.kernpot"
    before = state(potential, path)
    potential.noise_["energy"] = 1.0
    potential.misfit_.clear()
    potential.isolated_atoms_[29] = 5.0
    potential.summary_["updates"].append("nonsense")
    potential.kernels_[0].set_amplitude(torch.tensor(7.0))
    potential.novelty([NEW]), potential.screen(), potential.left_out(), potential.select(MORE, 1)
    require_same(state(potential, path), before)
