"""The search for hyperparameters does not end at a model that explains nothing, and says so when nothing can be."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot import SparseGPPotential
from kernpot.errors import KernpotError, KernpotWarning
from kernpot.regression.evidence import maximize_evidence
from kernpot.regression.factor import LabelFactor
from kernpot.regression.search import constant_log_evidence, search_hyperparameters

MANY = pytest.mark.filterwarnings("ignore::kernpot.errors.InducingWarning")


def labelled(atoms):
    atoms = atoms.copy()
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def rattled_copper(n):
    g = np.random.default_rng(0)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + g.normal(0, 0.02, (3, 3))), scale_atoms=True)
        atoms.positions += g.normal(0, 0.1, atoms.positions.shape)
        frames.append(labelled(atoms))
    return frames


def test_constant_evidence_is_that_of_a_gaussian_of_the_labels_own_size(rng):
    y = torch.from_numpy(rng.normal(size=40)) * 3
    factor = LabelFactor.empty(3, 1)
    factor.add(torch.from_numpy(rng.normal(size=(40, 3))), y, torch.full((40, 1), 5.0, dtype=torch.float64))
    normal = torch.distributions.Normal(0.0, y.square().mean().sqrt())
    assert constant_log_evidence({"energy": factor}) == pytest.approx(float(normal.log_prob(y).sum()), rel=1e-10)


def test_a_start_that_collapses_is_left_for_one_that_does_not():
    """Found by a tester: twelve copper cells, five inducing environments, noise started at 5 % of the labels."""
    gp = SparseGPPotential(n_inducing=5, random_state=0).fit(rattled_copper(12))
    noise = {"energy": 0.003, "forces": 0.05, "stress": 0.002}
    start, free = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.bool)
    once = maximize_evidence(gp.fitted_.factors, gp.fitted_.whitening.block, noise, set(), start, free)
    found, _ = search_hyperparameters(gp.fitted_.factors, gp.fitted_.whitening.block, noise, set(), start, free)
    assert found.log_evidence >= once.log_evidence
    assert found.log_evidence > constant_log_evidence(gp.fitted_.factors) + 100
    assert gp.score(rattled_copper(12)) > 0.9


@MANY
@pytest.mark.filterwarnings("ignore:.*occur a second time")
def test_perfect_crystals_keep_the_amplitude_and_warn():
    """Forces vanish by symmetry and all energies agree: nothing tells the amplitude."""
    with pytest.warns(KernpotWarning, match="explained no better than by a constant"):
        gp = SparseGPPotential(n_inducing=20, random_state=0).fit([labelled(bulk("Cu", cubic=True))] * 8)
    assert gp.kernels_[0].amplitude.item() == pytest.approx(1.0)
    p = gp.predict_full(rattled_copper(1))[0]
    assert 0.05 < float(p.energy.std) < 4.0
    assert 0.1 < p.forces.std.max() < 20.0
    assert all(m.factor <= 100 for m in gp.misfit_.values())


@MANY
@pytest.mark.filterwarnings("ignore:.*explained no better")
@pytest.mark.parametrize("repeat", [1, 2])
def test_the_energy_of_a_single_frame_is_kept(repeat):
    atoms = labelled(rattled_copper(1)[0] * (repeat, repeat, repeat))
    gp = SparseGPPotential(n_inducing=30, random_state=0).fit([atoms])
    assert gp.predict([atoms])[0] == pytest.approx(atoms.get_potential_energy(), abs=0.01 * len(atoms))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"inducing": 3}, "inducing must be one of"),
        ({"inducing": bulk("Cu")}, r"list of structures such as \[atoms\]"),
        ({"inducing": []}, "non-empty list"),
        ({"isolated_atoms": {"Cu": "a"}}, r"isolated_atoms: Cu has 'a', expected a finite energy in eV"),
        ({"isolated_atoms": [1.0]}, "isolated_atoms must map"),
        ({"progress": 1}, "progress must be"),
        ({"n_jobs": 0}, "n_jobs must be"),
        ({"n_jobs": "a"}, "n_jobs must be"),
        ({"n_inducing": True}, "n_inducing must be"),
        ({"noise": {"forces": 1e-300}}, "noise: forces must lie between"),
        ({"noise": {"energy": 1e200}}, "noise: energy must lie between"),
    ],
)
def test_settings_are_refused_before_work(parameters, message):
    with pytest.raises(KernpotError, match=message):
        SparseGPPotential(**parameters).fit(rattled_copper(2))
