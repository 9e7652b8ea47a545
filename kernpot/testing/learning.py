"""Checks of learning on: more labels, calibration, which structures to label, and what the potential says of its past.

They work on deep copies: the potential that is checked stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.errors import KernpotError, StructureError
from kernpot.potential import Potential
from kernpot.prediction import Prediction
from kernpot.testing.comparison import full, require, require_close, require_same, require_same_means
from kernpot.testing.teaching import bare, displaced, labelled, lessons, squared_error

Learn = Callable[[Potential, Sequence[Atoms]], Potential]

# Held-out structures for a calibration, and their errors in units of std.
_HELD_OUT, _ERRORS = 8, 5.0
# Root mean square error in units of std, of a middling structure left out.
_LEFT_OUT = (0.1, 10.0)


def check_partial_fit(potential: Potential, structures: Sequence[Atoms]) -> None:
    """``partial_fit`` brings predictions nearer to new labels of one kind; bad ones are refused and change nothing."""

    def learn(model: Potential, frames: Sequence[Atoms]) -> Potential:
        labels = [atoms.calc.results for atoms in frames]
        energies, forces = ([found.get(kind) for found in labels] for kind in ("energy", "forces"))
        return model.partial_fit([bare(atoms) for atoms in frames], energies, forces)

    model = copy.deepcopy(potential)
    _require_refusals(model, structures, learn, "partial_fit")
    _require_learning(model, structures, learn, "partial_fit", ("forces",))
    _require_learning(model, structures, learn, "partial_fit", ("energy",))
    require(model.summary_ != potential.summary_, "summary_ must tell of what partial_fit has learnt, but is the same")


def check_update(potential: Potential, structures: Sequence[Atoms]) -> None:
    """``update`` learns energies with their forces; what it has learnt is not selected for labelling again."""

    def learn(model: Potential, frames: Sequence[Atoms]) -> Potential:
        return model.update(frames)

    model = copy.deepcopy(potential)
    before = [full(potential, atoms) for atoms in structures]
    _require_refusals(model, structures, learn, "update")
    learnt = _require_learning(model, structures, learn, "update", ("forces", "energy"))
    _require_unchanged(potential, structures, before, "after update of a deep copy")
    fresh = displaced(structures[:1], random_state=1)
    found = model.select([*map(bare, learnt), *fresh], 1).indices.tolist()
    require(found == [len(learnt)], f"select must choose the structure {len(learnt)}, not yet learnt, got {found}")


def check_calibrate(potential: Potential, structures: Sequence[Atoms]) -> None:
    """Held-out errors far beyond the stds widen them; means stay; too few structures are refused."""
    rng = np.random.default_rng(0)
    frames: list[Atoms] = []
    for k in range(_HELD_OUT):
        frames += displaced([structures[k % len(structures)]], random_state=k)
    before = [full(potential, atoms) for atoms in frames]
    held_out = [
        labelled(
            atoms,
            p.mean,
            _ERRORS * float(p.energy.std) * (-1) ** k,
            _ERRORS * p.forces.std * rng.choice([-1.0, 1.0], p.forces.shape),
        )
        for k, (atoms, p) in enumerate(zip(frames, before, strict=True))
    ]
    model = copy.deepcopy(potential)
    _require_refused(lambda: model.calibrate(held_out[:1]), StructureError, "calibrate with one structure")
    require(model.calibrate(held_out) is model, "calibrate must return the potential itself")
    after = [full(model, atoms) for atoms in frames]
    for k, (new, old) in enumerate(zip(after, before, strict=True)):
        require_same_means(new.mean, old.mean, f"frame {k} after a calibration against before")
    for kind in ("energy", "forces"):
        old_std, new_std = (_mean_square_std(found, kind) ** 0.5 for found in (before, after))
        require(
            new_std > old_std or old_std == 0.0,
            f"the std of {kind} must grow in a calibration with errors {_ERRORS:g} times as large, got {new_std:.3g} "
            f"after {old_std:.3g}",
        )


def check_score(potential: Potential, structures: Sequence[Atoms]) -> None:
    """``score`` is 1 for labels that are predicted exactly, and less for others."""
    frames = [bare(atoms) for atoms in (*structures, *displaced(structures))]
    energies = np.asarray(potential.predict(frames))
    nothing = [np.zeros((len(atoms), 3)) for atoms in frames]
    exact = [labelled(a, potential.mean(a), 0.0, f) for a, f in zip(frames, nothing, strict=True)]
    require_close(potential.score(exact), 1.0, "the score on the potential's own energies")
    require_close(potential.score(frames, energies), 1.0, "the score on the potential's own energies, given apart")
    sizes = np.array([len(atoms) for atoms in frames])
    wrong = potential.score(frames, energies + 0.1 * sizes * (-1.0) ** np.arange(len(frames)))
    require(wrong < 1.0 - 1e-9, f"the score on wrong energies must be below 1, got {wrong}")


def check_select(potential: Potential, structures: Sequence[Atoms]) -> None:
    """As many structures as asked for, none twice, copies left out; the best ones are the same each time."""
    pool = [*displaced(structures, 2), *displaced(structures, 3)]
    n = len(pool)
    pool.append(bare(pool[0]))
    kept = [atoms.copy() for atoms in pool]
    chosen = potential.select(pool, n)
    places = [0 if k == n else k for k in chosen.indices.tolist()]
    require(sorted(places) == list(range(n)), f"select must choose all {n} different structures, got {chosen.indices}")
    require(np.shape(chosen.random) == (n,), f"select's random must have shape ({n},), got {np.shape(chosen.random)}")
    require(
        all(a == b and a.calc is None for a, b in zip(pool, kept, strict=True)), "select changed the structures given"
    )
    best, again = (potential.select(pool, 1, random_part=0.0) for _ in range(2))
    require(best.indices.tolist() == again.indices.tolist(), "select(random_part=0) differs between two calls")
    require(not best.random.any(), "select(random_part=0) must draw none at random")
    _require_refused(lambda: potential.select(pool, n + 1), KernpotError, f"select of {n + 1} among {n}")
    _require_refused(lambda: potential.select(pool, 1, random_part=2.0), KernpotError, "select with random_part=2")


def check_left_out(potential: Potential, structures: Sequence[Atoms]) -> None:  # noqa: ARG001
    """Errors of forces on training structures left out have the size of their stds; or KernpotError says why not."""
    try:
        found = potential.left_out()
    except KernpotError:
        return
    if not found:
        n = potential.summary_["data"]["force_components"]
        require(n == 0, f"left_out must give the training structures with forces, of which there are {n}, got none")
        return
    for k, one in enumerate(found):
        finite = bool(np.isfinite(one.errors).all() and np.isfinite(one.std).all())
        require(finite and bool((one.std > 0).all()), f"left_out()[{k}]: expected finite errors and positive stds")
    middling = float(np.median([np.sqrt(np.mean((one.errors / one.std) ** 2)) for one in found]))
    low, high = _LEFT_OUT
    require(
        low <= middling <= high,
        f"errors on structures left out are {middling:.3g} times their stds (median over structures); expected {low:g} "
        f"to {high:g}",
    )


def _require_learning(
    model: Potential, structures: Sequence[Atoms], learn: Learn, name: str, kinds: Sequence[str]
) -> list[Atoms]:
    """Require that a potential learns lessons, and gets nearer to labels of the first kind: return the lessons."""
    frames = lessons(model, structures, kinds)
    asked = squared_error(model, frames, kinds[0])
    require(learn(model, frames) is model, f"{name} must return the potential itself")
    left = squared_error(model, frames, kinds[0])
    require(
        left < asked * (1 - 1e-6) or asked == 0,
        f"{name} must bring predictions nearer to new labels ({' and '.join(kinds)}); the sum of squared errors of "
        f"{kinds[0]} is {left:.4g} after {asked:.4g}",
    )
    return frames


def _require_refusals(model: Potential, structures: Sequence[Atoms], learn: Learn, name: str) -> None:
    """Require that labels which cannot be used are refused, and the structure named, before anything is changed."""
    good = lessons(model, structures[:1], ("energy", "forces"))[0]
    before = [full(model, bare(good))]
    for what, bad in _bad_labels(model, good).items():
        refused = f"{name} with {what}"
        error = _require_refused(lambda bad=bad: learn(model, [good, bad]), StructureError, refused)  # type: ignore[misc]
        require("structures[1]" in str(error), f"the error of {refused} must name structures[1], got: {error}")
        _require_unchanged(model, [good], before, f"after {refused} was refused")


def _bad_labels(potential: Potential, atoms: Atoms) -> dict[str, Atoms]:
    """Structures that cannot be learnt."""
    results = atoms.calc.results
    unknown, no_number, short = bare(atoms), bare(atoms), bare(atoms)
    unknown.numbers[0] = next(z for z in range(1, 100) if z not in potential.elements_)
    lost = bare(atoms)
    lost.positions[0] = np.nan
    labels: dict[str, tuple[Atoms, dict[str, Any]]] = {
        "an element unknown to the fit": (unknown, {}),
        "a NaN energy": (no_number, {"energy": np.nan}),
        "forces on one atom too many": (short, {"forces": np.zeros((len(atoms) + 1, 3))}),
        "a NaN position": (lost, {}),
    }
    for bad, changed in labels.values():
        bad.calc = SinglePointCalculator(bad)
        bad.calc.results = {**results, **changed}
    return {what: bad for what, (bad, _) in labels.items()}


def _require_refused(ask: Callable[[], Any], error: type[KernpotError], what: str) -> KernpotError:
    try:
        ask()
    except error as refusal:
        return refusal
    raise AssertionError(f"{what} must raise {error.__name__}, but was accepted")


def _require_unchanged(model: Potential, frames: Sequence[Atoms], before: Sequence[Prediction], what: str) -> None:
    for k, (atoms, old) in enumerate(zip(frames, before, strict=True)):
        require_same(full(model, bare(atoms)), old, f"frame {k} {what}")


def _mean_square_std(found: Sequence[Prediction], kind: str) -> float:
    return float(np.mean(np.concatenate([np.ravel(getattr(p, kind).std) for p in found]) ** 2))
