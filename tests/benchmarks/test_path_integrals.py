"""The benchmark of path integrals computes what it says."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ipi", reason="needs i-PI: pip install 'kernpot[ipi]'")
pytest.importorskip("tblite", reason="needs pip install 'kernpot[oracles]'")

from benchmarks.engines import path_integrals


def test_free_energy_from_kinetic_energies_is_exact_for_a_harmonic_bond():
    """At low temperature a particle's T is a quarter of its quantum, proportional to l; F is half the quantum."""
    roots = np.array(path_integrals.MASSES) ** -0.5
    assert path_integrals.free_energy(list(0.25 * roots)) == pytest.approx(0.5 * (roots[-1] - roots[0]), rel=1e-12)
    assert np.diff(roots)[0] == pytest.approx(np.diff(roots)[1])


def test_averages_are_reweighted_as_ipi_does():
    """Exact to first order in what the potentials differ by: against weights themselves."""
    rng = np.random.default_rng(0)
    observable, driving = rng.normal(size=(4000, 2)), rng.normal(size=(4000, 1))
    potential = driving + 1e-3 * path_integrals.KT * (observable + rng.normal(size=(4000, 2)))
    weights = np.exp(-(potential - driving) / path_integrals.KT)
    expected = (weights * observable).sum(0) / weights.sum(0)
    found = path_integrals.reweighted(observable, potential, driving)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (np.abs(found - observable.mean(0)) > 5e-4).all()
