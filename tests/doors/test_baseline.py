"""A potential on top of a baseline: any surface, any ASE calculator."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.md.langevin import Langevin
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from kernpot import NNPEnsemble, OnTop, SparseGPPotential, load
from kernpot.dynamics import Bootstrap, OnTheFlyLearner, Schedule, Stage, UncertaintyGate
from kernpot.dynamics.oracles import CalculatorOracle
from kernpot.engines import PairFunction
from kernpot.errors import KernpotError, KernpotWarning, ModelFileError
from kernpot.structures.neighbours import find_pairs
from kernpot.testing import check_potential
from tests.doors.real import copper, coverage, ethanol, soap

MORSE = {"epsilon": 0.34, "r0": 2.62, "rho0": 4.0, "rcut1": 4.0, "rcut2": 4.8}


def gp(**changes: object) -> SparseGPPotential:
    return SparseGPPotential(**({"descriptor": soap(["Cu"]), "n_inducing": 12, "random_state": 0} | changes))


@pytest.fixture(scope="module")
def on_morse() -> OnTop:
    return OnTop(MorsePotential(**MORSE), gp()).fit(copper(12, 0))


def test_it_passes_the_conformance_suite() -> None:
    """On top of a potential of kernpot's, which answers along pairs and can be stored, as any potential must."""
    base = gp(n_inducing=6).fit(copper(5, 3))
    check_potential(OnTop(base, gp()).fit(copper(12, 0)), copper(1, 5))


def test_it_is_the_learner_of_what_the_baseline_leaves(on_morse: OnTop) -> None:
    """Fitted by hand to differences, the learner says the same, and the sum is its mean and the baseline's."""
    frames, morse = copper(12, 0), MorsePotential(**MORSE)
    left = []
    for atoms in frames:
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, calculator=morse)
        labels = [
            (atoms.calc.results[k] - getattr(bare, f"get_{n}")())
            for k, n in (("energy", "potential_energy"), ("forces", "forces"), ("stress", "stress"))
        ]
        left.append(labels)
    energies, forces, stress = zip(*left, strict=True)
    alone = gp().fit([a.copy() for a in frames], energies, forces, stress)
    atoms = copper(1, 9)[0]
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, calculator=morse)
    found, expected = (
        on_morse.predict_full([atoms], covariance=True)[0],
        alone.predict_full([atoms], covariance=True)[0],
    )
    assert float(found.energy.mean) == pytest.approx(
        float(expected.energy.mean) + bare.get_potential_energy(), abs=1e-9
    )
    np.testing.assert_allclose(found.forces.mean, expected.forces.mean + bare.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found.stress.mean, expected.stress.mean + bare.get_stress(), atol=1e-11)
    np.testing.assert_allclose(found.forces.std, expected.forces.std, rtol=1e-9)
    np.testing.assert_allclose(found.covariance.total, expected.covariance.total, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(on_morse.mean(atoms).forces, found.forces.mean, atol=1e-9)
    energy, std = on_morse.predict([atoms], return_std=True)
    assert (energy[0], std[0]) == pytest.approx((float(found.energy.mean), float(found.energy.std)), rel=1e-9)
    assert on_morse.predict([atoms])[0] == pytest.approx(energy[0], abs=1e-9)


def test_draws_carry_it(on_morse: OnTop) -> None:
    atoms = copper(1, 9)[0]
    draws = on_morse.sample_potentials(400, random_state=0)
    found, mean = draws.evaluate(atoms), on_morse.mean(atoms)
    assert np.abs(found.forces.mean(0) - mean.forces).max() < 5 * found.forces.std(0).max() / 20
    one = draws[3].mean(atoms)
    np.testing.assert_allclose(one.forces, found.forces[3], atol=1e-9)
    np.testing.assert_allclose(draws.mean_potential.mean(atoms).forces, mean.forces, atol=1e-9)
    assert len(draws[:5]) == 5
    atoms.calc = draws[3].calculator()
    assert atoms.get_potential_energy() == pytest.approx(one.energy, abs=1e-9)


def test_far_from_the_data_the_baseline_is_what_remains(on_morse: OnTop) -> None:
    """Two atoms pressed together repel as the baseline says, with an error bar that grows."""
    distances = (2.4, 1.8, 1.4)
    energies, stds = [], []
    for d in distances:
        pair = Atoms("Cu2", [[0, 0, 0], [d, 0, 0]], cell=[20, 20, 20], pbc=True)
        (p,) = on_morse.predict_full([pair])
        energies.append(float(p.energy.mean))
        stds.append(float(p.energy.std))
    assert energies[2] > energies[1] + 1 > energies[0] + 1
    assert stds[2] > 0.05


def test_dynamics_gate_and_calculator(on_morse: OnTop) -> None:
    atoms = copper(1, 4)[0]
    atoms.calc = on_morse.calculator()
    gate = UncertaintyGate(on_morse, force_std=50.0, recheck=5)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.02, rng=np.random.default_rng(0))
    gate.attach_to(dynamics)
    dynamics.run(20)
    assert gate.last is not None and not gate.events
    np.testing.assert_allclose(atoms.get_forces(), on_morse.mean(atoms).forces, atol=1e-9)


def test_along_pairs_where_the_baseline_can(on_morse: OnTop) -> None:
    atoms = copper(1, 4)[0]
    base = gp(n_inducing=6).fit(copper(5, 3))
    both = OnTop(base, gp()).fit(copper(12, 0))
    pairs = find_pairs(atoms, both.cutoff)
    found = both.along_pairs(atoms.numbers.astype(np.int64), pairs, len(atoms), std=True)
    assert found.energies.sum() == pytest.approx(both.mean(atoms).energy, abs=1e-9)
    index = np.stack([pairs.centres, pairs.neighbours], axis=1)
    with pytest.raises(KernpotError, match="calculator of whole structures, and this engine has pairs of its own"):
        PairFunction(on_morse)(index, atoms.numbers, pairs.vectors)


def test_learning_on_is_a_fit_to_everything() -> None:
    fixed = {
        "noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001},
        "optimize": False,
        "isolated_atoms": {"Cu": Atoms("Cu", calculator=EMT()).get_potential_energy()},
    }
    first, second = copper(8, 0), copper(3, 1)
    learner = gp(inducing=first[:3], **fixed)
    step = OnTop(EMT(), learner).fit(first).partial_fit(second)
    once = OnTop(EMT(), learner).fit([*first, *second])
    atoms = copper(1, 9)[0]
    np.testing.assert_allclose(step.mean(atoms).forces, once.mean(atoms).forces, atol=1e-8)
    # EMT made the labels: nothing is left to learn
    np.testing.assert_allclose(once.mean(atoms).forces, atoms.get_forces(), atol=1e-7)
    step.update(copper(1, 2))
    assert len(step.summary_["updates"]) >= 2
    step.calibrate(copper(6, 12))


def test_energies_of_isolated_atoms_are_those_of_the_user() -> None:
    """Given as total energies; the baseline's part of them is taken off before the learner sees them."""
    found = OnTop(EMT(), gp(isolated_atoms={"Cu": 1.5})).fit(copper(6, 0))
    emt = Atoms("Cu", calculator=EMT()).get_potential_energy()
    assert found.learner_.isolated_atoms_[29] == pytest.approx(1.5 - emt)


@pytest.mark.slow
def test_real_data_with_calibration_at_the_end() -> None:
    """GFN2 ethanol on top of GFN1-xTB: with ten labels a fraction of the error, and intervals that hold."""
    TBLite = pytest.importorskip("tblite.ase", reason="needs pip install 'kernpot[oracles]'").TBLite
    train, held_out, test = ethanol(0, 10), ethanol(40, 50), ethanol(60, 80)
    learner = SparseGPPotential(soap(["H", "C", "O"]), n_inducing=100, random_state=0)
    alone = clone(learner).fit(train).calibrate(held_out)
    both = OnTop(TBLite(method="GFN1-xTB", verbosity=0), learner).fit(train).calibrate(held_out)
    (rough, _), (fine, inside) = (coverage(p, test, "forces") for p in (alone, both))
    assert fine < 0.5 * rough
    assert 0.8 < inside < 0.99


def test_it_names_atoms_closer_than_any_that_its_learner_has_learnt(on_morse: OnTop) -> None:
    pressed = copper(1, 9)[0]
    pressed.set_cell(pressed.cell.array * 0.8, scale_atoms=True)
    found = on_morse.closer_pair(pressed)
    assert found is not None and found == on_morse.learner_.closer_pair(pressed)


def test_networks_on_top() -> None:
    networks = NNPEnsemble(soap(["Cu"]), hidden=(8,), n_members=2, max_epochs=20, random_state=0)
    both = OnTop(MorsePotential(**MORSE), networks).fit(copper(20, 0))
    rmse, _ = coverage(both, copper(5, 9), "forces")
    assert np.isfinite(rmse)


def test_the_model_file_names_it_and_wants_it_again(on_morse: OnTop, tmp_path: Path) -> None:
    on_morse.save(tmp_path / "m.kernpot")
    with pytest.raises(
        ModelFileError, match=r"morse.MorsePotential, which no file holds; give it again: load\(path, baseline"
    ):
        load(tmp_path / "m.kernpot")
    with pytest.raises(ModelFileError, match=r"the baseline given again gives .*: give the same one"):
        load(tmp_path / "m.kernpot", baseline=MorsePotential(**(MORSE | {"epsilon": 0.5})))
    again, atoms = load(tmp_path / "m.kernpot", baseline=MorsePotential(**MORSE)), copper(1, 9)[0]
    np.testing.assert_allclose(again.mean(atoms).forces, on_morse.mean(atoms).forces, atol=1e-9)
    assert again.summary_ == on_morse.summary_


def test_a_baseline_of_kernpots_is_stored_with_it(tmp_path: Path) -> None:
    base = gp(n_inducing=6).fit(copper(5, 3))
    both = OnTop(base, gp()).fit(copper(12, 0))
    both.save(tmp_path / "m.kernpot")
    again, atoms = load(tmp_path / "m.kernpot"), copper(1, 9)[0]
    (a,), (b,) = both.predict_full([atoms]), again.predict_full([atoms])
    np.testing.assert_allclose(b.forces.mean, a.forces.mean, atol=1e-9)
    np.testing.assert_allclose(b.forces.std, a.forces.std, rtol=1e-9)


class Broken(Calculator):
    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=None, system_changes=None):
        raise RuntimeError("no SCF convergence")


def test_what_cannot_serve_is_refused() -> None:
    with pytest.raises(
        KernpotError, match="baseline: expected a fitted potential, a surface or an ASE calculator, got int"
    ):
        OnTop(3, gp()).fit(copper(6, 0))
    with pytest.raises(KernpotError, match=r"the baseline .*Broken failed on a structure of 4 atoms .*no SCF"):
        OnTop(Broken(), gp()).fit(copper(6, 0))
    fitted = OnTop(MorsePotential(**MORSE), gp()).fit(copper(6, 0))
    before = fitted.mean(copper(1, 9)[0]).forces
    fitted.baseline = Broken()
    with pytest.raises(KernpotError):
        fitted.fit(copper(6, 0))
    np.testing.assert_array_equal(fitted.mean(copper(1, 9)[0]).forces, before)


# ------------------------------------------------------------------ nothing is shared, and nothing lost


def test_copies_learn_on_by_themselves(on_morse: OnTop) -> None:
    atoms = copper(1, 9)[0]
    before = on_morse.mean(atoms).energy
    other = copy.copy(on_morse).partial_fit(copper(3, 7))
    assert other.mean(atoms).energy != before == on_morse.mean(atoms).energy


def test_the_baseline_is_the_one_it_was_taught_on() -> None:
    base, atoms = gp(n_inducing=6).fit(copper(5, 3)), copper(1, 9)[0]
    both = OnTop(base, gp()).fit(copper(12, 0))
    before = both.mean(atoms).energy
    base.partial_fit(copper(3, 7))
    assert both.mean(atoms).energy == before


def test_a_clone_keeps_a_fitted_baseline_and_nothing_else_that_was_learnt(tmp_path: Path) -> None:
    base, frames = gp(n_inducing=6).fit(copper(5, 3)), copper(12, 0)
    both = OnTop(base, OnTop(MorsePotential(**MORSE), gp())).fit(frames)
    again = clone(both)
    with pytest.raises(NotFittedError):
        again.mean(frames[0])
    assert again.fit(frames).mean(frames[0]).energy == pytest.approx(both.mean(frames[0]).energy, abs=1e-9)
    energies = [atoms.get_potential_energy() for atoms in frames]
    assert np.isfinite(cross_val_score(OnTop(base, gp()), frames, energies, cv=2)).all()


class Coulomb(Calculator):
    """Charges of the atoms against each other; no stress."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=(), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        q, r = atoms.get_initial_charges(), atoms.positions
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
        for i, j in itertools.combinations(range(len(atoms)), 2):
            d = r[i] - r[j]
            v = q[i] * q[j] * units.Hartree * units.Bohr / np.linalg.norm(d)
            self.results["energy"] += v
            self.results["forces"][[i, j]] += v * np.outer([1, -1], d) / (d @ d)


def test_calculators_see_the_charges_of_atoms_and_need_no_stress() -> None:
    frames = copper(12, 0)
    for atoms in frames:
        atoms.set_initial_charges([0.3, -0.1, -0.1, -0.1])
    with pytest.raises(
        KernpotError, match=r"structures\[0\]: has a stress label.*Coulomb has no stress.*stress=\[None\]"
    ):
        OnTop(Coulomb(), gp()).fit(frames)
    with pytest.warns(KernpotWarning, match="no structure has stress labels"):
        both = OnTop(Coulomb(), gp()).fit(frames, stress=[None] * len(frames))
    neutral = frames[0].copy()
    neutral.set_initial_charges([0.0] * 4)
    by_charges = both.mean(frames[0]).energy - both.mean(neutral).energy
    bare = frames[0].copy()
    bare.calc = Coulomb()
    assert by_charges == pytest.approx(bare.get_potential_energy(), rel=1e-9) and abs(by_charges) > 0.1
    assert both.predict_full(frames[0])[0].stress is None


class TooMany(MorsePotential):
    """Energies of atoms that are not there."""

    implemented_properties = ("energy", "energies", "forces", "stress")

    def calculate(self, *args: object, **options: object) -> None:
        super().calculate(*args, **options)
        self.results["energies"] = np.zeros(7)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: OnTop(EMT(), None), "learner: expected an unfitted potential, got NoneType"),
        (lambda: OnTop(EMT(), gp(isolated_atoms={"Xx": 1.0})), "'Xx'"),
        (lambda: OnTop(EMT(), gp(isolated_atoms={"Cu": "one"})), "isolated_atoms"),
        (lambda: OnTop(TooMany(**MORSE), gp()), r"energies of atoms of shape \(7,\), expected \(4,\)"),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], OnTop], match: str) -> None:
    with pytest.raises(KernpotError, match=match):
        make().fit(copper(5, 0))


@pytest.mark.slow
def test_a_run_that_learns_on_the_fly_goes_on_with_the_baseline_it_was_given(tmp_path: Path) -> None:
    def run(steps: int) -> int:
        potential = OnTop(MorsePotential(**MORSE), gp())
        learner = OnTheFlyLearner(
            potential,
            CalculatorOracle(EMT),
            Schedule([Stage("langevin", steps, (100.0, 300.0), timestep=4.0, friction=5.0)]),
            UncertaintyGate(potential, force_std=0.05, every=2),
            bulk("Cu", cubic=True),
            tmp_path / "run",
            bootstrap=Bootstrap(number=4, rattle=0.05),
            leg=20,
            random_state=3,
        )
        return learner.run().labels

    assert 4 <= run(20) <= run(40)


@pytest.mark.slow
def test_sums_of_sums_are_stored_and_say_what_they_want_again(tmp_path: Path) -> None:
    frames, path, morse = copper(12, 0), tmp_path / "m.kernpot", MorsePotential(**MORSE)
    base, small = gp(n_inducing=6).fit(copper(5, 3)), gp(n_inducing=4).fit(copper(4, 8))
    for both, again, match in (
        (OnTop(base, OnTop(small, gp())), [], None),
        (OnTop(base, OnTop(morse, gp())), ["learner"], r"of the learner, as load\(path, learner=.*MorsePotential"),
        (
            OnTop(OnTop(morse, gp(n_inducing=6)).fit(copper(5, 3)), gp()),
            ["baseline"],
            r"cannot be restored alone .*give it again whole",
        ),
    ):
        both.fit(frames).save(path)
        assert list(both.given_again) == again
        if match:
            with pytest.raises(ModelFileError, match=match):
                load(path)
        loaded = load(path, **both.given_again)
        np.testing.assert_array_equal(loaded.mean(frames[0]).forces, both.mean(frames[0]).forces)
        assert loaded.energy_std(frames[0]).std == both.energy_std(frames[0]).std
    with pytest.raises(ModelFileError, match="learner=: expected a mapping"):
        load(path, baseline=both.baseline, learner=5)
