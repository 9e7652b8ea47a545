"""Means, covariances, draws and the std of the energy, by hand from the members."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot import NNPEnsemble
from kernpot.calibration.surroundings import Surroundings
from kernpot.errors import KernpotError
from kernpot.prediction import DrawPredictions
from kernpot.structures.neighbours import find_pairs
from tests.helpers.changed import changed
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals, slab, soap
from tests.nnp.small import estimator

FRAMES = [*crystals(8, symbols="Cu3Au"), slab(), cluster("Cu3Au")]
NEW: dict[str, Callable[[], Atoms]] = {
    "crystal": lambda: crystals(1, 9, symbols="Cu2Au2")[0],
    "slab": lambda: slab(4),
    "cluster": lambda: cluster("Cu2Au2", 5),
    "atom": lambda: Atoms("Au"),
}


@pytest.fixture(scope="module", params=["ensemble", "shallow"])
def nnp(request: pytest.FixtureRequest) -> NNPEnsemble:
    return estimator("Cu", "Au", uncertainty=request.param, n_members=4, max_epochs=30).fit(FRAMES)


@pytest.fixture(params=NEW)
def atoms(request: pytest.FixtureRequest) -> Atoms:
    return NEW[request.param]()


def members(nnp: NNPEnsemble, atoms: Atoms) -> DrawPredictions:
    return nnp.sample_potentials(4, posterior="members").evaluate(atoms)


def flat(found: DrawPredictions) -> np.ndarray:
    """Energies, forces and stress (K, n)."""
    parts = [found.energies[:, None], found.forces.reshape(len(found), -1)]
    return np.concatenate([*parts, *([] if found.stress is None else [found.stress])], axis=1)


def test_mean_is_the_members_average(nnp: NNPEnsemble, atoms: Atoms) -> None:
    found, (p,), fast = members(nnp, atoms), nnp.predict_full(atoms), nnp.mean(atoms)
    for mean in (p.mean, fast):
        assert mean.energy == pytest.approx(found.energies.mean(), rel=1e-12)
        np.testing.assert_allclose(mean.energies, found.atomic_energies.mean(0), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(mean.forces, found.forces.mean(0), rtol=1e-9, atol=1e-12)
        if found.stress is None:
            assert mean.stress is None
        else:
            np.testing.assert_allclose(mean.stress, found.stress.mean(0), rtol=1e-9, atol=1e-13)
    assert nnp.predict(atoms)[0] == pytest.approx(found.energies.mean(), rel=1e-12)


def test_epistemic_stds_are_the_members_own(nnp: NNPEnsemble, atoms: Atoms) -> None:
    """With one over K - 1: unbiased."""
    found, (p,) = members(nnp, atoms), nnp.predict_full(atoms)
    for quantity, values in (
        (p.energy, found.energies),
        (p.energies, found.atomic_energies),
        (p.forces, found.forces),
        (p.stress, found.stress),
    ):
        if quantity is not None:
            np.testing.assert_allclose(quantity.epistemic_std, values.std(0, ddof=1), rtol=1e-7, atol=1e-10)
            assert (quantity.std >= quantity.epistemic_std).all()
    assert float(p.energy.epistemic_std) > 0


def test_joint_covariance_is_the_members_own(nnp: NNPEnsemble, atoms: Atoms) -> None:
    (p,) = nnp.predict_full(atoms, covariance=True)
    expected = np.cov(flat(members(nnp, atoms)).T)
    assert p.covariance is not None
    np.testing.assert_allclose(p.covariance.epistemic, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())
    parts = [p.energy.std.ravel(), p.forces.std.ravel(), *([] if p.stress is None else [p.stress.std])]
    np.testing.assert_allclose(np.sqrt(np.diag(p.covariance.total)), np.concatenate(parts), rtol=1e-7)
    assert np.linalg.eigvalsh(p.covariance.total).min() > -1e-9 * np.abs(expected).max()


def test_variances_that_misfit_is_made_of(nnp: NNPEnsemble, atoms: Atoms) -> None:
    labels = nnp.fitted_.predictor.labels(atoms, ["energy", "forces", "stress"])
    found, variances = members(nnp, atoms), {kind: parts for kind, (_, parts) in labels.items()}
    n = len(atoms)
    assert float(variances["energy"].parameter[0]) == pytest.approx(found.energies.var(ddof=1) / n**2, rel=1e-8)
    own = found.forces.var(0, ddof=1)
    np.testing.assert_allclose(variances["forces"].parameter, own.ravel(), rtol=1e-7, atol=1e-14)
    pairs = find_pairs(atoms, nnp.cutoff)
    around = Surroundings(
        n, *(torch.from_numpy(a) for a in (pairs.centres, pairs.neighbours, pairs.vectors)), nnp.cutoff
    )
    np.testing.assert_allclose(
        variances["forces"].pooled, around.pool(torch.from_numpy(own.ravel())), rtol=1e-7, atol=1e-14
    )
    reach = nnp.misfit_["energy"].reach
    assert reach > 0
    assert float(variances["energy"].pooled[0]) == pytest.approx(reach**2 * own.mean(), rel=1e-7, abs=1e-14)
    assert not any(bool(v.unrepresented.any()) for v in variances.values())
    assert ("stress" in variances) == bool(atoms.pbc.all())


# ------------------------------------------------------------------ the std of the energy


def test_energy_std_is_that_of_calibrated_draws(nnp: NNPEnsemble, atoms: Atoms) -> None:
    std = members(nnp, atoms).energies.std(ddof=1)
    assert nnp.energy_std(atoms).std == pytest.approx(np.hypot(1e-3, nnp.draw_scale_ * std), rel=1e-8)


@pytest.mark.parametrize("name", ["crystal", "slab", "cluster"])
def test_energy_std_by_finite_differences(nnp: NNPEnsemble, name: str) -> None:
    atoms, rng = NEW[name](), np.random.default_rng(0)
    found = nnp.energy_std(atoms)
    pairs = find_pairs(atoms, nnp.cutoff)
    assert nnp.energy_std(atoms, pairs).std == found.std
    for _ in range(3):
        move = rng.normal(size=(len(atoms), 3))
        slope = central_difference(lambda t, u=move: np.array(nnp.energy_std(displaced(atoms, t * u)).std))
        assert float(np.sum(found.gradient * move)) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)
    if not atoms.pbc.all():
        assert found.stress is None
        return
    for voigt, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        slope = central_difference(lambda t, e=strain: np.array(nnp.energy_std(displaced(atoms, strain=t * e)).std))
        assert found.stress is not None
        assert float(found.stress[voigt]) == pytest.approx(float(slope) / atoms.get_volume(), rel=1e-5, abs=1e-8)


def test_energy_std_of_the_last_layer_by_finite_differences() -> None:
    nnp = estimator("Cu", "Au", uncertainty="last_layer").fit(FRAMES)
    atoms, rng = NEW["crystal"](), np.random.default_rng(0)
    found, (p,) = nnp.energy_std(atoms), nnp.predict_full(atoms)
    assert found.std == pytest.approx(np.hypot(1e-3, nnp.draw_scale_ * float(p.energy.epistemic_std)), rel=1e-7)
    move = rng.normal(size=(len(atoms), 3))
    slope = central_difference(lambda t: np.array(nnp.energy_std(displaced(atoms, t * move)).std))
    assert float(np.sum(found.gradient * move)) == pytest.approx(float(slope), rel=1e-5, abs=1e-7)


def test_energy_std_where_members_agree() -> None:
    """Copies of one member: a millielectronvolt, and no derivative that is not a number."""
    nnp = estimator().fit(crystals(6, 1))
    for net in nnp.fitted_.trained.networks.values():
        for t in net.tensors:
            t[:] = t[:1]
    nnp = changed(nnp)
    found = nnp.energy_std(crystals(1, 9)[0])
    assert found.std == pytest.approx(1e-3, rel=1e-9)
    np.testing.assert_allclose(found.gradient, 0.0, atol=1e-9)
    (p,) = nnp.predict_full(crystals(1, 9)[0])
    assert np.isfinite(p.forces.std).all() and float(p.forces.epistemic_std.max()) < 1e-9


# ------------------------------------------------------------------ draws


@pytest.mark.parametrize("posterior", ["bayes", "calibrated"])
def test_draws_have_the_mean_and_the_covariance_of_the_members(nnp: NNPEnsemble, posterior: str) -> None:
    atoms, n = NEW["crystal"](), 6000
    scale = nnp.draw_scale_ if posterior == "calibrated" else 1.0
    found = flat(nnp.sample_potentials(n, random_state=1, posterior=posterior).evaluate(atoms))
    expected = scale**2 * np.cov(flat(members(nnp, atoms)).T)
    std = np.sqrt(np.diag(expected))
    assert float(np.abs((found.mean(0) - flat(members(nnp, atoms)).mean(0)) / std).max()) < 4.5 / np.sqrt(n)
    difference = (np.cov(found.T) - expected) / np.outer(std, std)
    assert float(np.abs(difference).max()) < 0.12


def test_draws_are_combinations_whose_weights_sum_to_one(nnp: NNPEnsemble) -> None:
    """So isolated atoms keep their share, and structures share each combination."""
    draws = nnp.sample_potentials(3, random_state=0)
    one, two = NEW["crystal"](), NEW["cluster"]()
    a, b = (np.column_stack([flat(members(nnp, x)).T, flat(draws.evaluate(x)).T]) for x in (one, two))
    both = np.concatenate([a, b])
    for k in range(3):
        weights, _, rank, _ = np.linalg.lstsq(both[:, :4], both[:, 4 + k], rcond=1e-12)
        np.testing.assert_allclose(both[:, :4] @ weights, both[:, 4 + k], atol=1e-8)
        assert rank == 4 and weights.sum() == pytest.approx(1.0, abs=1e-6)


def test_draws_are_single_potentials(nnp: NNPEnsemble, atoms: Atoms) -> None:
    for posterior in ("members", "calibrated"):
        draws = nnp.sample_potentials(4, random_state=0, posterior=posterior)
        assert len(draws) == 4
        together = draws.evaluate(atoms)
        for k in range(4):
            alone = draws[k].mean(atoms)
            assert alone.energy == pytest.approx(together.energies[k], rel=1e-11)
            np.testing.assert_allclose(alone.forces, together.forces[k], rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(draws[1:3].evaluate(atoms).energies, together.energies[1:3], rtol=1e-11)
        assert draws.mean_potential.mean(atoms).energy == pytest.approx(nnp.mean(atoms).energy, rel=1e-12)


def test_first_draws_of_many_are_those_of_few(nnp: NNPEnsemble) -> None:
    atoms = NEW["crystal"]()
    few, many, other = (
        nnp.sample_potentials(n, random_state=seed).evaluate(atoms).energies for n, seed in ((2, 0), (7, 0), (2, 1))
    )
    np.testing.assert_allclose(many[:2], few, rtol=1e-12)
    assert np.abs(other - few).min() > 1e-9


def test_first_members(nnp: NNPEnsemble) -> None:
    atoms = NEW["crystal"]()
    some = nnp.sample_potentials(2, posterior="members").evaluate(atoms)
    np.testing.assert_allclose(some.energies, members(nnp, atoms).energies[:2], rtol=1e-12)


def test_draw_as_calculator(nnp: NNPEnsemble) -> None:
    atoms = NEW["cluster"]()
    draw = nnp.sample_potentials(2, random_state=0)[1]
    atoms.calc = draw.calculator()
    np.testing.assert_allclose(atoms.get_forces(), draw.mean(atoms).forces, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "3", None])
def test_number_of_draws_is_checked(nnp: NNPEnsemble, n: object) -> None:
    with pytest.raises(KernpotError, match="n must be a positive number of draws"):
        nnp.sample_potentials(n)  # type: ignore[arg-type]


def test_draws_that_there_are_not(nnp: NNPEnsemble) -> None:
    with pytest.raises(KernpotError, match="posterior must be 'calibrated', 'bayes' or 'members', got 'pops'"):
        nnp.sample_potentials(2, posterior="pops")  # type: ignore[arg-type]
    with pytest.raises(KernpotError, match=r"expected n of at most 4.*got 5; posterior='bayes' draws any number"):
        nnp.sample_potentials(5, posterior="members")


def test_two_members_are_enough() -> None:
    nnp = estimator(n_members=2, descriptor=soap()).fit(crystals(6, 1))
    atoms = crystals(1, 9)[0]
    a, b = nnp.sample_potentials(2, posterior="members").evaluate(atoms).energies
    assert float(nnp.predict_full(atoms)[0].energy.epistemic_std) == pytest.approx(abs(a - b) / np.sqrt(2), rel=1e-8)
