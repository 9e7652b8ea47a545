"""Noise that a search begins with, and misfit of labels where no structure was left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.gp.learning.start import misfit_of, starting_noise
from kernpot.regression.factor import LabelFactor
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import label_structures
from kernpot.structures.noise import NoiseModel

ISOLATED = {1: -2.0, 8: 5.0}


def chains(rng: np.random.Generator, spread: float, n: int = 60, config_type: str = "") -> list[Atoms]:
    """Of up to six atoms: energies of so much per atom about one of 0.7 eV, and forces about nothing."""
    frames = []
    for k in range(n):
        size = 1 + k % 6
        atoms = Atoms(rng.choice(["H", "O"], size), 2.0 * np.arange(size)[:, None] * np.ones(3))
        own = sum(ISOLATED[z] for z in atoms.numbers) + size * (0.7 + spread * rng.normal())
        atoms.calc = SinglePointCalculator(atoms, energy=own, forces=3 * spread * rng.normal(size=(size, 3)))
        atoms.info["config_type"] = config_type
        frames.append(atoms)
    return frames


def factor(n_rows: int) -> LabelFactor:
    made = LabelFactor.empty(1, 1)
    ones = torch.ones((n_rows, 1), dtype=torch.float64)
    made.add(ones, ones[:, 0], ones)
    return made


def test_it_is_a_twentieth_of_the_spread_of_labels(rng: np.random.Generator) -> None:
    """Of energies per atom about their mean, once isolated atoms are taken away, and of forces about zero."""
    frames = chains(rng, 2.0)
    found = starting_noise(label_structures(frames), NoiseModel(), ISOLATED)
    per_atom = [(a.get_potential_energy() - sum(ISOLATED[z] for z in a.numbers)) / len(a) for a in frames]
    assert found["energy"] == pytest.approx(0.05 * np.std(per_atom), rel=1e-10)
    assert found["energy"] == pytest.approx(0.05 * 2.0, rel=0.3)
    forces = np.concatenate([a.get_forces().ravel() for a in frames])
    assert found["forces"] == pytest.approx(0.05 * np.sqrt(np.mean(forces**2)), rel=1e-10)
    assert set(found) == {"energy", "forces"}


def test_energies_known_up_to_a_constant_start_as_low_as_they_may(rng: np.random.Generator) -> None:
    found = starting_noise(label_structures(chains(rng, 0.0)), NoiseModel(), ISOLATED)
    assert found == {"energy": KINDS["energy"].start, "forces": KINDS["forces"].start}


def test_groups_have_the_spread_of_their_own_labels_unless_the_user_says(rng: np.random.Generator) -> None:
    plain, odd = chains(rng, 1.0), chains(rng, 10.0, config_type="odd")
    noise = NoiseModel(forces=0.3, config_type={"odd": {"energy": None, "forces": 0.7}})
    found = starting_noise(label_structures([*plain, *odd]), noise, ISOLATED)
    assert (found["forces"], found["forces[odd]"]) == (0.3, 0.7)
    for group, frames in (("energy", plain), ("energy[odd]", odd)):
        alone = starting_noise(label_structures(frames), NoiseModel(), ISOLATED)["energy"]
        assert found[group] == pytest.approx(alone, rel=1e-12)


def test_misfit_is_the_noise_of_a_kind_or_the_mean_square_of_its_groups() -> None:
    """Each label counts once; what was never seen has a stated guess."""
    factors = {"energy": factor(4), "energy[a]": factor(9), "forces[a]": factor(30), "forces[b]": factor(10)}
    noise = {"energy": 0.01, "energy[a]": 7.0, "forces[a]": 0.1, "forces[b]": 0.5}
    found = misfit_of(noise, factors)
    assert found["energy"].constant == 0.01
    assert found["forces"].constant == pytest.approx(np.sqrt((30 * 0.1**2 + 10 * 0.5**2) / 40))
    assert found["stress"].constant == KINDS["stress"].unseen
    assert all(misfit.factor == 0 for misfit in found.values())
