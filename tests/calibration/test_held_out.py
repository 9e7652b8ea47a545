"""Held-out structures scale the misfit, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import kernpot
from kernpot import SparseGPPotential, tails
from kernpot.errors import KernpotWarning, StructureError
from tests.helpers.changed import changed
from tests.helpers.systems import crystals, labelled, soap


def noisy(frames: list[Atoms], size: float, seed: int) -> list[Atoms]:
    """The same with noise on forces (eV/A) and energies (a tenth of it, eV/atom)."""
    rng = np.random.default_rng(seed)
    out = []
    for atoms in frames:
        new = atoms.copy()
        results = dict(atoms.calc.results)
        results["forces"] = results["forces"] + size * rng.normal(size=(len(atoms), 3))
        results["energy"] = results["energy"] + 0.1 * size * len(atoms) * rng.normal()
        new.calc = type(atoms.calc)(new, **results)
        out.append(new)
    return out


@pytest.fixture
def gp() -> SparseGPPotential:
    return SparseGPPotential(soap(), n_inducing=30, random_state=0).fit(noisy(crystals(25, 1), 0.05, 1))


def scores(gp: SparseGPPotential, frames: list[Atoms]) -> tuple[float, float]:
    """CRPS and coverage at 90 % of forces."""
    z, s = [], []
    for atoms, p in zip(frames, gp.predict_full(frames), strict=True):
        s.append(p.forces.std.ravel())
        z.append((atoms.get_forces() - p.forces.mean).ravel() / s[-1])
    nu = p.forces.degrees_of_freedom
    z_, s_ = np.concatenate(z), np.concatenate(s)
    return float(np.mean(s_ * tails.crps(z_, nu))), float(np.mean(np.abs(z_) < tails.half_width(0.9, nu)))


def test_wider_errors_widen_the_intervals_and_nothing_else(gp: SparseGPPotential) -> None:
    held_out, others = noisy(crystals(20, 2), 0.2, 2), noisy(crystals(20, 3), 0.2, 3)
    before = gp.predict_full(others)
    crps, coverage = scores(gp, others)
    assert coverage < 0.6
    assert gp.calibrate(held_out) is gp
    better, honest = scores(gp, others)
    assert better < crps
    assert honest == pytest.approx(0.9, abs=0.04)
    for old, new in zip(before, gp.predict_full(others), strict=True):
        np.testing.assert_array_equal(new.forces.mean, old.forces.mean)
        np.testing.assert_array_equal(new.forces.epistemic_std, old.forces.epistemic_std)
        assert (new.forces.std >= old.forces.std).all()


def test_it_says_what_it_changed_and_draws_follow(gp: SparseGPPotential) -> None:
    forces = gp.misfit_["forces"]
    gp.calibrate(noisy(crystals(20, 2), 0.2, 2))
    told = gp.summary_["updates"][-1]["calibration"]["forces"]
    again = gp.misfit_["forces"]
    gp.calibrate(noisy(crystals(20, 2), 0.2, 2))
    drift = gp.summary_["updates"][-1]["calibration"]["forces"]["factor"]
    assert abs(np.log(drift)) < 0.2 * np.log(told["factor"])
    gp = changed(gp, misfit=gp.misfit_ | {"forces": again})
    assert told["structures"] == 20
    assert told["crps_after"] < told["crps_before"]
    assert gp.misfit_["forces"].factor == pytest.approx(told["factor"] * forces.factor)
    assert gp.misfit_["forces"].constant == pytest.approx(told["factor"] * forces.constant)
    assert gp.draw_scale_ == pytest.approx(np.hypot(1, gp.misfit_["forces"].factor))


def test_it_survives_the_file_and_partial_fit(gp: SparseGPPotential, tmp_path) -> None:
    gp.calibrate(noisy(crystals(20, 2), 0.2, 2))
    gp.save(tmp_path / "a.kernpot")
    loaded = kernpot.load(tmp_path / "a.kernpot")
    assert loaded.misfit_ == gp.misfit_
    assert loaded.summary_["updates"] == gp.summary_["updates"]
    misfit = dict(gp.misfit_)
    after = gp.partial_fit(noisy(crystals(2, 5), 0.05, 5)).misfit_
    # How large labels are is that of all labels, new ones too.
    assert {k: replace(m, signal=misfit[k].signal, prior=misfit[k].prior) for k, m in after.items()} == misfit
    assert after["forces"].signal != misfit["forces"].signal


def test_kinds_that_too_few_structures_have_stay(gp: SparseGPPotential) -> None:
    frames = noisy(crystals(8, 2), 0.2, 2)
    for atoms in frames[4:]:
        del atoms.calc.results["energy"]
    energy = gp.misfit_["energy"]
    gp.calibrate(frames)
    assert gp.misfit_["energy"] == energy
    assert "energy" not in gp.summary_["updates"][-1]["calibration"]


def test_too_few_structures_and_unknown_elements_are_refused(gp: SparseGPPotential) -> None:
    misfit = dict(gp.misfit_)
    with pytest.raises(StructureError, match="at least 5 structures"):
        gp.calibrate(crystals(4, 2))
    with pytest.raises(StructureError, match="was in the fit"):
        gp.calibrate([*crystals(5, 2), crystals(25, 1)[3]])
    with pytest.raises(StructureError, match="Au"):
        gp.calibrate([*crystals(5, 2), labelled(crystals(1, 3, symbols="Cu3Au")[0])])
    assert gp.misfit_ == misfit


def grouped(frames: list[Atoms], name: str) -> list[Atoms]:
    for atoms in frames:
        atoms.info["config_type"] = name
    return frames


def test_groups_of_five_have_a_factor_of_their_own(gp: SparseGPPotential, tmp_path) -> None:
    """Errors of one group are four times those of the other: one factor serves neither, theirs serve both."""
    quiet = lambda n, seed: grouped(noisy(crystals(n, seed), 0.05, seed), "quiet")  # noqa: E731
    loud = lambda n, seed: grouped(noisy(crystals(n, seed), 0.2, seed), "loud")  # noqa: E731
    gp.calibrate([*quiet(12, 2), *loud(12, 3), *grouped(noisy(crystals(4, 6), 0.2, 6), "few")])
    told = gp.summary_["updates"][-1]["calibration"]["forces"]
    assert set(told["groups"]) == {"quiet", "loud"}
    for of_group in told["groups"].values():
        assert of_group["low"] < of_group["factor"] < of_group["high"]
        assert of_group["crps_after"] < of_group["crps_before"]
    gp.save(tmp_path / "a.kernpot")
    for potential in (gp, kernpot.load(tmp_path / "a.kernpot")):
        for frames in (quiet(15, 4), loud(15, 5)):
            assert scores(potential, frames)[1] == pytest.approx(0.9, abs=0.05)
            nameless = [grouped([a.copy()], "")[0] for a in frames]
            for a, b in zip(nameless, frames, strict=True):
                a.calc = b.calc
            assert abs(scores(potential, nameless)[1] - 0.9) > 0.05
    factor = told["groups"]["loud"]["factor"]
    atoms = loud(1, 7)[0]
    p = gp.predict_full([atoms], covariance=True)[0]
    plain = gp.predict_full([grouped([atoms.copy()], "")[0]], covariance=True)[0]
    np.testing.assert_allclose(p.forces.std, factor * plain.forces.std, rtol=1e-9)
    np.testing.assert_allclose(gp.force_std(atoms), p.forces.std, rtol=1e-9)
    assert gp.predict([atoms], return_std=True)[1][0] == pytest.approx(float(p.energy.std), rel=1e-6)
    expected = np.concatenate([np.ravel(q.std) ** 2 for q in (p.energy, p.forces, p.stress)])
    np.testing.assert_allclose(p.covariance.total.diagonal(), expected, rtol=1e-6)


def test_a_factor_of_few_structures_is_less_sure(gp: SparseGPPotential) -> None:
    frames = noisy(crystals(60, 2), 0.2, 2)
    widths = []
    for n in (6, 60):
        told = changed(gp).calibrate(frames[:n]).summary_["updates"][-1]["calibration"]["forces"]
        assert told["inside_before"] < told["inside_after"]
        widths.append(np.log(told["high"] / told["low"]))
    assert widths[1] < 0.7 * widths[0]


def test_a_second_calibration_begins_without_the_groups_of_the_first(gp: SparseGPPotential) -> None:
    gp.calibrate(grouped(noisy(crystals(8, 2), 0.2, 2), "loud"))
    assert set(gp.misfit_["forces"].by_group) == {"loud"}
    with pytest.warns(KernpotWarning, match="an earlier calibration are dropped: of loud"):
        gp.calibrate(noisy(crystals(8, 3), 0.05, 3))
    assert gp.misfit_["forces"].by_group == {}


def test_forces_that_vanish_by_symmetry_tell_no_factor(gp: SparseGPPotential) -> None:
    """Perfect crystals of several volumes, predicted exactly by symmetry: nobody else is known any better for it."""
    perfect = []
    for scale in np.linspace(0.97, 1.03, 6):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        perfect.append(labelled(atoms))
    before = gp.predict_full(grouped(crystals(1, 7), "eos"))[0]
    gp.calibrate([*grouped(perfect, "eos"), *grouped(noisy(crystals(8, 2), 0.05, 2), "others")])
    assert set(gp.summary_["updates"][-1]["calibration"]["forces"]["groups"]) == {"others"}
    assert "eos" not in gp.misfit_["forces"].by_group
    assert gp.predict_full(grouped(crystals(1, 7), "eos"))[0].forces.std.max() > 0.5 * before.forces.std.max()


def test_one_structure_is_not_five(gp: SparseGPPotential) -> None:
    with pytest.warns(KernpotWarning, match="second time"), pytest.raises(StructureError, match="at least 5"):
        gp.calibrate(5 * noisy(crystals(1, 2), 0.2, 2))


def test_what_is_told_of_draws_is_theirs(gp: SparseGPPotential) -> None:
    gp.calibrate(noisy(crystals(12, 2), 0.2, 2))
    update = gp.summary_["updates"][-1]
    assert update["calibration_of_draws"]["forces"]["factor"] != update["calibration"]["forces"]["factor"]


def test_left_out_errors_are_those_of_structures_without_a_group(gp: SparseGPPotential) -> None:
    """A threshold that follows from them is for simulations, whose atoms have none."""
    before = [found.std for found in gp.left_out()]
    loud = gp.misfit_["forces"]
    told = changed(gp, misfit=gp.misfit_ | {"forces": replace(loud, by_group={"": 3.0})})
    for a, found in zip(before, told.left_out(), strict=True):
        np.testing.assert_array_equal(found.std, a)
