"""Error bars from shared draws: what they are made of, that they are smooth, calibrated, kept, and cost few means."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from sklearn.base import clone
from torch.utils.flop_counter import FlopCounterMode

from kernpot import SparseGPPotential, load
from kernpot.backend.randomness import seeded
from kernpot.calibration.spread import Growth
from kernpot.calibration.surroundings import Surroundings
from kernpot.dynamics import UncertaintyGate
from kernpot.errors import KernpotError, KernpotWarning, ModelFileError
from kernpot.gp.learning.leave_one_out import leave_one_out
from kernpot.gp.learning.shared_draws import deviations, residuals_of
from kernpot.gp.predicting.draws import terms_of
from kernpot.gp.predicting.predictor import Predictor
from kernpot.gp.predicting.shared_draws import SharedScatter
from kernpot.gp.rows.compress import compress
from kernpot.kernels import SOAPKernel
from kernpot.structures.neighbours import find_pairs
from kernpot.surfaces.potentials import Potentials, summed
from kernpot.uncertainty import evaluate
from tests.helpers.changed import changed
from tests.helpers.systems import cluster, crystals, labelled, slab, soap

TRAIN, NEW = crystals(24), [crystals(1, seed=9)[0], cluster("Cu4", 3), slab(5)]
each = pytest.mark.parametrize("atoms", NEW, ids=["crystal", "cluster", "slab"])


def estimator(**settings) -> SparseGPPotential:
    return SparseGPPotential(soap(n_max=4, l_max=3), **{"n_inducing": 40, "random_state": 0} | settings)


@pytest.fixture(scope="module")
def gp() -> SparseGPPotential:
    return estimator().fit(TRAIN)


def by(gp: SparseGPPotential, error_bars: str) -> SparseGPPotential:
    """The same model with the other kind of error bars."""
    return copy.copy(gp).set_params(error_bars=error_bars)


def as_drawn(gp: SparseGPPotential) -> SparseGPPotential:
    """Without what variances grow by away from data."""
    return changed(gp, shared=replace(gp.fitted_.shared, growth=None))


def scatter(gp: SparseGPPotential) -> Potentials:
    """The draws' deviations in double precision, one after the other."""
    shared = gp.fitted_.shared
    whitened, generators = deviations(shared, seeded(shared.n, shared.seed)), seeded(shared.n, shared.seed)
    for generator in generators:  # the parameters come first
        torch.randn(len(whitened[0]), dtype=torch.float64, generator=generator)
    return Potentials(shared.source.features, summed(terms_of(shared.source, whitened, generators)), {}, shared.n)


@each
def test_epistemic_stds_are_the_scatter_of_the_draws_about_the_mean(gp, atoms):
    gp = as_drawn(gp)
    found, exact, d = gp.predict_full(atoms, error_bars="draws")[0], gp.predict_full(atoms)[0], scatter(gp)(atoms)
    assert len(d) == gp.n_draws == 16
    for name, of_draws in (
        ("energy", d.energies),
        ("energies", d.atomic_energies),
        ("forces", d.forces),
        ("stress", d.stress),
    ):
        quantity = getattr(found, name)
        if quantity is None:
            assert getattr(exact, name) is None
            continue
        np.testing.assert_allclose(quantity.mean, getattr(exact, name).mean, rtol=1e-10, atol=1e-12)
        expected = np.sqrt((of_draws**2).mean(0))
        np.testing.assert_allclose(quantity.epistemic_std, expected, rtol=5e-4, atol=1e-5 * np.max(expected))
        assert (quantity.std >= quantity.epistemic_std).all()
    np.testing.assert_array_equal(gp.force_std(atoms, error_bars="draws"), found.forces.std)


@each
def test_variances_grow_where_those_around_an_atom_are_larger_than_where_data_are(gp, atoms):
    plain, shared = as_drawn(gp), gp.fitted_.shared
    growing = changed(gp, shared=replace(shared, growth=Growth(0.5, 1e-5)))
    before, after = (x.predict_full(atoms, error_bars="draws")[0] for x in (plain, growing))
    pairs = find_pairs(atoms, gp.cutoff)
    vectors = (torch.from_numpy(x) for x in (pairs.centres, pairs.neighbours, pairs.vectors))
    around = Surroundings(len(atoms), *vectors, gp.cutoff).pool(
        torch.from_numpy(before.forces.epistemic_std.ravel() ** 2)
    )
    factors = np.maximum(around.view(-1, 3)[:, 0].numpy() / 1e-5, 1.0) ** 0.5
    assert factors.max() > 2
    ratio = after.forces.epistemic_std**2 / before.forces.epistemic_std**2
    np.testing.assert_allclose(ratio, np.repeat(factors[:, None], 3, 1), rtol=1e-6)
    assert float(after.energy.epistemic_std / before.energy.epistemic_std) ** 2 == pytest.approx(factors.mean())
    if after.stress is not None:
        ratio = after.stress.epistemic_std**2 / before.stress.epistemic_std**2
        np.testing.assert_allclose(ratio, factors.mean(), rtol=1e-6)
    np.testing.assert_array_equal(after.energies.std, before.energies.std)
    nothing = changed(gp, shared=replace(shared, growth=Growth(0.5, 1e9)))
    unchanged = nothing.predict_full(atoms, error_bars="draws")[0]
    np.testing.assert_allclose(unchanged.forces.std, before.forces.std, rtol=1e-9)


def test_away_from_data_both_kinds_of_stds_grow_alike():
    """Fitted to the model's own stds of displaced and strained structures: no labels are needed."""
    model = estimator(n_inducing=60).fit(crystals(30, seed=1, strain=0.01))
    growth = model.fitted_.shared.growth
    assert 0 <= growth.exponent <= 1
    assert growth.reference > 0
    far = [atoms for seed in range(3) for atoms in crystals(1, seed=seed + 50, strain=0.06)]
    for atoms in far:
        atoms.rattle(0.15, seed=3)
    stds = [np.concatenate([model.force_std(a, error_bars=way).ravel() for a in far]) for way in ("exact", "draws")]
    assert 0.4 < np.sqrt((stds[1] ** 2).mean() / (stds[0] ** 2).mean()) < 2.5


def test_many_draws_have_the_variances_of_what_they_are_drawn_from(gp):
    """Parameters, scaled, and what the inducing environments leave out."""
    shared = gp.fitted_.shared
    many = SharedScatter(gp.fitted_, replace(shared, n=3000))
    d, pairs = many.scatter(NEW[0]), find_pairs(NEW[0], gp.cutoff)
    exact = Predictor(shared.source).labels(NEW[0], ("energy", "forces", "stress"))
    for kind, of_draws in (("forces", d.forces), ("stress", d.stress), ("energy", d.energies / len(NEW[0]))):
        v = exact[kind][1]
        expected = (shared.scale**2 * v.parameter + v.unrepresented).sqrt().numpy()
        np.testing.assert_allclose(np.sqrt((of_draws.reshape(3000, -1) ** 2).sum(0)), expected, rtol=0.08)
    atomic = many.atomic_deviations(torch.from_numpy(NEW[0].numbers.astype(np.int64)), pairs, 4)
    np.testing.assert_allclose(atomic, d.atomic_energies, rtol=0, atol=1e-5 * np.abs(d.atomic_energies).max())


def test_slope_of_the_energys_std_is_exact(gp):
    """Against differences of the same draws in double precision."""
    atoms, step, draws = NEW[0].copy(), 1e-4, scatter(gp)
    found = by(gp, "draws").energy_std(atoms)

    def std(moved: Atoms) -> float:
        return float(np.sqrt((draws(moved).energies ** 2).mean() + 1e-6))

    assert found.std == pytest.approx(std(atoms), rel=1e-3)
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(std(moved))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert found.gradient[atom, axis] == pytest.approx(expected, rel=2e-3, abs=1e-5 * np.abs(found.gradient).max())


def test_stds_turn_with_the_structure_and_do_not_see_the_order_of_atoms(gp):
    atoms = cluster("Cu4", 3)
    first = gp.predict_full(atoms, error_bars="draws")[0]
    swapped = gp.predict_full(atoms[[2, 0, 3, 1]], error_bars="draws")[0]
    np.testing.assert_allclose(swapped.forces.std, first.forces.std[[2, 0, 3, 1]], rtol=1e-4)
    turned = atoms.copy()
    turned.rotate(90, "z")
    found = gp.predict_full(turned, error_bars="draws")[0]
    np.testing.assert_allclose(found.forces.std[:, [1, 0, 2]], first.forces.std, rtol=1e-3)
    np.testing.assert_allclose(found.energy.std, first.energy.std, rtol=1e-4)


def test_intervals_hold_what_they_say():
    """Of new structures like those learnt, with either kind of error bars."""
    model = estimator(n_inducing=60).fit(crystals(60, seed=1))
    new = crystals(60, seed=2)
    for way in ("exact", "draws"):
        rows = evaluate(by(model, way), new).rows("forces")
        assert 0.82 < rows[0].coverage[0.9] < 0.97, way


def test_misfit_is_of_the_models_own_errors_with_the_sampling_error_of_the_draws(gp):
    shared = gp.fitted_.shared
    assert set(shared.source.misfit) == {"energy", "forces", "stress"}
    assert shared.scale > 1
    # The same labels, other features: stds of both are about as large.
    for name in ("forces", "stress"):
        ways = [getattr(gp.predict_full(NEW[0], error_bars=w)[0], name).std.mean() for w in ("exact", "draws")]
        assert 0.4 < ways[1] / ways[0] < 2.5


def test_file_keeps_them_to_the_last_bit(gp, tmp_path):
    gp.save(tmp_path / "a.kernpot")
    again = load(tmp_path / "a.kernpot")
    for atoms in NEW:
        p, q = (x.predict_full(atoms, error_bars="draws")[0] for x in (gp, again))
        np.testing.assert_array_equal(p.forces.std, q.forces.std)
        np.testing.assert_array_equal(p.energy.std, q.energy.std)
    chosen = by(gp, "draws")
    chosen.save(tmp_path / "b.kernpot")
    loaded = load(tmp_path / "b.kernpot")
    assert loaded.error_bars == "draws"
    np.testing.assert_array_equal(loaded.predict_full(NEW[0])[0].forces.std, chosen.force_std(NEW[0]))
    (header, tensors), (again_header, again_tensors) = chosen.file_contents(), loaded.file_contents()
    assert again_header["shared"] == header["shared"]
    assert set(tensors) == set(again_tensors)
    assert any(name.startswith("shared.") for name in tensors)


def test_they_learn_with_the_model(gp):
    model = changed(gp)
    before = model.predict_full(NEW[1], error_bars="draws")[0].forces.epistemic_std
    model.partial_fit([labelled(cluster("Cu4", seed)) for seed in range(8)])
    after = model.predict_full(NEW[1], error_bars="draws")[0].forces.epistemic_std
    assert after.mean() < 0.7 * before.mean()
    model.calibrate(crystals(8, seed=40))
    assert model.fitted_.shared.source.misfit != gp.fitted_.shared.source.misfit
    model.add_inducing([cluster("Cu4", 77)])
    assert model.fitted_.shared is not None


def test_parameter_decides_for_all_that_asks(gp):
    model = by(gp, "draws")
    atoms = NEW[0].copy()
    np.testing.assert_array_equal(model.force_std(atoms), gp.force_std(atoms, error_bars="draws"))
    assert not np.allclose(model.force_std(atoms), gp.force_std(atoms), rtol=1e-3)
    np.testing.assert_array_equal(model.force_std(atoms, error_bars="exact"), gp.force_std(atoms))
    atoms.calc = model.calculator()
    atoms.get_forces()
    np.testing.assert_array_equal(atoms.calc.prediction.forces.std, model.force_std(atoms))
    energy, std = model.predict([atoms], return_std=True)
    assert std[0] == float(gp.predict_full(atoms, error_bars="draws")[0].energy.std)
    assert energy[0] == pytest.approx(gp.predict([atoms])[0])
    assert model.screen() is None
    gate = UncertaintyGate(model, force_std=1e-9, action="record")
    gate.check(atoms)
    assert gate.last.force_std == model.force_std(atoms).max()
    assert clone(model).error_bars == "draws"


@pytest.mark.parametrize(
    ("settings", "frames"),
    [({"n_draws": 0}, TRAIN[:8]), ({"optimize": False}, TRAIN[:8]), ({}, TRAIN[:3])],
    ids=["none asked for", "not optimised", "too few structures"],
)
def test_models_without_say_so(settings, frames):
    model = estimator(n_inducing=10, **settings).fit(frames)
    assert model.fitted_.shared is None
    with pytest.raises(KernpotError, match="no shared draws"):
        model.predict_full(NEW[0], error_bars="draws")
    with pytest.raises(KernpotError, match="no shared draws"):
        by(model, "draws").force_std(NEW[0])


@pytest.mark.parametrize("bad", ["fast", None, 3])
def test_other_words_are_refused(gp, bad):
    with pytest.raises(KernpotError, match="error_bars must be one of 'exact', 'draws'"):
        estimator(error_bars=bad).fit(TRAIN)
    if bad is not None:
        with pytest.raises(KernpotError, match="error_bars must be one of"):
            gp.predict_full(NEW, error_bars=bad)


@pytest.mark.parametrize("bad", [-1, 1.5, "16"])
def test_numbers_of_draws_are_checked(bad):
    with pytest.raises(KernpotError, match="n_draws must be a whole number"):
        estimator(n_draws=bad).fit(TRAIN)


@pytest.mark.parametrize("kernel", [SOAPKernel(1), SOAPKernel(4)])
def test_every_power_has_them(kernel):
    """They are quadratic forms whatever the mean is."""
    model = estimator(kernel=kernel).fit(TRAIN)
    found = model.predict_full(NEW[0], error_bars="draws")[0]
    assert (found.forces.std > 0).all()
    np.testing.assert_allclose(found.forces.mean, model.predict_full(NEW[0])[0].forces.mean, rtol=1e-9, atol=1e-12)


def test_residuals_are_those_of_leave_one_out(gp):
    fitted = gp.fitted_
    kept = compress(list(fitted.training), fitted.maker, {3, 5, 11}).kept
    found = residuals_of(kept, fitted.posterior, fitted.noise)
    expected = leave_one_out(kept, fitted.posterior, fitted.noise, fitted.whitening.block, fitted.amplitudes)
    for k, structure in enumerate(kept):
        for kind in ("energy", "forces", "stress"):
            np.testing.assert_allclose(found[structure.place][kind], expected.residuals[kind][k], rtol=1e-9, atol=1e-12)


def test_operations_are_few_and_linear_in_the_number_of_atoms(gp):
    """No row against all inducing environments: K forms and, for every pair, three coefficients of each draw."""

    def operations(atoms: Atoms) -> int:
        n = torch.get_num_threads()
        torch.set_num_threads(1)
        with FlopCounterMode(display=False) as counter:
            gp.force_std(atoms, error_bars="draws")
        torch.set_num_threads(n)
        return int(counter.get_total_flops())

    one, four = crystals(1, seed=3)[0].repeat((2, 2, 2)), crystals(1, seed=3)[0].repeat((2, 2, 8))
    gp.force_std(one, error_bars="draws")  # what all answers rest on is made once
    d = gp.fitted_.shared.source.features[0].n_features
    # The forms, and the projection that keeps features of unit length.
    assert operations(one) == len(one) * gp.n_draws * (2 * d * d + 2 * d)
    assert operations(four) == 4 * operations(one)


def test_sampled_potentials_scatter_alike_and_are_potentials(gp):
    model, atoms = by(gp, "draws"), NEW[0].copy()
    draws = model.sample_potentials(400, random_state=1)
    found, mean = draws.evaluate(atoms), gp.mean(atoms)
    scatter_of_many = np.sqrt(((found.forces - mean.forces) ** 2).mean(0))
    expected = as_drawn(model).predict_full(atoms)[0].forces.epistemic_std
    np.testing.assert_allclose(scatter_of_many.mean(), expected.mean(), rtol=0.25)
    np.testing.assert_allclose(found.forces.mean(0), mean.forces, atol=4 * scatter_of_many.max() / 20)
    atoms.calc = draws[7].calculator()
    np.testing.assert_allclose(atoms.get_forces(), found.forces[7], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        model.sample_potentials(3, random_state=1).evaluate(atoms).forces, found.forces[:3], rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(draws.mean_potential.mean(atoms).forces, mean.forces, rtol=1e-9, atol=1e-10)
    step = 1e-4
    ends = []
    for sign in (1, -1):
        moved = NEW[0].copy()
        moved.positions[1, 0] += sign * step
        ends.append(draws[7].mean(moved).energy)
    assert found.forces[7, 1, 0] == pytest.approx(-(ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-6)


def test_sampled_potentials_are_whole_and_calibrated(gp):
    with pytest.raises(KernpotError, match="drawn whole and calibrated"):
        by(gp, "draws").sample_potentials(3, posterior="bayes")
    with pytest.raises(KernpotError, match="drawn whole and calibrated"):
        by(gp, "draws").sample_potentials(3, parts=("parameter",))
    with pytest.raises(KernpotError, match="n must be a positive number"):
        by(gp, "draws").sample_potentials(0)


@pytest.mark.filterwarnings("ignore:.*have no forces", "ignore:.*no structure has stress labels")
def test_forces_of_few_structures_do_not_keep_energies_from_draws():
    frames = [labelled(a, ("energy", "forces") if k % 4 == 0 else ("energy",)) for k, a in enumerate(crystals(12))]
    model = estimator().fit(frames)
    found = model.predict_full(NEW[0], error_bars="draws")[0]
    assert 0 < float(found.energy.std) < np.inf
    assert (found.forces.std > 0).all()


@pytest.mark.filterwarnings("ignore:.*inducing environments are used")
def test_they_come_to_know_the_environments_that_the_model_comes_to_know():
    """Else a gate would go on to stop where it has been taught."""
    slabs = [slab(seed) for seed in range(20)]
    model = estimator(n_inducing=200).fit(crystals(20))
    before = model.fitted_.shared.source.n_inducing
    model.update(slabs[:14])
    assert model.fitted_.shared.source.n_inducing > before
    stds = [
        np.sqrt(np.mean([model.force_std(a, error_bars=way) ** 2 for a in slabs[14:]])) for way in ("exact", "draws")
    ]
    assert 0.4 < stds[1] / stds[0] < 2.5


@pytest.mark.filterwarnings("ignore:.*inducing environments are used")
def test_who_asks_for_draws_hears_at_the_fit_that_there_are_none():
    with pytest.warns(KernpotWarning, match="no shared draws"):
        estimator(error_bars="draws").fit(TRAIN[:3])


@pytest.mark.parametrize(
    "wrong", [{"n": 10**6}, {"n": 0}, {"seed": -1}, {"scale": 0.5}, {"scale": 1e300}, {"growth": [2.0, 1.0]}]
)
def test_files_with_other_draws_are_refused(gp, wrong):
    header, tensors = gp.file_contents()
    header["shared"] = header["shared"] | wrong
    with pytest.raises(ModelFileError, match="shared"):
        SparseGPPotential.from_file_contents(header, tensors)
