"""Draws from the posterior: potentials in their own right, with the posterior's covariances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.optimize import BFGS
from numpy.typing import NDArray
from scipy.stats import chi2, kstest

from kernpot import SOAPKernel, SparseGPPotential, load
from kernpot.calibration.misfit import Misfit
from kernpot.errors import KernpotError, StructureError
from kernpot.functionals.rows import energy_rows
from kernpot.functionals.state import Structure
from kernpot.kernels import Power
from kernpot.kernels.forms import added
from kernpot.prediction import DrawPredictions
from kernpot.regression.factor import LabelFactor
from kernpot.surfaces.draws import Draws
from kernpot.surfaces.potentials import Potentials, Term, weighted
from tests.helpers.changed import changed
from tests.helpers.soaps import central_difference, displaced
from tests.helpers.systems import cluster, crystals, slab, soap

NOISE = {"energy": 0.01, "forces": 0.1, "stress": 0.01}
N = 600
# Bound on the excess kurtosis of draws for zeta = 3.
EXCESS = 0.16
BOTH = ("parameter", "unrepresented")


def fitted(zeta: int, n_components: int | None = None) -> SparseGPPotential:
    """Two elements, two descriptors, few inducing environments: both parts matter."""
    species = ["Cu", "Au"]
    kernels = [SOAPKernel(zeta, [29, 79], 1.5), SOAPKernel(2, [29, 79], 0.7)]
    return SparseGPPotential(
        [soap(species, n_max=2, l_max=2), soap(species, cutoff=3.2, n_max=2, l_max=1)],
        n_inducing=16,
        kernel=kernels,
        noise=NOISE,
        optimize=False,
        random_state=0,
        n_components=n_components,
    ).fit(crystals(3, symbols="Cu2Au2"))


@pytest.fixture(scope="module", params=[(1, None), (2, None), (3, None), (2, 5), (3, 5)], ids=str)
def gp(request: pytest.FixtureRequest) -> SparseGPPotential:
    return fitted(*request.param)


@pytest.fixture(scope="module")
def quadratic() -> SparseGPPotential:
    return fitted(2)


def crystal() -> Atoms:
    """Strained beyond the training structures: either part makes about half of the energy's variance."""
    return crystals(1, seed=3, symbols="Cu2Au2", strain=0.1)[0]


def joint(p: DrawPredictions) -> NDArray[np.float64]:
    """One row per draw: energy, forces, stress."""
    parts = [p.energies[:, None], p.forces.reshape(len(p), -1)]
    return np.concatenate(parts if p.stress is None else [*parts, p.stress], axis=1)


def require_moments(
    samples: NDArray[np.float64], mean: NDArray[np.float64], covariance: NDArray[np.float64], excess: float = 0.0
) -> None:
    """Mean and covariance of samples (n, k) are the given ones, and nothing moves that may not.

    Samples are seen along the principal axes of the correlations, where their moments are independent: sums of squares
    of deviations follow chi-square distributions whose means and variances are known.
    """
    scale = np.sqrt(covariance.diagonal())
    values, axes = np.linalg.eigh(covariance / np.outer(scale, scale))
    along = (samples - mean) / scale @ axes
    fixed = values < 1e-9
    assert np.abs(along[:, fixed]).max(initial=0.0) < 1e-3
    white = along[:, ~fixed] / np.sqrt(values[~fixed])
    n, k = white.shape
    assert n * (white.mean(0) ** 2).sum() < chi2(k).isf(1e-5)
    deviation = white.T @ white / n - np.eye(k)
    assert abs((deviation[np.triu_indices(k, 1)] ** 2).mean() * n - 1) < 5 * np.sqrt(4.0 / k**2) + excess
    assert abs(deviation.diagonal().mean()) < 5 * np.sqrt((2.0 / k + excess) / n)
    assert np.abs(deviation.diagonal()).max() < 4.5 * np.sqrt((2.0 + 3 * excess) / n)


def test_moments_are_those_of_the_prediction(gp: SparseGPPotential) -> None:
    draws = gp.sample_potentials(N, random_state=3, posterior="bayes")
    for atoms in (crystal(), cluster("CuAu2Cu"), slab()):  # periodic in three, no and two directions
        p = gp.predict_full([atoms], covariance=True)[0]
        assert p.covariance is not None
        parts = [np.atleast_1d(q.mean).ravel() for q in (p.energy, p.forces, p.stress) if q is not None]
        require_moments(joint(draws.evaluate(atoms)), np.concatenate(parts), p.covariance.epistemic, EXCESS)


def test_parts_add_up(quadratic: SparseGPPotential) -> None:
    gp, atoms = quadratic, crystal()
    row, _ = energy_rows(Structure(gp.fitted_.features, atoms), gp.fitted_.whitening.blocks)
    whitened = gp.fitted_.whitening(row)
    parameter = float(gp.fitted_.posterior.variance(whitened * gp.fitted_.posterior.scale)[0])
    whole = float(gp.predict_full([atoms])[0].energy.epistemic_std) ** 2
    assert 0.1 < parameter / whole < 0.9
    for part, expected in (("parameter", parameter), ("unrepresented", whole - parameter)):
        energies = gp.sample_potentials(2000, 0, (part,), "bayes").evaluate(atoms).energies
        error = np.sqrt(2 / 2000)
        assert np.mean((energies - gp.mean(atoms).energy) ** 2) / expected == pytest.approx(1.0, abs=5 * error)
    both, alone = (
        [gp.sample_potentials(3, 0, parts, "bayes").evaluate(atoms).energies - gp.mean(atoms).energy for parts in which]
        for which in ([BOTH], [("parameter",), ("unrepresented",)])
    )
    np.testing.assert_allclose(both[0], sum(alone), rtol=1e-6)


@pytest.mark.parametrize(("part", "scale"), [("parameter", 3.0), ("unrepresented", 1.0)])
def test_calibrated_draws_are_scaled_ones(part: Any, scale: float) -> None:
    misfit = {kind: Misfit(0.01, factor=8**0.5) for kind in ("energy", "forces", "stress")}
    gp, atoms = changed(fitted(2), misfit=misfit), crystal()
    assert gp.draw_scale_ == pytest.approx(3.0)
    bayes, calibrated = (
        gp.sample_potentials(4, 0, (part,), posterior).evaluate(atoms).forces - gp.mean(atoms).forces
        for posterior in ("bayes", "calibrated")
    )
    np.testing.assert_allclose(calibrated, scale * bayes, atol=1e-7 * np.abs(calibrated).max())


def test_draws_are_the_same_functions_for_every_structure(gp: SparseGPPotential) -> None:
    """Joint covariance of the energies of two structures, from rows and the kernel between their environments."""
    pair = [cluster("CuAu2Cu"), cluster("CuAu2Cu", seed=4)]
    structures = [Structure(gp.fitted_.features, a) for a in pair]
    blocks, amplitudes = gp.fitted_.whitening.blocks, gp.fitted_.amplitudes
    rows = gp.fitted_.whitening(torch.cat([energy_rows(s, blocks)[0] for s in structures]))
    covariance = gp.fitted_.posterior.covariance(rows * gp.fitted_.posterior.scale)
    for b, block in enumerate(blocks):
        u = [s.described[block.descriptor].unit[s.members(block)] for s in structures]
        prior = torch.tensor(
            [[float(((x @ y.T) ** block.function.power).sum()) for y in u] for x in u], dtype=torch.float64
        )
        part = rows[:, block.columns]
        covariance += amplitudes[b] ** 2 * (prior - part @ part.T)
    correlation = float(covariance[0, 1] / (covariance[0, 0] * covariance[1, 1]).sqrt())
    assert abs(correlation) > 0.1
    draws = gp.sample_potentials(N, 5, posterior="bayes")
    energies = np.stack([draws.evaluate(a).energies for a in pair], axis=1)
    require_moments(energies, np.array([gp.mean(a).energy for a in pair]), covariance.numpy(), EXCESS)


def test_forces_and_stress_are_derivatives_of_the_energy(gp: SparseGPPotential) -> None:
    draw = gp.sample_potentials(2, 1)[1]
    atoms = crystal()
    rng = np.random.default_rng(0)
    move = rng.normal(size=(len(atoms), 3))
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T
    found = draw.mean(atoms)
    assert found.stress is not None
    along = central_difference(lambda t: np.array(draw.mean(displaced(atoms, t * move)).energy))
    assert -(found.forces * move).sum() == pytest.approx(float(along), rel=1e-6)
    along = central_difference(lambda t: np.array(draw.mean(displaced(atoms, strain=t * strain)).energy))
    voigt = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * np.array([1, 1, 1, 2, 2, 2])
    assert atoms.get_volume() * (found.stress @ voigt) == pytest.approx(float(along), rel=1e-6)
    assert found.energies.sum() == pytest.approx(found.energy)


def test_symmetries(gp: SparseGPPotential) -> None:
    draws = gp.sample_potentials(8, 1)
    atoms = crystal()
    p = draws.evaluate(atoms)
    doubled = draws.evaluate(atoms.repeat((2, 1, 1)))
    np.testing.assert_allclose(doubled.energies, 2 * p.energies, rtol=1e-9)
    np.testing.assert_allclose(doubled.forces[:, len(atoms) :], p.forces, atol=1e-7 * np.abs(p.forces).max())
    np.testing.assert_allclose(doubled.stress, p.stress, atol=1e-7 * np.abs(p.stress).max())
    turned = atoms.copy()
    turned.rotate(77, (1, 2, 3), rotate_cell=True)
    q = draws.evaluate(turned)
    rotation = np.linalg.lstsq(atoms.cell.array, turned.cell.array, rcond=None)[0]
    np.testing.assert_allclose(q.energies, p.energies, rtol=1e-8)
    np.testing.assert_allclose(q.forces, p.forces @ rotation, atol=1e-7 * np.abs(p.forces).max())
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(draws.evaluate(atoms[order]).forces, p.forces[:, order], atol=1e-8)


def test_seeds(quadratic: SparseGPPotential) -> None:
    atoms = crystal()
    first, again, more, other = (
        joint(quadratic.sample_potentials(n, seed).evaluate(atoms)) for n, seed in ((8, 0), (8, 0), (11, 0), (8, 1))
    )
    assert np.array_equal(first, again)
    np.testing.assert_allclose(more[:8], first, rtol=1e-9, atol=1e-9)
    assert np.abs(other - first).min() > 0


def test_a_draw_alone_is_the_draw_among_others(gp: SparseGPPotential) -> None:
    draws, atoms = gp.sample_potentials(7, 2), crystal()
    together = draws.evaluate(atoms)
    assert len(draws) == len(list(draws)) == len(together) == 7
    for k in (0, 3, -1):
        alone, among = draws[k].mean(atoms), together[k]
        for name in ("energy", "energies", "forces", "stress"):
            np.testing.assert_allclose(getattr(alone, name), getattr(among, name), rtol=1e-8, atol=1e-8)
    part = draws[2:5]
    assert isinstance(part, Draws)
    np.testing.assert_allclose(part.evaluate(atoms).forces, together.forces[2:5], atol=1e-8)
    with pytest.raises(IndexError):
        draws[7]
    np.testing.assert_allclose(draws.mean_potential.mean(atoms).forces, gp.mean(atoms).forces)


def test_draws_outlive_changes_of_the_potential() -> None:
    gp, atoms = fitted(2), crystal()
    draws = gp.sample_potentials(2, 0)
    before = draws.evaluate(atoms).energies, draws.mean_potential.mean(atoms).energy
    gp.partial_fit(crystals(2, seed=9, symbols="Cu2Au2"))
    assert np.array_equal(draws.evaluate(atoms).energies, before[0])
    assert draws.mean_potential.mean(atoms).energy == before[1] != gp.mean(atoms).energy


def test_draws_of_a_loaded_model_are_those_of_the_saved_one(quadratic: SparseGPPotential, tmp_path: Any) -> None:
    quadratic.save(tmp_path / "model.kernpot")
    again: Any = load(tmp_path / "model.kernpot")
    for posterior in ("bayes", "calibrated", "pops"):
        a, b = (g.sample_potentials(2, 0, posterior=posterior).evaluate(crystal()).energies for g in (quadratic, again))
        np.testing.assert_allclose(a, b, rtol=1e-7)


def test_calculator(quadratic: SparseGPPotential) -> None:
    draws, atoms = quadratic.sample_potentials(2, 0, posterior="bayes"), crystal()
    expected = draws.evaluate(atoms)
    atoms.calc = draws[1].calculator()
    assert atoms.get_potential_energy() == pytest.approx(expected.energies[1])
    np.testing.assert_allclose(atoms.get_forces(), expected.forces[1], atol=1e-8)
    np.testing.assert_allclose(atoms.get_stress(), expected.stress[1], atol=1e-8)
    with pytest.raises(KernpotError, match="no error bars"):
        _ = atoms.calc.prediction
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=3)
    assert atoms.get_potential_energy() < expected.energies[1]
    mean = crystal()
    mean.calc = draws.mean_potential.calculator()
    assert mean.get_potential_energy() == pytest.approx(quadratic.mean(mean).energy)


def test_pairs_may_be_given(quadratic: SparseGPPotential) -> None:
    draws, atoms = quadratic.sample_potentials(2, 0), crystal()
    pairs = max(quadratic.fitted_.features, key=lambda f: f.cutoff).pairs(atoms)
    np.testing.assert_allclose(draws.evaluate(atoms, pairs).forces, draws.evaluate(atoms).forces, atol=1e-9)


def test_unknown_environments_get_the_prior() -> None:
    """Where nothing was learnt the spread of draws is the amplitude."""
    gp = fitted(2)
    atoms = Atoms("CuAu", [[0, 0, 0], [1.1, 0, 0]])
    spread = gp.sample_potentials(500, 0, posterior="bayes").evaluate(atoms).atomic_energies.std(0)
    expected = gp.predict_full([atoms])[0].energies.epistemic_std
    np.testing.assert_allclose(spread, expected, rtol=0.15)
    assert (expected > 0.8).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 0},
        {"n": 2.0},
        {"n": 2, "parts": ()},
        {"n": 2, "parts": "parameter"},
        {"n": 2, "parts": ("misfit",)},
        {"n": 2, "posterior": "variational"},
    ],
    ids=str,
)
def test_bad_arguments(quadratic: SparseGPPotential, arguments: dict[str, Any]) -> None:
    with pytest.raises(KernpotError, match="must be"):
        quadratic.sample_potentials(**arguments)


def test_bad_structures(quadratic: SparseGPPotential) -> None:
    draws = quadratic.sample_potentials(1, 0)
    for ask in (draws.evaluate, draws[0].mean):
        with pytest.raises(StructureError, match="were not in the fit"):
            ask(Atoms("Ag"))


def simulated_ranks(zeta: int, repeats: int, n_draws: int) -> NDArray[np.int64]:
    """Ranks of true energies and forces among draws, the truth being a draw from the prior (Talts et al. 2018).

    Labels are energies and every environment of the training structures is inducing, where the sparse posterior is that
    of the full process.
    """
    frames = [*crystals(3, seed=1, kinds=["energy"]), cluster()]
    new = crystals(1, seed=11)[0]
    settings = {
        "descriptor": soap(n_max=2, l_max=2),
        "kernel": SOAPKernel(zeta, [29], 2.0),
        "noise": {"energy": 0.05},
        "optimize": False,
        "inducing": frames,
        "isolated_atoms": {"Cu": -1.0},
    }
    rng = np.random.default_rng(zeta)
    gp = SparseGPPotential(**settings).fit(frames)
    block = gp.fitted_.whitening.blocks[0]
    made = [next(gp.fitted_.maker(known, Structure(gp.fitted_.features, known.atoms))) for known in gp.fitted_.training]
    nothing = torch.zeros((1, len(block.environments)), dtype=torch.float64)
    ranks = []
    for repeat in range(repeats):
        prior = Power(zeta).draw(gp.fitted_.features[0].n_features, torch.Generator().manual_seed(repeat))
        truth = Potentials(
            gp.fitted_.features, [Term(0, 29, added(weighted(block, nothing), prior, 2.0))], {29: -1.0}, 1
        )
        # As a fit to new energies would do, which would make the rows anew.
        factor = LabelFactor.empty(gp.n_inducing_, 1)
        for part, atoms in zip(made, frames, strict=True):
            energy = truth(atoms).energies.sum() / len(atoms) + 1.0 + 0.05 * rng.normal()
            factor.add(part.rows, torch.tensor([energy]), part.prior)
        again = changed(gp, factors={"energy": factor})
        drawn = joint(again.sample_potentials(n_draws, rng.integers(2**31), posterior="bayes").evaluate(new))
        ranks.append((drawn < joint(truth(new))).sum(0))
    return np.array(ranks)


@pytest.mark.filterwarnings("ignore:.*misfit is unknown", "ignore:.*of 4 structures")
@pytest.mark.parametrize("zeta", [2, *(pytest.param(zeta, marks=pytest.mark.slow) for zeta in (1, 3))])
def test_truths_from_the_prior_rank_uniformly_among_draws(zeta: int) -> None:
    n_draws = 19
    ranks = simulated_ranks(zeta, 200, n_draws)
    for column in range(ranks.shape[1]):
        counts = np.bincount(ranks[:, column], minlength=n_draws + 1).reshape(5, -1).sum(1)
        statistic = ((counts - len(ranks) / 5) ** 2 / (len(ranks) / 5)).sum()
        assert statistic < chi2(4).isf(1e-4), (column, counts)
    jitter = np.random.default_rng(0).uniform(size=len(ranks))
    assert kstest((ranks[:, 0] + jitter) / (n_draws + 1), "uniform").pvalue > 1e-3
    assert kstest((ranks[:, 1] + jitter) / (n_draws + 1), "uniform").pvalue > 1e-3
