"""Labels that are known in part: what is not known has no influence, and counts nowhere."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot import SparseGPPotential
from kernpot.errors import KernpotWarning
from kernpot.uncertainty import evaluate
from tests.helpers.systems import crystals, soap

FRAMES, NEW = crystals(12), crystals(6, seed=9)
SETTINGS: dict[str, Any] = {"descriptor": soap(), "n_inducing": 20, "random_state": 0}


def masked(frames: list[Atoms], fill: float = np.nan) -> list[Atoms]:
    """Forces on the first atoms and shears of the stress are not known; a number in their place is masked."""
    out = []
    for k, a in enumerate(frames):
        b, forces, stress = a.copy(), np.array(a.calc.results["forces"]), np.array(a.calc.results["stress"])
        forces[: 1 + k % 2] = fill
        stress[3:] = np.nan
        if np.isfinite(fill):
            b.arrays["forces_mask"] = np.arange(len(b)) > k % 2
        b.calc = SinglePointCalculator(b, energy=a.calc.results["energy"], forces=forces, stress=stress)
        out.append(b)
    return out


@pytest.fixture(scope="module")
def fitted() -> SparseGPPotential:
    return SparseGPPotential(**SETTINGS).fit(masked(FRAMES))


def test_what_is_masked_has_no_influence(fitted: SparseGPPotential) -> None:
    other = SparseGPPotential(**SETTINGS).fit(masked(FRAMES, fill=99.0))
    for p, q in zip(fitted.predict_full(NEW), other.predict_full(NEW), strict=True):
        np.testing.assert_array_equal(p.forces.mean, q.forces.mean)
        np.testing.assert_array_equal(p.forces.std, q.forces.std)
    counts = fitted.summary_["data"]
    assert counts["force_components"] == 12 * 12 - 3 * (6 * 1 + 6 * 2)
    assert counts["stress_components"] == 12 * 3


def test_what_is_known_is_learnt(fitted: SparseGPPotential) -> None:
    energies = [a.get_potential_energy() for a in FRAMES]
    with pytest.warns(KernpotWarning, match="no structure has (forces|stress) labels"):
        without = SparseGPPotential(**SETTINGS).fit([a.copy() for a in FRAMES], energies)
    errors = [
        np.sqrt(np.mean([(p.forces.mean - a.get_forces()) ** 2 for p, a in zip(g.predict_full(NEW), NEW, strict=True)]))
        for g in (fitted, without)
    ]
    assert errors[0] < 0.75 * errors[1]


def test_only_what_is_known_is_evaluated(fitted: SparseGPPotential) -> None:
    result = evaluate(fitted, masked(NEW))
    assert len(result.comparisons["forces"].label) == 6 * 12 - 3 * (3 * 1 + 3 * 2)
    assert len(result.comparisons["stress"].label) == 6 * 3
    assert np.isfinite(result.comparisons["forces"].error).all()


@pytest.mark.parametrize("component", [(0, 0), (1, 2)])
def test_single_components_that_are_not_known(component: tuple[int, int]) -> None:
    """In any number: an atom's components share one misfit, whichever of them are known."""
    frames = [a.copy() for a in FRAMES]
    for k, (a, b) in enumerate(zip(FRAMES, frames, strict=True)):
        results = {name: np.array(value) for name, value in a.calc.results.items()}
        results["forces"][component] = np.nan
        results["stress"][3 : 4 + k % 2] = np.nan
        b.calc = SinglePointCalculator(b, **(results | {"energy": a.get_potential_energy()}))
    gp, whole = SparseGPPotential(**SETTINGS).fit(frames), SparseGPPotential(**SETTINGS).fit(FRAMES)
    assert gp.misfit_["forces"].factor == pytest.approx(whole.misfit_["forces"].factor, rel=0.5)
    assert [len(out.errors) for out in gp.left_out()] == [3] * 12
    assert np.isfinite(list(gp.calibrate(frames_of(NEW, component)).misfit_["stress"].__dict__.values())[:2]).all()


def frames_of(frames: list[Atoms], component: tuple[int, int]) -> list[Atoms]:
    """With one component of the forces that is not known."""
    out = []
    for a in frames:
        b, forces = a.copy(), np.array(a.calc.results["forces"])
        forces[component] = np.nan
        b.calc = SinglePointCalculator(b, energy=a.get_potential_energy(), forces=forces, stress=a.get_stress())
        out.append(b)
    return out


def test_left_out_and_calibration(fitted: SparseGPPotential) -> None:
    left_out = fitted.left_out()
    assert [len(out.errors) for out in left_out] == [3 - k % 2 for k in range(12)]
    assert all(np.isfinite(out.std).all() for out in left_out)
    before = dict(fitted.misfit_)
    changed = deepcopy(fitted).calibrate(masked(NEW)).misfit_
    assert {kind for kind in changed if changed[kind] != before[kind]} >= {"forces", "stress"}
