"""What a fit learns, from whatever labels there are, and how it answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.errors import InducingWarning, KernpotWarning
from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import Structure
from tests.helpers.changed import changed
from tests.helpers.systems import cluster, crystals, labelled, slab, small_molecule, soap

FIXED = {"noise": {"energy": 0.002, "forces": 0.02, "stress": 0.001}, "optimize": False, "random_state": 0}


def max_force_error(gp: SparseGPPotential, frames: Sequence[Atoms]) -> float:
    return max(np.abs(gp.mean(a).forces - a.calc.results["forces"]).max() for a in frames)


def test_learns_copper() -> None:
    gp = SparseGPPotential(soap(n_max=5, l_max=4), n_inducing=60, random_state=0).fit(crystals(20, seed=1))
    held_out = crystals(5, seed=2)
    energies = np.array([a.calc.results["energy"] for a in held_out])
    forces = np.concatenate([a.calc.results["forces"].ravel() for a in held_out])
    assert np.abs(gp.predict(held_out) - energies).max() / 4 < 0.01
    assert max_force_error(gp, held_out) < 0.15 * np.abs(forces).max()
    assert gp.score(held_out) > 0.95
    assert gp.elements_ == (29,)
    assert gp.summary_["data"]["structures"] == 20


# ---------------------------------------------------------------- kinds of labels


def test_crystals_slabs_clusters_molecules_and_single_atoms_in_one_fit() -> None:
    atom = Atoms("Cu", positions=[[0, 0, 0]])
    atom.calc = SinglePointCalculator(atom, energy=3.5)
    frames = [*crystals(4), slab(), cluster(), atom, small_molecule("CO"), small_molecule("CO2"), small_molecule("O2")]
    gp = SparseGPPotential(soap(["C", "O", "Cu"]), n_inducing=28, random_state=0).fit(frames)
    assert gp.elements_ == (6, 8, 29)
    assert gp.isolated_atoms_[29] == 3.5
    assert gp.summary_["data"]["energies"] == 10
    assert gp.summary_["data"]["stress_components"] == 24
    for p, atoms in zip(gp.predict_full(frames), frames, strict=True):
        assert abs(float(p.energy.mean) - atoms.calc.results["energy"]) < 4 * float(p.energy.std) + 0.05
        assert (p.stress is None) == (not atoms.pbc.all())


def test_missing_labels_are_not_zeros() -> None:
    """Structures without forces or stress add nothing to those groups, and a fit without their energies is another."""
    whole, bare = crystals(3), crystals(3, seed=1, kinds=["energy"])
    with pytest.warns(KernpotWarning, match=r"3 of 6 structures .* \(from structures\[3\] on\) have no forces"):
        gp = SparseGPPotential(soap(), n_inducing=12, **FIXED).fit(whole + bare)
    rows = {group: factor.n_rows for group, factor in gp.fitted_.factors.items()}
    assert rows == {"energy": 6, "forces": 36, "stress": 18}
    zero = [a.copy() for a in bare]
    for new, old in zip(zero, bare, strict=True):
        new.calc = SinglePointCalculator(new, energy=old.calc.results["energy"], forces=np.zeros((4, 3)))
    other = SparseGPPotential(soap(), n_inducing=12, **FIXED).fit(whole + zero)
    assert np.abs(gp.mean(whole[0]).forces - other.mean(whole[0]).forces).max() > 1e-3


def test_labels_given_by_hand_replace_the_calculators() -> None:
    frames = crystals(4)
    results = [a.calc.results for a in frames]
    bare = [a.copy() for a in frames]
    read = SparseGPPotential(soap(), n_inducing=12, **FIXED).fit(frames)
    given = SparseGPPotential(soap(), n_inducing=12, **FIXED).fit(
        bare, [r["energy"] for r in results], [r["forces"] for r in results], [r["stress"] for r in results]
    )
    np.testing.assert_array_equal(read.predict(bare), given.predict(bare))
    part = SparseGPPotential(soap(), n_inducing=12, **FIXED).fit(frames, energies=[0.0, None, None, 1.0])
    assert part.fitted_.factors["energy"].n_rows == 2
    assert part.fitted_.factors["forces"].n_rows == 48


def test_forces_alone_teach_energies_too() -> None:
    """One energy fixes the constant, forces the differences."""
    frames = crystals(12, seed=3)
    for atoms in frames[1:]:
        del atoms.calc.results["energy"]
    gp = SparseGPPotential(soap(n_max=5, l_max=4), n_inducing=40, isolated_atoms={"Cu": 0.0}, random_state=0).fit(
        frames
    )
    held_out = crystals(4, seed=4)
    truth = np.array([a.calc.results["energy"] for a in held_out])
    assert np.abs(gp.predict(held_out) - truth).max() / 4 < 0.02
    assert np.ptp(truth) / 4 > 0.1


@pytest.mark.filterwarnings("ignore:.*explained no better than by a constant")
def test_guess_for_labels_never_seen_is_announced() -> None:
    with pytest.warns(KernpotWarning, match="no structure has forces labels"):
        gp = SparseGPPotential(soap(), n_inducing=4).fit([labelled(cluster(), ["energy"])])
    p = gp.predict_full([cluster(seed=1)])[0]
    assert (p.forces.std**2 > p.forces.epistemic_std**2 + 0.001).all()


# ---------------------------------------------------------------- noise levels


def test_noise_given_is_kept_and_the_rest_is_optimised() -> None:
    gp = SparseGPPotential(soap(), n_inducing=12, noise={"forces": 0.123}, random_state=0).fit(crystals(6))
    assert gp.noise_["forces"] == 0.123
    assert gp.noise_["stress"] != SparseGPPotential(soap(), n_inducing=12, **FIXED).fit(crystals(6)).noise_["stress"]


def test_amplitude_can_be_fixed() -> None:
    kernel = SOAPKernel(2, amplitude=2.5)
    kernel.raw_amplitude.requires_grad_(False)
    gp = SparseGPPotential(soap(), n_inducing=12, kernel=kernel, random_state=0).fit(crystals(6))
    assert gp.kernels_[0].amplitude.item() == pytest.approx(2.5, rel=1e-12)
    free = SparseGPPotential(soap(), n_inducing=12, kernel=SOAPKernel(2, amplitude=2.5), random_state=0).fit(
        crystals(6)
    )
    assert abs(free.kernels_[0].amplitude.item() - 2.5) > 0.1
    assert free.log_evidence_ > gp.log_evidence_


def test_evidence_is_at_a_maximum() -> None:
    """With the energies' noise fixed (leave-one-out would set it) a step in any direction lowers the evidence."""
    frames = crystals(6)
    gp = SparseGPPotential(soap(), n_inducing=12, noise={"energy": 0.01}, random_state=0).fit(frames)

    def evidence(noise: dict[str, float], amplitude: float) -> float:
        kernel = SOAPKernel(2, amplitude=amplitude)
        settings: dict[str, Any] = {"optimize": False, "kernel": kernel, "noise": noise, "n_inducing": 12}
        other = SparseGPPotential(soap(), inducing=gp.inducing, random_state=0, **settings)
        other.fit(frames)
        other = changed(other, whitening=gp.fitted_.whitening, factors=gp.fitted_.factors)
        return other.log_evidence_

    amplitude = gp.kernels_[0].amplitude.item()
    best = evidence(gp.noise_, amplitude)
    assert best == pytest.approx(gp.log_evidence_, abs=1e-6)
    for factor in (0.95, 1.05):
        assert evidence(gp.noise_, amplitude * factor) < best
        for kind in ("forces", "stress"):
            assert evidence(gp.noise_ | {kind: gp.noise_[kind] * factor}, amplitude) < best


def test_config_types_get_levels_of_their_own() -> None:
    frames = crystals(8)
    rng = np.random.default_rng(0)
    for atoms in frames[:4]:
        atoms.info["config_type"] = "poor"
        atoms.calc.results["forces"] = atoms.calc.results["forces"] + rng.normal(scale=0.5, size=(4, 3))
    noise = {"config_type": {"poor": {"forces": None}}}
    gp = SparseGPPotential(soap(n_max=4, l_max=3), n_inducing=20, noise=noise, random_state=0).fit(frames)
    assert set(gp.noise_) == {"energy", "stress", "forces", "forces[poor]"}
    assert 0.3 < gp.noise_["forces[poor]"] < 0.7
    assert gp.noise_["forces"] < 0.15


def test_noise_scale_weighs_one_structure() -> None:
    """A structure with a huge noise scale is as good as absent; a dictionary scales one kind alone."""
    frames = crystals(6)
    odd = crystals(1, seed=9)[0]
    odd.calc.results["energy"] += 10.0
    odd.info["noise_scale"] = 1e6
    settings = {**FIXED, "inducing": frames, "isolated_atoms": {"Cu": 0.0}}
    without = SparseGPPotential(soap(), **settings).fit(frames)
    ignored = SparseGPPotential(soap(), **settings).fit([*frames, odd])
    np.testing.assert_allclose(ignored.predict(frames), without.predict(frames), atol=1e-7)
    odd.info["noise_scale"] = {"energy": 1e6}
    forces_count = SparseGPPotential(soap(), **settings).fit([*frames, odd])
    assert (
        forces_count.predict_full([odd])[0].forces.epistemic_std.max()
        < without.predict_full([odd])[0].forces.epistemic_std.max() - 1e-4
    )


# ---------------------------------------------------------------- mean, rows, inducing


@pytest.mark.parametrize("zeta", [1, 2, 3, 4])
@pytest.mark.parametrize("n_inducing", [6, 24])
def test_collapsed_mean_is_rows_times_weights(zeta: int, n_inducing: int) -> None:
    frames = crystals(6, symbols="Cu3Au")
    gp = SparseGPPotential(soap(["Cu", "Au"], n_max=2), n_inducing=n_inducing, kernel=SOAPKernel(zeta), **FIXED)
    gp.fit(frames)
    new = crystals(1, seed=8, symbols="Cu2Au2")[0]
    structure, blocks = Structure(gp.fitted_.features, new), gp.fitted_.whitening.blocks
    weights = gp.fitted_.posterior.whitened_weights * gp.fitted_.posterior.scale

    def through_rows(rows: torch.Tensor) -> np.ndarray:
        return (gp.fitted_.whitening(rows) @ weights).numpy()

    m = gp.mean(new)
    offset = sum(gp.isolated_atoms_[int(z)] for z in new.numbers)
    scale = float(gp.fitted_.whitening.weights(weights).abs().sum())  # rounding of the rows' products
    assert m.energy - offset == pytest.approx(
        through_rows(energy_rows(structure, blocks)[0])[0], abs=1e-13 * scale + 1e-9
    )
    forces = np.concatenate([through_rows(rows) for _, rows, _ in force_rows(structure, blocks)])
    np.testing.assert_allclose(m.forces.ravel(), forces, atol=1e-12 * scale + 1e-9)
    assert m.stress is not None
    np.testing.assert_allclose(m.stress, through_rows(stress_rows(structure, blocks)[0]), atol=1e-13 * scale + 1e-9)


@pytest.mark.parametrize("method", ["fps", "cur", "leverage", "random"])
def test_choices_of_inducing_environments(method: str) -> None:
    frames = crystals(8)
    gp = SparseGPPotential(soap(n_max=4, l_max=3), n_inducing=25, inducing=method, random_state=0).fit(frames)
    assert gp.n_inducing_ == 25
    assert max_force_error(gp, frames) < 0.5


def test_inducing_environments_can_be_given() -> None:
    frames = crystals(4)
    chosen = [a.copy() for a in frames[:2]]
    chosen[0].arrays["inducing"] = np.array([True, False, False, True])
    gp = SparseGPPotential(soap(), inducing=chosen, **FIXED).fit(frames)
    assert gp.n_inducing_ == 6


@pytest.mark.filterwarnings("ignore:.*explained no better than by a constant")
def test_too_few_environments() -> None:
    """The atom of a primitive cell is one environment."""
    perfect = labelled(bulk("Cu"))
    with pytest.warns(InducingWarning, match="1 inducing environments are used instead of 50"):
        gp = SparseGPPotential(soap(), n_inducing=50, random_state=0).fit([perfect])
    assert gp.n_inducing_ == 1
    assert float(gp.predict([perfect])[0]) == pytest.approx(perfect.calc.results["energy"], abs=1e-3)


@pytest.mark.filterwarnings("ignore:.*explained no better than by a constant")
@pytest.mark.filterwarnings("ignore:.*occur a second time")
def test_perfect_crystals() -> None:
    """Their forces are zero by symmetry, and so is the prior variance of these but for rounding."""
    perfect = labelled(bulk("Cu", cubic=True))
    gp = SparseGPPotential(soap(), n_inducing=50, random_state=0).fit([perfect] * 3)
    assert gp.n_inducing_ > 1
    assert float(gp.predict([perfect])[0]) == pytest.approx(perfect.calc.results["energy"], abs=1e-3)


def test_every_element_gets_inducing_environments() -> None:
    """One gold atom among many of copper keeps an environment of its own."""
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=6, random_state=0).fit(
        [*crystals(8), *crystals(1, seed=3, symbols="Cu3Au")]
    )
    assert [b.element for b in gp.fitted_.whitening.blocks] == [29, 79]
    assert len(gp.fitted_.whitening.blocks[1].environments) >= 1


def test_descriptors_add() -> None:
    """Two descriptors learn what neither does alone: their kernels, means and variances add."""
    short, long = soap(cutoff=3.0), soap(cutoff=5.0)
    frames, held_out = crystals(10, seed=1), crystals(4, seed=2)
    errors = [
        max_force_error(SparseGPPotential(d, n_inducing=40, random_state=0).fit(frames), held_out)
        for d in (short, [short, long])
    ]
    assert errors[1] < errors[0]
    both = SparseGPPotential([short, long], n_inducing=40, random_state=0).fit(frames)
    assert both.cutoff == 5.0
    assert len(both.kernels_) == 2


def test_default_descriptor_and_an_unknown_element_later() -> None:
    gp = SparseGPPotential(n_inducing=10, random_state=0).fit(crystals(3, symbols="Cu3Au"))
    assert gp.elements_ == (29, 79)
    assert gp.fitted_.features[0].species == (29, 79)
    assert gp.cutoff > 4


# ---------------------------------------------------------------- reproducibility


def test_same_seed_same_bits() -> None:
    frames, new = crystals(8), crystals(1, seed=5)[0]
    first, second = (
        SparseGPPotential(soap(), n_inducing=15, random_state=7).fit(frames).predict_full([new])[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first.forces.mean, second.forces.mean)
    np.testing.assert_array_equal(first.forces.std, second.forces.std)
    other = SparseGPPotential(soap(), n_inducing=15, random_state=8).fit(frames).predict_full([new])[0]
    assert np.abs(first.forces.mean - other.forces.mean).max() > 0


@pytest.mark.slow
def test_processes_give_the_same_model() -> None:
    frames, new = [*crystals(5), slab(), cluster()], crystals(1, seed=5)[0]
    settings = {**FIXED, "n_inducing": 12}
    alone, shared = (SparseGPPotential(soap(), n_jobs=n, **settings).fit(frames) for n in (None, 2))
    assert shared.log_evidence_ == pytest.approx(alone.log_evidence_, rel=1e-10)
    for a, b in zip(alone.predict_full([new]), shared.predict_full([new]), strict=True):
        np.testing.assert_allclose(b.forces.mean, a.forces.mean, atol=1e-8)
        np.testing.assert_allclose(b.forces.std, a.forces.std, rtol=1e-8)


def test_fit_does_not_change_its_input() -> None:
    frames = crystals(3)
    before = [(a.copy(), dict(a.calc.results)) for a in frames]
    kernel = SOAPKernel(2)
    SparseGPPotential(soap(), n_inducing=8, kernel=kernel, random_state=0).fit(frames)
    assert kernel.amplitude.item() == 1.0
    assert kernel.elements is None
    for atoms, (old, results) in zip(frames, before, strict=True):
        assert atoms == old
        assert set(atoms.arrays) == set(old.arrays)
        assert all(np.array_equal(atoms.calc.results[k], v) for k, v in results.items())


def test_progress_is_reported() -> None:
    seen: list[tuple[str, int, int]] = []
    SparseGPPotential(soap(), n_inducing=8, progress=lambda *a: seen.append(a), random_state=0).fit(crystals(3))
    rows = [(done, total) for stage, done, total in seen if stage == "rows"]
    assert rows == [(1, 3), (2, 3), (3, 3)]


def test_summary_is_json() -> None:
    gp = SparseGPPotential(soap(), n_inducing=8, random_state=0).fit(crystals(6))
    assert json.loads(json.dumps(gp.summary_))["data"]["force_components"] == 72
    assert gp.summary_["hyperparameters"]["leave_one_out"]["structures"] == 6
