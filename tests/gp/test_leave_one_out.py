"""Leave-one-out of whole structures, the weight of energies, and the misfit fitted to what it finds."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from kernpot.gp.factor import LabelFactor
from kernpot.gp.leave_one_out import (
    MIN_STRUCTURES,
    KeptRows,
    LabelRows,
    balance_energies,
    choose_kept,
    leave_one_out,
)
from kernpot.gp.misfit import Misfit, fit_misfit
from kernpot.gp.posterior import Posterior
from kernpot.structures.labels import label_structures

M = 12


class NoSurroundings:
    """Stands for `Surroundings`: the average is the label's own variance."""

    def pool(self, own):
        return own


def synthetic(rng, n_structures=20, energy_noise=0.01, force_noise=0.3, shared=0.0):
    """Rows and labels drawn from a linear model; `shared` adds an error common to a structure's forces."""
    truth = torch.from_numpy(rng.normal(size=M))
    factors = {g: LabelFactor.empty(M, 1) for g in ("energy", "forces")}
    kept = []
    for _ in range(n_structures):
        parts = []
        for group, n, sigma in (("energy", 1, energy_noise), ("forces", 9, force_noise)):
            rows = torch.from_numpy(rng.normal(size=(n, M)))
            error = torch.from_numpy(rng.normal(size=n)) * sigma
            if group == "forces":
                error = error + rows @ torch.from_numpy(rng.normal(size=M)) * shared
            prior = rows.square().sum(1, keepdim=True) + 0.1
            part = LabelRows(group, rows, rows @ truth + error, prior)
            factors[group].add(part.rows, part.targets, part.prior)
            parts.append(part)
        kept.append(KeptRows(parts, NoSurroundings()))
    return factors, kept


BLOCK, AMPLITUDE = torch.zeros(M, dtype=torch.int64), torch.ones(1, dtype=torch.float64)


def test_equals_a_fit_without_the_structure(rng):
    _, kept = synthetic(rng, n_structures=6)
    noise = {"energy": 0.02, "forces": 0.3}

    def posterior_of(structures):
        factors = {g: LabelFactor.empty(M, 1) for g in noise}
        for structure in structures:
            for part in structure.parts:
                factors[part.group].add(part.rows, part.targets, part.prior)
        return Posterior(factors, BLOCK, noise, AMPLITUDE)

    out = leave_one_out(kept, posterior_of(kept), noise, BLOCK, AMPLITUDE)
    for k, structure in enumerate(kept):
        without = posterior_of(kept[:k] + kept[k + 1 :])
        for part in structure.parts:
            expected = part.targets - without.mean(part.rows)
            np.testing.assert_allclose(out.residuals[part.kind][k], expected, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(out.own[part.kind][k], without.variance(part.rows), rtol=1e-7)
            np.testing.assert_allclose(out.unrepresented[part.kind][k], 0.1, rtol=1e-8)


def test_energies_get_more_weight_when_the_errors_of_forces_are_shared(rng):
    factors, kept = synthetic(rng, n_structures=40, shared=0.5)
    noise = {"energy": 5.0, "forces": 0.3}
    balanced = balance_energies(kept, factors, BLOCK, noise, set(), AMPLITUDE)
    assert balanced["forces"] == noise["forces"]
    assert balanced["energy"] < 0.5 * noise["energy"]

    def score(levels):
        return leave_one_out(kept, Posterior(factors, BLOCK, levels, AMPLITUDE), levels, BLOCK, AMPLITUDE).score()

    assert score(balanced) < score(noise)


def test_fixed_energies_and_few_structures_are_left_alone(rng):
    factors, kept = synthetic(rng)
    noise = {"energy": 5.0, "forces": 0.3}
    assert balance_energies(kept, factors, BLOCK, noise, {"energy"}, AMPLITUDE) == noise
    assert balance_energies(kept[: MIN_STRUCTURES - 1], factors, BLOCK, noise, set(), AMPLITUDE) == noise


def test_isolated_atoms_are_never_kept():
    from ase import Atoms
    from ase.build import molecule
    from ase.calculators.singlepoint import SinglePointCalculator

    frames = [Atoms("H"), Atoms("O"), *(molecule("H2O") for _ in range(8))]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * len(atoms))
    kept = choose_kept(label_structures(frames), np.random.RandomState(0))
    assert kept == set(range(2, 10))


def test_kept_structures_keep_the_proportions_of_config_types_and_the_memory_bound(monkeypatch):
    from ase.build import molecule
    from ase.calculators.singlepoint import SinglePointCalculator

    frames = []
    for k in range(40):
        atoms = molecule("H2O")
        atoms.info["config_type"] = "rare" if k % 4 == 0 else "common"
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=np.zeros((3, 3)))
        frames.append(atoms)
    labelled = label_structures(frames)
    monkeypatch.setattr("kernpot.gp.leave_one_out._MAX_ROWS", 20 * 10)
    kept = choose_kept(labelled, np.random.RandomState(0))
    assert len(kept) == 20
    assert sum(labelled[k].config_type == "rare" for k in kept) == 5


@pytest.mark.parametrize(("constant", "factor"), [(0.2, 0.0), (1e-3, 12.0), (0.1, 6.0)])
def test_misfit_finds_what_residuals_were_drawn_from(rng, constant, factor):
    own = [np.exp(rng.normal(size=60)) * 1e-4 * rng.choice([0.1, 1.0, 10.0]) for _ in range(80)]
    pooled = [np.full_like(v, v.mean()) for v in own]
    missing = [1e-6 * np.ones_like(v) for v in own]
    total = [constant**2 + factor**2 * 0.5 * (v + p) + v + k for v, p, k in zip(own, pooled, missing, strict=True)]
    found = fit_misfit([rng.normal(size=len(t)) * np.sqrt(t) for t in total], own, pooled, missing)
    v = torch.tensor([1e-5, 1e-4, 1e-3], dtype=torch.float64)
    expected = Misfit(constant, factor).variance(v, v)
    np.testing.assert_allclose(found.variance(v, v), expected, rtol=0.15)


def test_components_that_vanish_by_symmetry_do_not_count(rng):
    own = [np.full(30, 1e-4) for _ in range(20)]
    residuals = [rng.normal(size=30) * 0.1 for _ in range(20)]
    missing = [np.zeros(30) for _ in range(20)]
    plain = fit_misfit(residuals, own, own, missing)
    padded = [np.concatenate([v, np.zeros(60)]) for v in own]
    zeros = [np.concatenate([r, np.zeros(60)]) for r in residuals]
    pool = [np.full(90, 1e-4) for _ in own]
    none = [np.zeros(90) for _ in own]
    found = fit_misfit(zeros, padded, pool, none)
    v = torch.tensor([1e-4], dtype=torch.float64)
    assert float(found.variance(v, v)) == pytest.approx(float(plain.variance(v, v)), rel=1e-3)


def test_variance_zero_everywhere_leaves_a_constant():
    zero = [np.zeros(4)] * 3
    found = fit_misfit([np.full(4, 0.2)] * 3, zero, zero, zero)
    assert (found.constant, found.factor) == (pytest.approx(0.2), 0.0)


def test_balance_finds_what_posteriors_made_anew_would_find(rng):
    factors, kept = synthetic(rng, n_structures=15, shared=0.5)
    noise = {"energy": 0.5, "forces": 0.3}

    def score(log_factor):
        levels = noise | {"energy": 0.5 * np.exp(log_factor)}
        return leave_one_out(kept, Posterior(factors, BLOCK, levels, AMPLITUDE), levels, BLOCK, AMPLITUDE).score()

    bounds = (np.log(1e-4 / 0.5), np.log(3.0))
    options = {"xatol": 0.1, "maxiter": 12}
    expected = minimize_scalar(score, bounds=bounds, method="bounded", options=options).x
    found = balance_energies(kept, factors, BLOCK, noise, set(), AMPLITUDE)
    assert found["energy"] == pytest.approx(0.5 * np.exp(expected), rel=1e-6)
