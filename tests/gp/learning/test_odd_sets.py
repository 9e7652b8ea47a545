"""Sets that are odd in one way: few energies among many forces, one frame unlike all others."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot import SparseGPPotential
from tests.helpers.systems import soap


def labelled(atoms: Atoms, kinds: tuple[str, ...]) -> Atoms:
    """With EMT's labels of these kinds."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if "stress" in kinds:
        found["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **{kind: found[kind] for kind in kinds})
    return atoms


def small(symbols: tuple[str, ...], n_inducing: int) -> SparseGPPotential:
    """Quickly fitted."""
    return SparseGPPotential(soap(list(symbols), cutoff=5.0, n_max=6, l_max=4), n_inducing, random_state=0)


def crystals(n: int, seed: int, symbol: str = "Cu") -> list[Atoms]:
    """Strained cells of eight displaced atoms."""
    rng = np.random.RandomState(seed)
    out = []
    for _ in range(n):
        atoms = bulk(symbol) * (2, 2, 2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.randn(3, 3)), scale_atoms=True)
        atoms.rattle(0.1, rng=rng)
        out.append(atoms)
    return out


pytestmark = pytest.mark.filterwarnings("ignore:no structure has stress")  # what is looked for shows without it


@pytest.mark.parametrize("symbols", [("Cu",), ("Cu", "Au")], ids=" and ".join)
def test_the_only_energy_of_a_composition_is_met(symbols: tuple[str, ...]) -> None:
    """It alone tells where energies begin: no less than a meV per atom is noise."""
    first, rest = [], []
    for symbol in symbols:
        one, *others = crystals(8, 1, symbol)
        first.append(labelled(one, ("energy", "forces")))
        rest += [labelled(a, ("forces",)) for a in others]
    gp = small(symbols, 20 * len(symbols)).fit(first + rest)
    errors = gp.predict(first) - [a.get_potential_energy() for a in first]
    assert np.abs(errors / 8).max() < 1e-3
    assert gp.noise_["energy"] <= 1e-3


@pytest.mark.slow
def test_one_dimer_among_crystals_does_not_widen_the_intervals_of_crystals() -> None:
    """With stress, which holds the mean: without it the dimer still spoils both."""
    every = ("energy", "forces", "stress")
    train = [labelled(Atoms("Cu"), every[:2]), *(labelled(a, every) for a in crystals(40, 0))]
    test = [labelled(a, every) for a in crystals(30, 5)]
    dimer = labelled(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]]), every[:2])

    def rms_std(frames: list[Atoms]) -> float:
        gp = SparseGPPotential(n_inducing=80, random_state=0).fit(frames)
        std = [float(p.energy.std) for p in gp.predict_full(test)]
        return float(np.sqrt(np.mean(np.square(std))))

    assert 1 / 2 < rms_std([*train, dimer]) / rms_std(train) < 2
