"""What labels tell nothing of is not taken for known: rare elements, close atoms, stress without labels."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from kernpot import SparseGPPotential, load
from kernpot.dynamics import GateStopped, UncertaintyGate
from kernpot.errors import KernpotWarning
from kernpot.report import findings
from kernpot.uncertainty import evaluate
from tests.helpers.changed import changed
from tests.helpers.systems import crystals, labelled, soap


def block(n: int, seed: int, kinds=("energy", "forces", "stress"), strain: float = 0.02, gold: int = 0) -> list[Atoms]:
    """Cells of 32 copper atoms, one of them gold in some."""
    rng, out = np.random.default_rng(seed), []
    for k in range(n):
        atoms = bulk("Cu", cubic=True) * 2
        if k < gold:
            atoms.numbers[rng.choice(len(atoms))] = 79
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.08, rng=rng)
        out.append(labelled(atoms, kinds))
    return out


def inside(gp: SparseGPPotential, frames: list[Atoms], number: int, error_bars: str = "exact") -> float:
    """Share of force components on atoms of an element inside their 90 % intervals."""
    found = []
    for atoms, p in zip(frames, gp.predict_full(frames, error_bars=error_bars), strict=True):
        low, high = p.forces.interval(0.9)
        own, forces = atoms.numbers == number, atoms.get_forces()
        found.append(((low <= forces) & (forces <= high))[own].ravel())
    return float(np.mean(np.concatenate(found)))


@pytest.mark.parametrize("gold", [1, 4])
def test_an_element_seen_rarely_is_not_certain(gold: int) -> None:
    gp = SparseGPPotential(soap(["Cu", "Au"], n_max=4, l_max=3), n_inducing=80, random_state=0)
    gp.fit(block(20, 1, gold=gold))
    assert inside(gp, block(6, 5, gold=6), 79) >= 0.8


def test_an_element_seen_alone_is_as_unknown_as_can_be(tmp_path) -> None:
    alone = [labelled(Atoms(s, [[10, 10, 10]], cell=[20] * 3), ["energy"]) for s in ("Cu", "Au")]
    gp = SparseGPPotential(soap(["Cu", "Au"], n_max=4, l_max=3), n_inducing=80, random_state=0)
    gp.fit([*block(15, 1), *alone])
    gp.save(tmp_path / "model.kernpot")
    for potential in (gp, load(tmp_path / "model.kernpot")):
        assert inside(potential, block(4, 5, gold=4), 79) >= 0.8
        assert inside(potential, block(4, 5, gold=4), 79, "draws") >= 0.8
        crystal = bulk("Au", cubic=True) * (2, 2, 1)
        crystal.rattle(0.1, seed=1)
        p, truth = potential.predict_full([crystal])[0], labelled(crystal)
        assert abs(float(p.energy.mean) - truth.get_potential_energy()) < 2 * float(p.energy.std)
        with pytest.raises(GateStopped):
            UncertaintyGate(potential).check(crystal)


@pytest.fixture(scope="module")
def copper() -> SparseGPPotential:
    return SparseGPPotential(soap(n_max=4, l_max=3), n_inducing=60, random_state=0).fit(block(15, 1))


def test_crystals_pressed_together_stop_the_gate(copper: SparseGPPotential) -> None:
    """And so they do where the screen looks first."""
    familiar, pressed = block(1, 7)[0], block(1, 7)[0]
    pressed.set_cell(pressed.cell.array * 0.85, scale_atoms=True)
    gate = UncertaintyGate(copper, force_std=0.5)
    assert gate.check(familiar) is None
    with pytest.raises(GateStopped, match=r"are [\d.]+ A apart, the closest in the fit 2\.\d+ A"):
        gate.check(pressed)
    assert copper.closer_pair(familiar) is None
    told = " ".join(finding.text for finding in findings(evaluate(copper, [labelled(pressed), labelled(familiar)])))
    assert "In 1 of 2 structures atoms are closer than any in the fit" in told
    errors = copper.mean(pressed).forces - labelled(pressed).get_forces()
    assert np.sqrt(np.mean(errors**2)) > 0.3
    for way in ("exact", "draws"):
        p = copper.predict_full([pressed], error_bars=way)[0]
        low, high = p.forces.interval(0.9)
        truth = labelled(pressed).get_forces()
        assert np.mean((low <= truth) & (truth <= high)) >= 0.8
        np.testing.assert_allclose(copper.force_std(pressed, error_bars=way), p.forces.std, rtol=1e-9)


def test_closer_atoms_add_to_variances_and_to_nothing_else(copper: SparseGPPotential) -> None:
    without = changed(copper, unseen_pairs=None)
    familiar, pressed = block(1, 1)[0], block(1, 7)[0]
    pressed.set_cell(pressed.cell.array * 0.9, scale_atoms=True)
    unknown = copper.fitted_.unseen_pairs
    assert unknown is not None
    p, q = (gp.predict_full([familiar])[0] for gp in (copper, without))
    np.testing.assert_array_equal(p.forces.std, q.forces.std)
    p, q = (gp.predict_full([pressed], covariance=True)[0] for gp in (copper, without))
    np.testing.assert_array_equal(p.forces.mean, q.forces.mean)
    np.testing.assert_array_equal(p.forces.epistemic_std, q.forces.epistemic_std)
    assert (p.forces.std >= q.forces.std).all() and (p.stress.std > q.stress.std).all() and p.energy.std > q.energy.std
    expected = np.concatenate([np.ravel(x.std) ** 2 for x in (p.energy, p.forces, p.stress)])
    np.testing.assert_allclose(p.covariance.total.diagonal(), expected, rtol=1e-9)
    assert copper.predict([pressed], return_std=True)[1][0] == pytest.approx(float(p.energy.std), rel=1e-6)


def test_labels_that_come_later_tell_of_closer_atoms(copper: SparseGPPotential) -> None:
    pressed = block(1, 7)[0]
    pressed.set_cell(pressed.cell.array * 0.85, scale_atoms=True)
    gp = changed(copper).partial_fit([labelled(pressed)])
    assert gp.fitted_.unseen_pairs.closest[29, 29] < 0.97 * copper.fitted_.unseen_pairs.closest[29, 29]
    assert gp.force_std(pressed).max() < copper.force_std(pressed).max()


def test_stress_that_labels_leave_open_is_as_wide_as_two_models_differ() -> None:
    """Copper at one volume without stress labels, in few inducing environments: pressures wrong by tens of GPa."""

    def one_cell(n: int, seed: int) -> list[Atoms]:
        rng, out = np.random.default_rng(seed), []
        for k in range(n):
            atoms = bulk("Cu", cubic=True) * 2
            atoms.rattle(0.05 + 0.1 * k / n, rng=rng)
            out.append(labelled(atoms, ["energy", "forces"]))
        return out

    with pytest.warns(KernpotWarning, match="one volume per atom") as told:
        gp = SparseGPPotential(n_inducing=100, random_state=0).fit(one_cell(15, 1))
    assert len([w for w in told if "no structure has stress" in str(w.message)]) == 1
    for atoms in one_cell(3, 2):
        truth = labelled(atoms).get_stress()
        for way in ("exact", "draws"):
            stress = gp.predict_full([atoms], error_bars=way)[0].stress
            assert (np.abs(stress.mean - truth) < 2 * stress.std).all()
            assert np.abs((stress.mean - truth)[:3].mean()) > 20 * units.GPa


def test_a_descriptor_too_small_for_a_second_opinion_leaves_stress_as_wide_as_the_prior() -> None:
    with pytest.warns(KernpotWarning, match="all that the prior leaves open"):
        gp = SparseGPPotential(soap(), n_inducing=60, random_state=0).fit(crystals(20, 2, ("energy", "forces")))
    for atoms in crystals(4, 78):
        for way in ("exact", "draws"):
            stress = gp.predict_full([atoms], error_bars=way)[0].stress
            assert (np.abs(stress.mean - atoms.get_stress()) < 2 * stress.std).all()
    constant = gp.misfit_["stress"].constant
    gp.partial_fit(crystals(2, 8))
    assert gp.misfit_["stress"].constant == constant  # two structures do not calibrate it


def test_several_volumes_are_not_one() -> None:
    with pytest.warns(KernpotWarning, match="no structure has stress labels") as told:
        SparseGPPotential(soap(n_max=4, l_max=3), n_inducing=40, random_state=0).fit(
            block(12, 1, kinds=("energy", "forces"))
        )
    assert "one volume" not in "".join(str(w.message) for w in told)
