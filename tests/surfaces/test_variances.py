"""Numbers that other engines hold: from them alone, by dense algebra, come the variances of calibrated draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.descriptors import features_of
from kernpot.surfaces.variances import Exportable, KernelVariance, TermVariance
from tests.gp.small import fitted
from tests.helpers.systems import cluster, crystals, slab, soap
from tests.nnp.small import estimator

CRYSTAL, FREE = crystals(1, seed=9, symbols="Cu3Au", strain=0.1)[0], cluster("Cu2Au2", seed=4)
structures = pytest.mark.parametrize("atoms", [CRYSTAL, FREE, slab(3)], ids=["crystal", "cluster", "slab"])


@pytest.fixture(scope="module")
def gp() -> SparseGPPotential:
    both = [soap(["Cu", "Au"], n_max=2, l_max=1), soap(["Cu", "Au"], 3.2, n_max=1, l_max=2)]
    return fitted(descriptor=both)


@pytest.fixture(scope="module")
def networks() -> NNPEnsemble:
    return estimator("Cu", "Au", max_epochs=2).fit(crystals(6, symbols="Cu2Au2"))


def by_kernel(held: KernelVariance, unit: list[np.ndarray], numbers: np.ndarray) -> float:
    """``s^2 |R^-T a b|^2 + a^2 (sum_ij k(u_i, u_j) - |b|^2)``, ``b = L^-1 sum_i k(u_i, u_m)``."""
    b, missing = [], 0.0
    for block, factor, amplitude in zip(held.blocks, held.factors, held.amplitudes, strict=True):
        u = unit[block.descriptor][numbers == block.element]
        own = ((u @ block.environments.numpy().T) ** block.function.power).sum(0)
        b.append(amplitude * np.linalg.solve(factor.numpy(), own))
        missing += amplitude**2 * ((u @ u.T) ** block.function.power).sum() - (b[-1] ** 2).sum()
    half = np.linalg.solve(held.root.numpy().T, np.concatenate(b))
    return float(held.scale**2 * (half**2).sum() + missing)


@structures
def test_variance_of_kernels_is_that_of_the_energy(gp: SparseGPPotential, atoms: Atoms) -> None:
    held = gp.energy_variance()
    assert isinstance(gp, Exportable) and isinstance(held, KernelVariance)
    p = [f(atoms) for f in gp.fitted_.features]
    unit = [x / np.linalg.norm(x, axis=1)[:, None] for x in p]
    expected = gp.energy_std(atoms).std ** 2 - 1e-6
    assert by_kernel(held, unit, atoms.numbers) == pytest.approx(expected, rel=1e-5)
    assert held.scale == gp.draw_scale_ > 1


def test_draws_of_kernels_scatter_by_that_variance(gp: SparseGPPotential) -> None:
    """Their sum of squares has a chi-square distribution: within five of its deviations."""
    n, unit = 400, [f(CRYSTAL) / np.linalg.norm(f(CRYSTAL), axis=1)[:, None] for f in gp.fitted_.features]
    found = gp.sample_potentials(n, random_state=0).evaluate(CRYSTAL).energies - gp.mean(CRYSTAL).energy
    variance = by_kernel(gp.energy_variance(), unit, CRYSTAL.numbers)
    assert np.mean(found**2) / variance == pytest.approx(1.0, abs=5 * np.sqrt(2 / n))


@structures
def test_variance_of_terms_is_the_sum_of_squares_of_deviations(networks: NNPEnsemble, atoms: Atoms) -> None:
    """Of three networks that is their sample variance, times the square of the scale."""
    held = networks.energy_variance()
    assert isinstance(networks, Exportable) and isinstance(held, TermVariance)
    p, deviations = torch.from_numpy(features_of(soap(["Cu", "Au"]))(atoms)), torch.zeros(3, dtype=torch.float64)
    for term in held.terms:
        here = torch.from_numpy(atoms.numbers == term.element)
        deviations = deviations + term.energies(p[here])[0].sum(0)
    members = networks.sample_potentials(3, posterior="members").evaluate(atoms).energies
    assert float((deviations**2).sum()) == pytest.approx(np.var(members, ddof=1), rel=1e-6)
    assert held.scale == networks.draw_scale_
