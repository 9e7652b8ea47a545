"""On data drawn from the model's own prior the stated intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.surfaces.potentials import MeanPotential
from tests.helpers.systems import ALL, crystals, gases, soap

NOISE = {"energy": 0.005, "forces": 0.05, "stress": 0.002}
SETTINGS = {"descriptor": soap(n_max=2), "isolated_atoms": {"Cu": -3.0}, "inducing": gases(40)}
AMPLITUDE = 10.0


class Universe:
    """Potentials drawn from the prior, and what a noisy calculation of them would give."""

    def __init__(self) -> None:
        self._prior = SparseGPPotential(
            kernel=SOAPKernel(2, amplitude=AMPLITUDE), noise=NOISE, optimize=False, **SETTINGS
        ).fit(crystals(1))

    def draw(self, seed: int, structures: list[Atoms]) -> list[Atoms]:
        gp, rng = self._prior, np.random.default_rng(seed)
        whitened = torch.from_numpy(rng.normal(size=gp.n_inducing_)) * AMPLITUDE
        truth = MeanPotential(
            gp.fitted_.features, gp.fitted_.whitening.blocks, gp.fitted_.whitening.weights(whitened), gp.isolated_atoms_
        )
        out = []
        for structure in structures:
            atoms = structure.copy()
            m = truth(atoms)
            assert m.stress is not None
            labels = {
                "energy": m.energy + NOISE["energy"] * len(atoms) * rng.normal(),
                "forces": m.forces + NOISE["forces"] * rng.normal(size=m.forces.shape),
                "stress": m.stress + NOISE["stress"] * rng.normal(size=6),
            }
            atoms.calc = SinglePointCalculator(atoms, **labels)
            out.append(atoms)
        return out


def z_scores(gp: SparseGPPotential, held_out: list[Atoms]) -> dict[str, NDArray[np.float64]]:
    found = gp.predict_full(held_out)
    return {
        kind: np.concatenate(
            [
                np.ravel((a.calc.results[kind] - getattr(p, kind).mean) / getattr(p, kind).std)
                for p, a in zip(found, held_out, strict=True)
            ]
        )
        for kind in ALL
    }


def require_nominal(scores: list[dict[str, NDArray[np.float64]]]) -> None:
    """Coverage within four standard errors over draws (components of one draw are not independent)."""
    for kind in ALL:
        z = np.array([s[kind] for s in scores])
        for level, quantile in ((0.5, 0.6745), (0.9, 1.6449)):
            coverage = (np.abs(z) < quantile).mean(1)
            error = coverage.std(ddof=1) / np.sqrt(len(z))
            assert error < 0.06, "too few draws to say anything"
            assert abs(coverage.mean() - level) < 4 * error, (kind, level, coverage.mean(), error)


@pytest.fixture(scope="module")
def universe() -> Universe:
    return Universe()


@pytest.mark.slow
def test_known_hyperparameters(universe: Universe) -> None:
    train, held_out = crystals(6, seed=1), crystals(4, seed=2)
    scores = []
    for seed in range(30):
        frames = universe.draw(seed, train + held_out)
        gp = SparseGPPotential(kernel=SOAPKernel(2, amplitude=AMPLITUDE), noise=NOISE, optimize=False, **SETTINGS)
        scores.append(z_scores(gp.fit(frames[:6]), frames[6:]))
    require_nominal(scores)


@pytest.mark.slow
def test_learnt_hyperparameters(universe: Universe) -> None:
    """Amplitude, noise and misfit found from the data keep the intervals honest, and come out right."""
    train, held_out = crystals(30, seed=1), crystals(5, seed=2)
    scores, ratios = [], []
    for seed in range(16):
        frames = universe.draw(seed, train + held_out)
        gp = SparseGPPotential(random_state=0, **SETTINGS).fit(frames[:30])
        scores.append(z_scores(gp, frames[30:]))
        found = gp.predict_full(held_out)
        misfit = {
            kind: [(q.std**2 - q.epistemic_std**2).mean() for q in (getattr(p, kind) for p in found)] for kind in ALL
        }
        ratio = {kind: np.sqrt(np.mean(misfit[kind])) / NOISE[kind] / (4 if kind == "energy" else 1) for kind in ALL}
        ratios.append([*ratio.values(), gp.kernels_[0].amplitude.item() / AMPLITUDE])
    require_nominal(scores)
    misfit_of_energy, misfit_of_forces, misfit_of_stress, amplitude = np.median(ratios, axis=0)
    assert misfit_of_energy == pytest.approx(1, abs=0.25)
    assert misfit_of_forces == pytest.approx(1, abs=0.05)
    assert misfit_of_stress == pytest.approx(1, abs=0.15)
    assert amplitude == pytest.approx(1, abs=0.5)


def test_wrong_noise_is_noticed(universe: Universe) -> None:
    """The test above can fail: a noise level half of the truth gives intervals that are too narrow."""
    train, held_out = crystals(6, seed=1), crystals(4, seed=2)
    half = {kind: sigma / 2 for kind, sigma in NOISE.items()}
    scores = []
    for seed in range(15):
        frames = universe.draw(seed, train + held_out)
        gp = SparseGPPotential(kernel=SOAPKernel(2, amplitude=AMPLITUDE), noise=half, optimize=False, **SETTINGS)
        scores.append(z_scores(gp.fit(frames[:6]), frames[6:]))
    with pytest.raises(AssertionError):
        require_nominal(scores)
