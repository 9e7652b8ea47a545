"""Dynamics: energy is conserved and nothing jumps where atoms cross the cutoff."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from kernpot import SOAPKernel, SparseGPPotential
from tests.helpers.systems import cluster, crystals, slab, soap

CUTOFF = 4.0


@pytest.fixture(scope="module")
def potential() -> SparseGPPotential:
    descriptor = soap(cutoff=CUTOFF, n_max=4, l_max=3, m=2)
    return SparseGPPotential(descriptor, n_inducing=40, random_state=0).fit([*crystals(15, seed=1), slab(), cluster()])


def total_energies(
    gp: SparseGPPotential, atoms: Atoms, temperature: float, step: float, n_steps: int
) -> NDArray[np.float64]:
    """Total energy per atom (eV) along an NVE run, after each step (fs)."""
    kicks = np.random.default_rng(0).normal(size=atoms.positions.shape)
    velocities = kicks * np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    atoms.set_velocities(velocities - velocities.mean(0))
    atoms.calc = gp.calculator()
    dynamics = VelocityVerlet(atoms, step * units.fs)
    energies = [atoms.get_total_energy()]
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(n_steps)
    return np.array(energies) / len(atoms)


def test_nve_conserves_energy(potential: SparseGPPotential) -> None:
    """Halving the time step quarters the fluctuation, Verlet being of second order: forces derive from the energy."""
    spread = [
        float(np.std(total_energies(potential, bulk("Cu", cubic=True), 600, step, int(200 / step)))) for step in (4, 2)
    ]
    assert spread[0] < 1e-3
    assert spread[0] / spread[1] == pytest.approx(4, rel=0.3)


def test_neighbour_list_is_reused(potential: SparseGPPotential) -> None:
    atoms = bulk("Cu", cubic=True)
    total_energies(potential, atoms, 300, 2, 40)
    assert atoms.calc.neighbour_list.n_builds < 10


@pytest.mark.slow
def test_nve_does_not_drift(potential: SparseGPPotential) -> None:
    """Eight atoms for 10 ps: less than 0.1 meV/atom between the first and the last tenth."""
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    energies = total_energies(potential, atoms, 600, 2, 5000)
    assert abs(energies[-500:].mean() - energies[:500].mean()) < 1e-4
    assert energies.std() < 2e-4


# ------------------------------------------------------------------ crossing the cutoff


def crystal_pair(distance: float) -> Atoms:
    """A bulk cell and a neighbour of its surface at a distance from one atom, in vacuum along z."""
    atoms = slab(seed=2)
    atoms.pbc = [True, True, False]
    top = atoms.positions[:, 2].argmax()
    return Atoms(
        [*atoms.numbers, 29],
        [*atoms.positions, atoms.positions[top] + [0, 0, distance]],
        cell=atoms.cell,
        pbc=atoms.pbc,
    )


def dimer(distance: float) -> Atoms:
    return Atoms("Cu2", [[0, 0, 0], [0, 0, distance]])


def chain(distance: float) -> Atoms:
    """Atoms whose periodic images cross the cutoff, all at once."""
    return Atoms("Cu", [[0, 0, 0]], cell=[distance, distance, distance], pbc=True)


ANSWERS: dict[str, Callable[[SparseGPPotential, Atoms], NDArray[np.float64]]] = {
    "energy": lambda gp, a: np.atleast_1d(gp.predict_full([a])[0].energy.mean),
    "energy std": lambda gp, a: np.atleast_1d(gp.predict_full([a])[0].energy.epistemic_std),
    "forces": lambda gp, a: gp.predict_full([a])[0].forces.mean,
    "forces std": lambda gp, a: gp.predict_full([a])[0].forces.epistemic_std,
}


@pytest.mark.parametrize("what", list(ANSWERS))
@pytest.mark.parametrize("structure", [dimer, crystal_pair, chain])
def test_nothing_jumps(potential: SparseGPPotential, structure: Callable[[float], Atoms], what: str) -> None:
    """With m = 2 the weight ends like (1 - x)^4: across the cutoff even forces change only as the step to the third."""

    def answer(distance: float) -> NDArray[np.float64]:
        return ANSWERS[what](potential, structure(distance))

    scale = max(float(np.abs(answer(0.9 * CUTOFF) - answer(CUTOFF)).max()), 1e-3)
    across = [float(np.abs(answer(CUTOFF - d) - answer(CUTOFF + d)).max()) for d in (1e-2, 1e-3)]
    assert across[0] < 1e-2 * scale + 1e-7
    assert across[1] < 1e-4 * scale + 1e-7


@pytest.mark.parametrize("structure", [dimer, crystal_pair])
def test_force_std_is_continuous_for_the_gentlest_weighting(structure: Callable[[float], Atoms]) -> None:
    """m = 1, the default: forces and their std are continuous, with a kink."""
    gp = SparseGPPotential(
        soap(cutoff=CUTOFF, m=1), n_inducing=20, random_state=0, kernel=SOAPKernel(2), optimize=False
    ).fit([*crystals(6), slab(), cluster()])
    near, far = (gp.predict_full([structure(CUTOFF + d)])[0].forces for d in (-1e-6, 1e-6))
    np.testing.assert_allclose(near.mean, far.mean, atol=1e-5)
    np.testing.assert_allclose(near.std, far.std, atol=1e-5)


def test_energy_is_the_integral_of_the_force(potential: SparseGPPotential) -> None:
    """Pulling an atom from deep inside the cutoff to beyond it costs the energy difference."""
    distances = np.linspace(2.2, CUTOFF + 0.2, 401)
    pulls = [potential.mean(dimer(d)).forces[1, 2] for d in distances]
    work = -float(np.trapezoid(pulls, distances))
    gain = potential.mean(dimer(distances[-1])).energy - potential.mean(dimer(distances[0])).energy
    assert work == pytest.approx(gain, rel=1e-4, abs=1e-5)
    assert abs(gain) > 0.05
