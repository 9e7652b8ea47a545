"""torch-sim with kernpot: its own validator, the numbers of the calculator, relaxations and dynamics of many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.errors import KernpotError, StructureError
from tests.engines.alloys import alloy, alloy_potential
from tests.helpers.systems import cluster, crystals, soap
from tests.nnp.small import estimator

ts = pytest.importorskip("torch_sim", reason="needs torch-sim: pip install 'kernpot[torch-sim]'")
from kernpot.engines.torch_sim import KernpotModel  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def potential() -> SparseGPPotential:
    return alloy_potential()


@pytest.fixture(scope="module")
def networks() -> NNPEnsemble:
    return estimator("Cu", "Au").fit([*crystals(9, symbols="Cu3Au"), cluster("Cu3Au")])


def state_of(structures: list[Atoms], dtype: torch.dtype = torch.float64):
    return ts.io.atoms_to_state(structures, CPU, dtype)


def different() -> list[Atoms]:
    """Several sizes and compositions; one cell smaller than the cutoff."""
    gold = alloy((1, 1, 2), seed=3)
    gold.numbers[:] = 79
    return [alloy((1, 1, 1), seed=1), alloy((2, 2, 1), seed=2), gold]


def test_the_public_validator_passes():
    from torch_sim.models.interface import validate_model_outputs

    frames = []
    for k, atoms in enumerate(crystals(8, symbols="Cu3Au")):
        frame = Atoms(np.where(atoms.numbers == 79, 26, 14), 1.45 * atoms.positions, cell=1.45 * atoms.cell, pbc=True)
        frame.rattle(0.05, seed=k)
        frame.calc = LennardJones(sigma=2.2, epsilon=0.1, rc=6.0)
        values = {"energy": frame.get_potential_energy(), "forces": frame.get_forces(), "stress": frame.get_stress()}
        frame.calc = SinglePointCalculator(frame, **values)
        frames.append(frame)
    gp = SparseGPPotential(descriptor=soap(["Si", "Fe"]), n_inducing=20, random_state=0).fit(frames)
    validate_model_outputs(KernpotModel(gp), CPU, torch.float64)


@pytest.mark.parametrize("backend", ["potential", "networks"])
def test_the_numbers_of_the_calculator(backend, request):
    fitted = request.getfixturevalue(backend)
    structures = different()
    found = KernpotModel(fitted)(state_of(structures))
    ends = np.cumsum([len(a) for a in structures])
    for k, atoms in enumerate(structures):
        expected = fitted.mean(atoms)
        assert float(found["energy"][k]) == pytest.approx(expected.energy, abs=1e-9)
        np.testing.assert_allclose(found["forces"][ends[k] - len(atoms) : ends[k]], expected.forces, rtol=0, atol=1e-9)
        voigt = found["stress"][k].numpy()[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        np.testing.assert_allclose(voigt, expected.stress, rtol=0, atol=1e-9)


def test_molecules_have_no_stress(potential):
    structures = [cluster("Cu3Au", 5), cluster("Cu2Au2", 6)]
    found = KernpotModel(potential)(state_of(structures))
    for k, atoms in enumerate(structures):
        expected = potential.mean(atoms)
        assert float(found["energy"][k]) == pytest.approx(expected.energy, abs=1e-9)
        np.testing.assert_allclose(found["forces"][4 * k : 4 * k + 4], expected.forces, rtol=0, atol=1e-9)
    assert found["stress"].isnan().all()


def test_pairs_stay_right_while_systems_move_leave_and_change_places(potential, rng):
    model, state = KernpotModel(potential), state_of(different())
    for change in ("move", "move", "leave", "swap", "strain"):
        if change == "move":
            state.positions = state.positions + torch.from_numpy(rng.normal(0, 0.05, (state.n_atoms, 3)))
        elif change == "leave":
            state = state[[0, 2]]
        elif change == "swap":
            state = state[[1, 0]]
        else:
            state.cell = 1.03 * state.cell
        expected = [potential.mean(atoms).energy for atoms in state.to_atoms()]
        np.testing.assert_allclose(model(state)["energy"], expected, rtol=0, atol=1e-9)


def test_relaxed_together_as_one_by_one(potential):
    """Positions and cells; the same energies as ASE's BFGS."""
    structures = [alloy((1, 1, 1), 0.05, 0.01, seed) for seed in range(4)]
    final = ts.optimize(
        structures,
        KernpotModel(potential),
        optimizer=ts.frechet_cell_fire,
        convergence_fn=ts.generate_force_convergence_fn(force_tol=1e-4, include_cell_forces=True),
        max_steps=2000,
        steps_between_swaps=20,
    )
    for atoms, energy in zip(structures, final.energy, strict=True):
        atoms.calc = potential.calculator()
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=500)
        assert float(energy) == pytest.approx(atoms.get_potential_energy(), abs=1e-5)


def test_dynamics_together_as_one_by_one(potential):
    """NVE from the momenta that torch-sim draws, followed by ASE one structure at a time."""
    model, structures = KernpotModel(potential), [alloy((2, 1, 1), 0.03, 0.01, seed) for seed in range(3)]
    dt, kT = (torch.tensor(x, dtype=torch.float64) for x in (1.0 * units.fs, 0.03))
    start, step = ts.nve(model, dt=dt, kT=kT)
    state = start(state_of(structures), kT=kT, seed=4)
    momenta = state.momenta.numpy().copy()
    total = []
    for _ in range(50):
        kinetic = ts.calc_kinetic_energy(momenta=state.momenta, masses=state.masses, system_idx=state.system_idx)
        total.append((state.energy + kinetic).numpy())
        state = step(state)
    assert np.ptp(np.array(total), axis=0).max() < 2e-3
    for k, atoms in enumerate(structures):
        atoms.set_momenta(momenta[8 * k : 8 * k + 8])
        atoms.calc = potential.calculator()
        VelocityVerlet(atoms, 1.0 * units.fs).run(50)
        # torch-sim wraps positions into the cell
        apart = (state.positions[8 * k : 8 * k + 8].numpy() - atoms.positions) @ np.linalg.inv(atoms.cell.array)
        np.testing.assert_allclose((apart - np.round(apart)) @ atoms.cell.array, 0, rtol=0, atol=1e-6)


def test_stds_of_forces(potential):
    structures = different()
    found = KernpotModel(potential).force_std(state_of(structures))
    expected = np.concatenate([p.forces.std for p in potential.predict_full(structures)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_it_does_not_do_is_refused(potential):
    model = KernpotModel(potential)
    with pytest.raises(KernpotError, match=r"double precision on the CPU, got torch\.float32"):
        model(state_of(different(), torch.float32))
    foreign = alloy((1, 1, 1))
    foreign.numbers[2] = 30
    with pytest.raises(StructureError, match=r"system 1: atomic numbers \[30\] were not in the fit"):
        model(state_of([alloy((1, 1, 1)), foreign]))
    lost = alloy((1, 1, 1))
    lost.positions[0] = np.nan
    with pytest.raises(StructureError, match="finite"):
        model(state_of([lost]))
