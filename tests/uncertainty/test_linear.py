from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from kernpot import SparseGPPotential
from kernpot.errors import KernpotError
from kernpot.properties import ElasticConstants, EnergyDifference, EquationOfState, ForceConstants, PathEnergies
from kernpot.uncertainty.linear import linearise
from kernpot.uncertainty.propagation import propagate
from tests.helpers.changed import changed
from tests.helpers.fakes import LennardJones
from tests.helpers.systems import crystals, soap

N_DRAWS = 600


@pytest.fixture(scope="module")
def gp():
    fitted = SparseGPPotential(soap(), n_inducing=25, random_state=0).fit(crystals(12, strain=0.04))
    wider = replace(fitted.misfit_["forces"], factor=np.sqrt(8.0))
    fitted = changed(fitted, misfit=fitted.misfit_ | {"forces": wider})
    assert fitted.draw_scale_ == pytest.approx(3.0)
    return fitted


def cells():
    found = [bulk("Cu", cubic=True) for _ in range(3)]
    for k, atoms in enumerate(found):
        atoms.set_cell(atoms.cell.array * (1 + 0.01 * k), scale_atoms=True)
        atoms.rattle(0.03 * k, seed=k)
    return found


PROPERTIES = {
    "energy differences": lambda: EnergyDifference(cells(), [1.0, 0.5, -1.5]),
    "path": lambda: PathEnergies(cells()),
    "clamped elastic constants": lambda: ElasticConstants(bulk("Cu"), relax_ions=False),
    "force constants": lambda: ForceConstants(bulk("Cu"), (2, 2, 2)),
}


@pytest.mark.filterwarnings("ignore:elastic constants of Cu at a cell under a stress")
@pytest.mark.parametrize("name", PROPERTIES)
def test_draws_tend_to_the_exact_covariance(gp, name):
    wanted = PROPERTIES[name]()
    exact = linearise(wanted, gp)
    n = 150 if name == "force constants" else N_DRAWS  # phonopy takes its time for each
    draws = propagate(wanted, gp.sample_potentials(n, 0, parts=("parameter",)))
    scale = exact.std.max()
    np.testing.assert_allclose(draws.of_mean, exact.mean, atol=1e-9 * np.abs(exact.mean).max())
    np.testing.assert_allclose(draws.mean, exact.mean, atol=5 * scale / np.sqrt(n))
    telling = exact.std > 1e-3 * scale
    ratio = draws.std[telling] / exact.std[telling]
    np.testing.assert_allclose(ratio, 1.0, atol=5 / np.sqrt(2 * n))
    difference = np.abs(draws.covariance - exact.covariance).max()
    assert difference < 6 * scale**2 / np.sqrt(n)


def test_one_energy_is_that_of_the_posterior(gp):
    atoms = cells()[1]
    exact = linearise(EnergyDifference([atoms], [1.0]), gp)
    draws = gp.sample_potentials(N_DRAWS, 1, parts=("parameter",)).evaluate(atoms).energies
    assert np.isclose(exact.std, draws.std(), rtol=5 / np.sqrt(2 * N_DRAWS))
    assert np.isclose(exact.mean, gp.mean(atoms).energy)


def test_what_is_not_linear_is_refused(gp):
    with pytest.raises(ValueError, match="EquationOfState is not linear"):
        linearise(EquationOfState(bulk("Cu")), gp)


def test_a_potential_that_is_not_linear_in_weights_is_sent_to_draws():
    with pytest.raises(KernpotError, match="such as a SparseGPPotential, got LennardJones; use propagate"):
        linearise(EnergyDifference([bulk("Ar")], [1.0]), LennardJones())


def test_interval_is_gaussian(gp):
    exact = linearise(EnergyDifference(cells(), [1.0, 0.5, -1.5]), gp)
    low, high = exact.interval(0.9)
    assert np.isclose(high - low, 2 * 1.6448536 * exact.std)


def test_a_fitted_potential_is_drawn_from(gp):
    def energy(potential):
        return potential.mean(cells()[1]).energy

    found = propagate(energy, gp, n_draws=5, random_state=3, unit="eV")
    again = gp.sample_potentials(5, random_state=3).evaluate(cells()[1])
    np.testing.assert_allclose(found.values, again.energies, rtol=1e-10)
    assert np.isclose(found.of_mean, gp.mean(cells()[1]).energy, rtol=1e-12)
