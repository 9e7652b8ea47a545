"""Leave-one-out of whole structures, the weight of energies, and the misfit fitted to what it finds."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from kernpot.calibration.misfit import LabelVariances, Misfit, draw_scale, fit_misfit, misfit_variance
from kernpot.calibration.residuals import MIN_STRUCTURES, LeaveOneOut
from kernpot.gp.learning.leave_one_out import balance_energies, choose_kept, leave_one_out
from kernpot.gp.rows.maker import KeptRows, LabelRows
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure, label_structures, n_labels

M = 12


class NoSurroundings:
    """Stands for `Surroundings`: the average is the label's own variance."""

    def pool(self, own):
        return own


def synthetic(rng, n_structures=20, energy_noise=0.01, force_noise=0.3, shared=0.0, n_forces=9):
    """Rows and labels drawn from a linear model; `shared` adds an error common to a structure's forces."""
    truth = torch.from_numpy(rng.normal(size=M))
    factors = {g: LabelFactor.empty(M, 1) for g in ("energy", "forces")}
    kept = []
    for _ in range(n_structures):
        parts = []
        for group, n, sigma in (("energy", 1, energy_noise), ("forces", n_forces, force_noise)):
            rows = torch.from_numpy(rng.normal(size=(n, M)))
            error = torch.from_numpy(rng.normal(size=n)) * sigma
            if group == "forces":
                error = error + rows @ torch.from_numpy(rng.normal(size=M)) * shared
            prior = rows.square().sum(1, keepdim=True) + 0.1
            part = LabelRows(group, rows, rows @ truth + error, prior, torch.arange(n))
            factors[group].add(part.rows, part.targets, part.prior)
            parts.append(part)
        kept.append(KeptRows(parts, NoSurroundings(), {"energy": 1, "forces": n_forces}))
    return factors, kept


BLOCK, AMPLITUDE = torch.zeros(M, dtype=torch.int64), torch.ones(1, dtype=torch.float64)


@pytest.mark.parametrize("n_forces", [9, 30])  # fewer labels than inducing environments, and more
def test_equals_a_fit_without_the_structure(rng, n_forces):
    _, kept = synthetic(rng, n_structures=6, n_forces=n_forces)
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
    kept = choose_kept(label_structures(frames), np.random.RandomState(0), M)
    assert sorted(kept) == list(range(2, 10))


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
    monkeypatch.setattr("kernpot.gp.learning.leave_one_out.most_kept_rows", lambda _: 20 * 10)
    kept = choose_kept(labelled, np.random.RandomState(0), M)
    assert len(kept) == 20
    assert sum(labelled[k].config_type == "rare" for k in kept) == 5


def test_several_cells_of_five_thousand_atoms_are_kept():
    from ase import Atoms

    n = 5000
    cell = LabelledStructure(Atoms(f"Cu{n}"), -1.0 * n, np.zeros((n, 3)), np.zeros(6), "", "structures[0]", {})
    kept = choose_kept([cell] * 10, np.random.RandomState(0), 1000)
    assert len(kept) >= MIN_STRUCTURES
    assert len(kept) * n_labels(cell) * 1000 * 8 <= 1e9


def total(misfit, v, k=0.0):
    v = torch.as_tensor(v, dtype=torch.float64).reshape(-1)
    k = torch.full_like(v, k)
    return (v + k + misfit_variance(misfit, LabelVariances(v, v, k))[0]).numpy()


@pytest.mark.parametrize(("constant", "factor"), [(0.2, 0.0), (0.0, 12.0), (0.1, 6.0)])
@pytest.mark.parametrize("nu", [np.inf, 5.0])
def test_misfit_finds_what_residuals_were_drawn_from(rng, constant, factor, nu):
    own = [np.exp(rng.normal(size=30)) * 1e-4 * rng.choice([0.01, 1.0, 100.0]) for _ in range(300)]
    pooled = [np.full_like(v, v.mean()) for v in own]
    drawn = rng.standard_normal if nu == np.inf else lambda n: rng.standard_t(nu, n) * np.sqrt((nu - 2) / nu)
    residuals = [
        drawn(len(v)) * np.sqrt(constant**2 + factor**2 * 0.5 * (v + p) + v) for v, p in zip(own, pooled, strict=True)
    ]
    found = fit_misfit(residuals, own, pooled, [np.zeros_like(v) for v in own])
    v = [1e-5, 1e-4, 1e-3]
    np.testing.assert_allclose(total(found, v), total(Misfit(constant, factor), v), rtol=0.15)
    assert found.exponent == 1 or factor == 0
    assert (found.constant > 1e-3) == (constant > 0)
    assert found.degrees_of_freedom >= 12 if nu == np.inf else 4 <= found.degrees_of_freedom <= 6


def test_unrepresented_parts_do_not_take_the_place_of_misfit(rng):
    """They explain the residuals as well, but nothing else is left where they are small and the errors are not."""
    own = [np.exp(rng.normal(size=60)) * 1e-6 for _ in range(80)]
    residuals = [rng.normal(size=60) * 20 * np.sqrt(v) for v in own]
    missing = [4e-4 * np.ones(60) for _ in own]
    found = fit_misfit(residuals, own, own, missing)
    assert found.factor == pytest.approx(20, rel=0.05)
    assert total(found, [found.reference]) == pytest.approx(401 * found.reference, rel=0.1)


@pytest.mark.parametrize("wide", [True, False])
def test_misfit_may_grow_faster_where_residuals_cannot_tell(rng, wide):
    """Residuals in proportion to the parameter std: seen over decades they fix the exponent."""
    decades = np.linspace(-4, 0, 60) if wide else np.linspace(-0.1, 0.1, 60)
    own = [1e-4 * 10**d * np.ones(30) for d in decades]
    residuals = [rng.normal(size=30) * 10 * np.sqrt(v) for v in own]
    found = fit_misfit(residuals, own, own, [np.zeros(30) for _ in own], together=3)
    assert found.exponent == (1.0 if wide else 1.3)
    assert total(found, [found.reference]) == pytest.approx(101 * found.reference, rel=0.05)
    if not wide:
        assert total(found, [100 * found.reference]) > 3 * 100 * total(found, [found.reference])


def test_the_level_of_misfit_is_one_for_components_that_turn_into_each_other():
    misfit = Misfit(0.0, 2.0, exponent=1.3, reference=1e-4)
    v = torch.tensor([1e-4, 4e-4, 1e-4, 3e-4, 3e-4, 3e-4], dtype=torch.float64)
    q = misfit.inflation(v, together=3) / 4
    expected = torch.tensor([2.0, 2.0, 2.0, 3.0, 3.0, 3.0], dtype=torch.float64) ** 0.3
    torch.testing.assert_close(q, expected)


def test_what_is_unrepresented_is_not_counted_twice(rng):
    """Labels of known noise about a prior that is partly unrepresented: the noise comes out."""
    own = [np.exp(rng.normal(size=60)) * 1e-6 for _ in range(80)]
    missing = [3e-4 * np.ones(60) for _ in own]
    residuals = [rng.normal(size=60) * np.sqrt(0.02**2 + 3e-4) for _ in own]
    assert fit_misfit(residuals, own, own, missing).constant == pytest.approx(0.02, rel=0.05)


def test_few_residuals_have_gaussian_tails(rng):
    own = [np.full(1, 1e-4) for _ in range(40)]
    found = fit_misfit([rng.standard_t(3, 1) for _ in own], own, own, [np.zeros(1) for _ in own])
    assert found.degrees_of_freedom == np.inf


def test_variance_of_a_label(rng):
    """Never less than its epistemic part; the misfit alone where that is small; the prior alone far from data."""
    misfit = Misfit(0.0, 10.0)
    v, p, k = (torch.from_numpy(np.exp(3 * rng.normal(size=300)) * 1e-4) for _ in range(3))
    found = LabelVariances(v, p, k)
    q = 100 * 0.5 * (v + p)
    added, weight = misfit_variance(misfit, found, together=3)
    assert bool((added >= 0).all())
    for turned in weight.view(-1, 3):
        assert float(turned.max() - turned.min()) == 0
    near, _ = misfit_variance(misfit, LabelVariances(v, p, torch.zeros_like(k)))
    torch.testing.assert_close(near, q)
    far, _ = misfit_variance(misfit, LabelVariances(v, p, 1e9 * k))
    assert float(far.sum() / (1e9 * k).sum()) < 1e-3
    assert float(misfit_variance(Misfit(0.2), found)[0].max()) == pytest.approx(0.04)


def test_draws_have_the_scale_of_forces():
    misfit = {"energy": Misfit(0.0, 3.0), "forces": Misfit(0.1, 4.0), "stress": Misfit(0.1)}
    assert draw_scale(misfit, {"energy", "forces"}) == pytest.approx(np.sqrt(17))
    assert draw_scale(misfit, {"energy"}) == pytest.approx(np.sqrt(10))
    assert draw_scale(misfit | {"forces": Misfit(0.1)}, {"energy", "forces"}) == 1.0


def test_energies_learn_from_forces_how_wrong_the_posterior_is():
    """Few energies are drawn half way to forces, never below themselves, and follow them below the floor of labels."""
    few = [np.array([1.0]) for _ in range(20)]
    signs = [np.array([(-1.0) ** k]) for k in range(20)]

    def found(size_of_energies, size_of_forces):
        residuals = {
            "energy": [size_of_energies * s for s in signs],
            "forces": [size_of_forces * s * np.ones(30) for s in signs],
        }
        own = {"energy": [1e-6 * v for v in few], "forces": [np.full(30, 1e-4) for _ in few]}
        none = {kind: [np.zeros_like(v) for v in variances] for kind, variances in own.items()}
        return LeaveOneOut(residuals, own, own, none, 0.1).misfit()

    told = found(2e-3, 0.08)
    assert told["forces"].factor == pytest.approx(8, rel=0.02)
    assert told["energy"].factor == pytest.approx(np.sqrt(told["forces"].factor * np.sqrt(3)), rel=0.02)
    assert found(2e-2, 0.08)["energy"].factor == pytest.approx(20, rel=0.02)
    below = found(5e-6, 0.08)["energy"]
    assert (below.constant, below.factor) == (pytest.approx(1e-5), pytest.approx(8, rel=0.02))


def test_energies_are_pooled_with_forces(rng):
    factors, kept = synthetic(rng)
    noise = {"energy": 0.02, "forces": 0.3}
    out = leave_one_out(kept, Posterior(factors, BLOCK, noise, AMPLITUDE), noise, BLOCK, AMPLITUDE)
    assert np.sum(out.pooled["energy"]) == pytest.approx(np.sum(out.own["energy"]), rel=1e-9)
    for pooled, forces in zip(out.pooled["energy"], out.own["forces"], strict=True):
        assert pooled[0] == pytest.approx(out.reach**2 * forces.mean(), rel=1e-12)
    assert out.misfit()["energy"].reach == out.reach > 0


def test_components_that_vanish_by_symmetry_do_not_count(rng):
    own = [np.full(30, 1e-4) for _ in range(20)]
    residuals = [rng.normal(size=30) * 0.1 for _ in range(20)]
    missing = [np.zeros(30) for _ in range(20)]
    plain = fit_misfit(residuals, own, own, missing)
    padded = [np.concatenate([v, np.zeros(60)]) for v in own]
    zeros = [np.concatenate([r, np.zeros(60)]) for r in residuals]
    pool = [np.full(90, 1e-4) for _ in own]
    none = [np.zeros(90) for _ in own]
    assert total(fit_misfit(zeros, padded, pool, none), 1e-4) == pytest.approx(total(plain, 1e-4), rel=1e-3)


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

    # No higher than three times what errors on structures left out are like.
    at_start = leave_one_out(kept, Posterior(factors, BLOCK, noise, AMPLITUDE), noise, BLOCK, AMPLITUDE)
    shown = 1.25 * np.abs(np.concatenate(at_start.residuals["energy"])).mean()
    assert shown < noise["energy"]
    bounds = (np.log(1e-4 / 0.5), np.log(3.0 * shown / 0.5))
    options = {"xatol": 0.1, "maxiter": 12}
    expected = minimize_scalar(score, bounds=bounds, method="bounded", options=options).x
    found = balance_energies(kept, factors, BLOCK, noise, set(), AMPLITUDE)
    assert found["energy"] == pytest.approx(0.5 * np.exp(expected), rel=1e-6)
