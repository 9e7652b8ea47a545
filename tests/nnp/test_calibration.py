"""Error bars from structures held out: on errors of known size, few of them, none, and fresh structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms

from kernpot import NNPEnsemble, tails
from kernpot.calibration.misfit import Misfit
from kernpot.calibration.predictions import Answers
from kernpot.calibration.spread import Spread
from kernpot.errors import KernpotError, KernpotWarning, StructureError
from kernpot.nnp.calibration import held_out_forces, held_out_misfit
from kernpot.prediction import DrawPredictions, MeanPrediction
from kernpot.structures.kinds import KINDS, LABEL_KINDS
from kernpot.structures.labels import LabelledStructure, label_structures
from kernpot.structures.neighbours import Pairs
from tests.helpers.systems import cluster, crystals, soap
from tests.nnp.small import ONE_OF, UNCERTAINTIES, estimator, relabelled

CUTOFF = 3.0
LEVELS = {"energy": 0.002, "forces": 0.05, "stress": 0.0005}


class Scattered:
    """A potential of zero, with deviations whose sizes differ from structure to structure by an order of magnitude."""

    def __init__(self, k: int = 8) -> None:
        self._k = k

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        stress = np.zeros(6) if atoms.pbc.all() else None
        return MeanPrediction(0.0, np.zeros(len(atoms)), np.zeros((len(atoms), 3)), stress)

    def deviations(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, DrawPredictions]:
        rng = np.random.default_rng(int(1e6 * abs(atoms.positions[0, 0]) + 1))
        size = 0.1 * np.exp(rng.normal()) / np.sqrt(self._k)
        atomic = 0.3 * size * rng.normal(size=(self._k, len(atoms)))
        forces = size * rng.normal(size=(self._k, len(atoms), 3))
        stress = 0.01 * size * rng.normal(size=(self._k, 6)) if atoms.pbc.all() else None
        return self.mean(atoms), DrawPredictions(atomic.sum(1), atomic, forces, stress)


def plain() -> Spread:
    return Spread(Scattered(), Answers({kind: Misfit(0.0) for kind in LEVELS}), CUTOFF)


def strewn(n: int, seed: int, periodic: bool = True) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        atoms = Atoms("Cu5", 2.2 * np.arange(5)[:, None] * [1, 0.3, 0.1] + rng.uniform(0, 0.5, (5, 3)))
        atoms.set_cell([14, 8, 8])
        atoms.pbc = periodic
        found.append(atoms)
    return found


def with_errors(frames: list[Atoms], seed: int, factor: float, constant: float = 0.0) -> list[LabelledStructure]:
    """Labels that scatter as the misfit with this factor and constant says they do."""
    rng, spread, made = np.random.default_rng(seed), plain(), []
    for atoms in frames:
        noise = {}
        for kind, (_, v) in spread.labels(atoms, LABEL_KINDS).items():
            variance = v.parameter + factor**2 * 0.5 * (v.parameter + v.pooled) + constant**2
            noise[kind] = np.sqrt(variance.numpy()) * rng.normal(size=len(variance))
        labels = {"energy": float(noise["energy"][0] * len(atoms)), "forces": noise["forces"].reshape(-1, 3)}
        if "stress" in noise:
            labels["stress"] = noise["stress"]
        made.append(relabelled(atoms, **labels))
    return label_structures(made)


def coverage(spread: Spread, labelled: list[LabelledStructure], kind: str, level: float = 0.9) -> float:
    inside = []
    for s in labelled:
        low, high = getattr(spread(s.atoms), kind).interval(level)
        label = getattr(s, kind)
        inside.append(np.ravel((label >= low) & (label <= high)))
    return float(np.concatenate(inside).mean())


@pytest.mark.parametrize(("factor", "constant"), [(0.0, 0.0), (3.0, 0.0), (2.0, 0.3)])
def test_errors_of_known_size_are_covered(factor: float, constant: float) -> None:
    misfit = held_out_misfit(plain(), with_errors(strewn(60, 1), 2, factor, constant), LEVELS)
    spread, fresh = Spread(Scattered(), Answers(misfit), CUTOFF), with_errors(strewn(100, 3), 4, factor, constant)
    assert coverage(spread, fresh, "forces") == pytest.approx(0.9, abs=0.03)
    assert coverage(spread, fresh, "forces", 0.5) == pytest.approx(0.5, abs=0.06)
    if constant == 0:
        assert misfit["forces"].factor == pytest.approx(factor, abs=0.25 + 0.05 * factor)
        assert coverage(spread, fresh, "stress") == pytest.approx(0.9, abs=0.04)
        assert 0.8 < coverage(spread, fresh, "energy") <= 1.0
    else:
        assert misfit["forces"].constant == pytest.approx(constant, rel=0.2)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_fewer_than_five_structures(n: int) -> None:
    labelled = with_errors(strewn(n, 1), 2, 3.0)
    misfit = held_out_misfit(plain(), labelled, LEVELS)
    assert 1.0 < misfit["forces"].factor < 9.0
    energies = [s.energy / len(s.atoms) for s in labelled]
    stress = np.concatenate([s.stress for s in labelled])
    assert misfit["energy"].constant == pytest.approx(np.sqrt(np.mean(np.square(energies))))
    assert misfit["stress"].constant == pytest.approx(np.sqrt(np.mean(stress**2)))
    assert misfit["energy"].factor == misfit["stress"].factor == misfit["forces"].factor
    assert misfit["energy"].reach > 0 and misfit["stress"].reach == 0


def test_without_any_structure_the_levels_are_taken() -> None:
    assert held_out_misfit(plain(), [], LEVELS) == {kind: Misfit(level) for kind, level in LEVELS.items()}


def test_kinds_that_were_never_seen_are_guessed() -> None:
    misfit = held_out_misfit(plain(), [], {"energy": 0.002})
    assert misfit == {
        "energy": Misfit(0.002),
        "forces": Misfit(KINDS["forces"].unseen),
        "stress": Misfit(KINDS["stress"].unseen),
    }
    molecules = with_errors(strewn(8, 1, periodic=False), 2, 2.0)
    assert held_out_misfit(plain(), molecules, {"energy": 0.002})["stress"] == Misfit(KINDS["stress"].unseen)


@pytest.mark.parametrize("n", [2, 8])
def test_energies_alone(n: int) -> None:
    labelled = label_structures([relabelled(a, energy=0.5 * k) for k, a in enumerate(strewn(n, 1), 1)])
    misfit = held_out_misfit(plain(), labelled, {"energy": 0.002})
    assert misfit["forces"] == Misfit(KINDS["forces"].unseen)
    spread = Spread(Scattered(), Answers(misfit), CUTOFF)
    stds = [float(spread(s.atoms).energy.std) for s in labelled]
    errors = [s.energy for s in labelled]
    assert 0.3 < np.sqrt(np.mean(np.square(stds))) / np.sqrt(np.mean(np.square(errors))) < 3


def test_errors_of_nothing_leave_the_floor() -> None:
    frames = [relabelled(a, energy=0.0, forces=np.zeros((5, 3)), stress=np.zeros(6)) for a in strewn(8, 1)]
    misfit = held_out_misfit(plain(), label_structures(frames), LEVELS)
    for kind, floor in ((kind, KINDS[kind].floor) for kind in LABEL_KINDS):
        assert misfit[kind].constant >= floor
        assert misfit[kind].factor < 0.1


def test_held_out_forces_come_with_the_error_bars_of_predictions() -> None:
    labelled = with_errors(strewn(8, 1), 2, 3.0)
    misfit = held_out_misfit(plain(), labelled, LEVELS)
    spread = Spread(Scattered(), Answers(misfit), CUTOFF)
    labelled.append(label_structures([relabelled(strewn(1, 7)[0], energy=0.0)])[0])
    found = held_out_forces(spread, labelled, misfit["forces"])
    assert len(found) == 8
    for left, s in zip(found, labelled, strict=False):
        np.testing.assert_allclose(left.errors, -s.forces)
        np.testing.assert_allclose(left.std, spread(s.atoms).forces.std, rtol=1e-9)


# ------------------------------------------------------------------ of the estimator


def covered(nnp: NNPEnsemble, frames: list[Atoms], kind: str) -> float:
    inside = []
    for atoms, p in zip(frames, nnp.predict_full(frames), strict=True):
        quantity, label = getattr(p, kind), atoms.calc.results[kind]
        low, high = quantity.interval(0.9)
        inside.append(np.ravel((label >= low) & (label <= high)))
    return float(np.concatenate(inside).mean())


@pytest.mark.parametrize("uncertainty", ONE_OF)
@pytest.mark.slow
def test_coverage_of_fresh_structures(uncertainty: str) -> None:
    nnp = estimator(uncertainty=uncertainty, n_members=4, validation=0.3, max_epochs=60).fit(crystals(50, 1))
    fresh = crystals(80, 2)
    assert 0.8 < covered(nnp, fresh, "forces") < 0.97
    assert 0.7 < covered(nnp, fresh, "energy") <= 1.0
    assert 0.7 < covered(nnp, fresh, "stress") < 0.99


def noisy(frames: list[Atoms], size: float, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    return [
        relabelled(
            a,
            energy=a.get_potential_energy() + 0.1 * size * len(a) * rng.normal(),
            forces=a.get_forces() + size * rng.normal(size=(len(a), 3)),
        )
        for a in frames
    ]


@pytest.fixture
def nnp() -> NNPEnsemble:
    with pytest.warns(match="no structure has stress"):
        return estimator(validation=0.5, max_epochs=40).fit(noisy(crystals(40, 1), 0.2, 1))


def test_calibration_widens_intervals_and_nothing_else(nnp: NNPEnsemble) -> None:
    others = noisy(crystals(40, 3), 0.6, 3)
    before, scale = nnp.predict_full(others), nnp.draw_scale_
    assert covered(nnp, others, "forces") < 0.7
    assert nnp.calibrate(noisy(crystals(20, 2), 0.6, 2)) is nnp
    assert covered(nnp, others, "forces") == pytest.approx(0.9, abs=0.05)
    assert nnp.draw_scale_ >= scale
    for old, new in zip(before, nnp.predict_full(others), strict=True):
        np.testing.assert_array_equal(new.forces.mean, old.forces.mean)
        np.testing.assert_array_equal(new.forces.epistemic_std, old.forces.epistemic_std)
        assert (new.forces.std > old.forces.std).all()
    told = nnp.summary_["updates"][-1]["calibration"]["forces"]
    assert told["structures"] == 20 and told["factor"] > 2 and told["crps_after"] < told["crps_before"]


def test_structures_that_cannot_calibrate(nnp: NNPEnsemble) -> None:
    misfit = dict(nnp.misfit_)
    with pytest.raises(StructureError, match="at least 5 structures"):
        nnp.calibrate(crystals(4, 2))
    training = noisy(crystals(40, 1), 0.2, 1)
    with pytest.raises(StructureError, match="was in the fit"):
        nnp.calibrate([*crystals(5, 2), training[int(nnp.fitted_.trained.held[0])]])
    with pytest.raises(StructureError, match="Au"):
        nnp.calibrate([*crystals(5, 2), crystals(1, symbols="Cu3Au")[0]])
    assert nnp.misfit_ == misfit


def test_left_out_are_the_structures_that_no_member_saw(nnp: NNPEnsemble) -> None:
    frames = noisy(crystals(40, 1), 0.2, 1)
    found = nnp.left_out()
    assert len(found) == len(nnp.fitted_.trained.held) == nnp.summary_["held_out"] == 20
    for left, k in zip(found, nnp.fitted_.trained.held, strict=True):
        (p,) = nnp.predict_full(frames[k])
        np.testing.assert_allclose(left.errors, p.forces.mean - frames[k].get_forces(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(left.std, p.forces.std, rtol=1e-9)


def test_a_fit_that_nothing_calibrates_says_so() -> None:
    with pytest.warns(KernpotWarning, match="none of the 3 structures could be held out .* they are too few"):
        estimator().fit(crystals(3, 1))
    one = crystals(12, 1)
    for atoms in one:
        atoms.info["trajectory"] = "a"
    with pytest.warns(KernpotWarning, match="none of the 12 structures .* they are of one trajectory"):
        estimator().fit(one)


@pytest.mark.filterwarnings("ignore:none of the")
@pytest.mark.parametrize(("n", "changes"), [(3, {}), (10, {"validation": 0})])
@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_nothing_held_out(n: int, changes: dict[str, Any], uncertainty: str) -> None:
    frames = crystals(n, 1)
    nnp = estimator(uncertainty=uncertainty, **changes).fit(frames)
    assert nnp.misfit_ == {kind: Misfit(nnp.noise_[kind]) for kind in LEVELS}
    assert nnp.draw_scale_ == 1.0
    with pytest.raises(KernpotError, match="no structure was held out of this fit"):
        nnp.left_out()
    nnp.calibrate(crystals(6, 5))
    assert nnp.misfit_["forces"].constant != nnp.noise_["forces"]


def test_tails_come_with_enough_residuals() -> None:
    nnp = estimator(descriptor=soap(), validation=0.5, max_epochs=30).fit(crystals(40, 1))
    forces = nnp.misfit_["forces"]
    assert len(nnp.fitted_.trained.held) * 12 >= 200
    p = nnp.predict_full(crystals(1, 9))[0].forces
    assert p.degrees_of_freedom == forces.degrees_of_freedom >= tails.LEAST


def test_clusters_and_crystals_calibrate_together() -> None:
    frames = [*crystals(14, 1), *(cluster(seed=k) for k in range(8))]
    nnp = estimator(validation=0.4).fit(frames)
    held = nnp.fitted_.trained.held_out
    assert {bool(s.atoms.pbc.all()) for s in held} == {True, False}
    assert nnp.misfit_["stress"].constant < 10 and np.isfinite(nnp.predict(frames, True)).all()
