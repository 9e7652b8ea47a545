"""The bias and its exact derivatives."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError, all_properties
from ase.md.langevin import Langevin

from kernpot import SOAPKernel, SparseGPPotential
from kernpot.calibration.misfit import Misfit
from kernpot.dynamics.bias import BiasedCalculator
from kernpot.errors import KernpotError
from kernpot.gp.predicting.predictor import predictor_of
from tests.helpers.changed import changed
from tests.helpers.systems import cluster, crystals, soap

FRAMES = [*crystals(4, symbols="Cu3Au"), cluster("Cu2Au2")]


@cache
def potential(zeta: int = 2, n_components: int | None = None) -> SparseGPPotential:
    """Two descriptors, few inducing environments: both parts of the std count."""
    gp = SparseGPPotential(
        descriptor=[soap(["Cu", "Au"], 3.5), soap(["Cu", "Au"], 4.5, l_max=1)],
        kernel=[SOAPKernel(zeta, amplitude=1.0), SOAPKernel(2, amplitude=0.7)],
        noise={"energy": 0.002, "forces": 0.03, "stress": 0.001},
        optimize=False,
        isolated_atoms={"Cu": 3.0, "Au": 3.5},
        n_inducing=20,
        inducing="fps",
        n_components=n_components,
        random_state=0,
    ).fit(FRAMES)
    return changed(gp, misfit=gp.misfit_ | {"forces": Misfit(0.01, 1.5)})


def crystal() -> Atoms:
    return crystals(1, seed=8, symbols="Cu2Au2")[0].copy()


def molecule() -> Atoms:
    return cluster("CuAu3", seed=4).copy()


def biased(atoms: Atoms, tau: float = 1.5, limit: float = 0.5, gp: SparseGPPotential | None = None) -> Atoms:
    atoms.calc = BiasedCalculator(gp or potential(), tau, limit)
    return atoms


@pytest.mark.parametrize(("zeta", "n_components"), [(1, None), (2, None), (3, None), (2, 6)])
@pytest.mark.parametrize("make", [crystal, molecule])
def test_forces_are_the_derivative(make, zeta: int, n_components: int | None) -> None:
    atoms = biased(make(), gp=potential(zeta, n_components))
    forces = atoms.get_forces()
    step = 1e-4
    for atom in range(2):
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                moved = biased(make(), gp=potential(zeta, n_components))
                moved.positions[atom, axis] += sign * step
                energies.append(moved.get_potential_energy())
            assert -(energies[0] - energies[1]) / (2 * step) == pytest.approx(forces[atom, axis], abs=1e-6)


def test_stress_is_the_derivative() -> None:
    stress = biased(crystal()).get_stress(voigt=False)
    step = 1e-5
    for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += 0.5 * sign * step
            strain[j, i] += 0.5 * sign * step
            atoms = crystal()
            atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
            energies.append(biased(atoms).get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step) / crystal().get_volume()
        assert slope == pytest.approx(stress[i, j], abs=1e-6)


@pytest.mark.parametrize("make", [crystal, molecule])
def test_the_std_is_that_of_the_draws(make) -> None:
    """Parameter variance times the scale of draws squared, and what is unrepresented; up to the least std."""
    gp, atoms = potential(), make()
    per_atom = gp.fitted_.once(predictor_of).labels(atoms, ["energy"])["energy"][1]
    variance = gp.draw_scale_**2 * float(per_atom.parameter) + float(per_atom.unrepresented)
    assert gp.draw_scale_ > 1.5
    assert float(per_atom.unrepresented) > 1e-3 * variance
    assert gp.energy_std(atoms).std == pytest.approx(np.sqrt(len(atoms) ** 2 * variance + 1e-6), rel=1e-8)


@pytest.mark.parametrize("make", [crystal, molecule])
def test_bounded(make) -> None:
    plain = make()
    plain.calc = potential().calculator()
    for tau in (1.0, 10.0, 1e4):
        atoms = biased(make(), tau, 0.2)
        lowered = plain.get_potential_energy() - atoms.get_potential_energy()
        assert 0 < lowered <= 0.2 + 1e-9
        assert atoms.calc.bias == pytest.approx(lowered)
    # Where the bound is reached there is no force left to run away with.
    np.testing.assert_allclose(atoms.get_forces(), plain.get_forces(), atol=1e-9)


@pytest.mark.parametrize("make", [crystal, molecule])
def test_no_bias_is_the_plain_potential(make) -> None:
    plain, atoms = make(), biased(make(), 0.0)
    plain.calc = potential().calculator()
    assert atoms.get_potential_energy() == pytest.approx(plain.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), plain.get_forces(), atol=1e-12)
    if all(atoms.pbc):
        np.testing.assert_allclose(atoms.get_stress(), plain.get_stress(), atol=1e-12)
    else:
        with pytest.raises(PropertyNotImplementedError):
            atoms.get_stress()


@pytest.mark.parametrize("make", [crystal, molecule])
def test_turns_and_moves_with_the_structure(make) -> None:
    atoms, turned = biased(make()), biased(make())
    turned.positions += (0.3, -1.0, 2.0)
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    spin = Atoms("H3", np.eye(3))
    spin.rotate(40, (1, 2, 3))
    assert turned.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(turned.get_forces(), atoms.get_forces() @ spin.positions, atol=1e-7)
    np.testing.assert_allclose(atoms.get_forces().sum(0), 0, atol=1e-9)


def test_where_nothing_is_unknown() -> None:
    """A crystal at rest whose derivatives vanish, and labels learnt a hundred times over: finite and small."""
    atoms = biased(FRAMES[0].copy())
    assert np.isfinite(atoms.get_forces()).all()
    alone = biased(Atoms("Cu"))
    assert np.isfinite(alone.get_potential_energy())
    np.testing.assert_allclose(alone.get_forces(), 0, atol=1e-12)


def test_results_have_names_ase_knows() -> None:
    atoms = biased(crystal())
    atoms.get_forces()
    assert set(atoms.calc.results) <= set(all_properties)


@pytest.mark.parametrize("options", [{"tau": -1.0}, {"tau": float("nan")}, {"limit": 0.0}, {"limit": float("inf")}])
def test_nonsense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(KernpotError, match=next(iter(options))):
        BiasedCalculator(potential(), **options)


@pytest.mark.slow
def test_finds_the_unknown_sooner() -> None:
    """From a structure learnt, biased dynamics reaches a std of 0.1 eV in fewer steps, at the same temperature."""

    def steps(tau: float, seed: int) -> int:
        atoms = biased(FRAMES[4].copy(), tau, 3.0)
        rng = np.random.default_rng(seed)
        thermal = np.sqrt(300 * units.kB * atoms.get_masses())[:, None]
        atoms.set_momenta(thermal * rng.normal(size=(len(atoms), 3)))
        dynamics = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.02, fixcm=False, rng=rng)
        assert potential().energy_std(atoms).std < 0.02
        for step in range(200):
            if potential().energy_std(atoms).std > 0.1:
                return step
            dynamics.run(1)
        return 200

    plain, driven = (np.mean([steps(tau, seed) for seed in range(6)]) for tau in (0.0, 100.0))
    assert plain < 200
    assert driven < 0.8 * plain
