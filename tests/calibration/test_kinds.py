"""Kinds of labels that contradict one another, on labels of a linear model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.calibration.kinds import SHARP, EnergyRows, between_kinds
from kernpot.regression.factor import LabelFactor
from kernpot.structures.labels import label_structures

M, N = 6, 20


def findings(rng: np.random.Generator, noise: float = 0.0, offset: float = 0.0, **factors: float) -> list[str]:
    """Messages about energies (1), forces (6) and stress (6) of structures that weights explain up to noise."""
    truth = rng.normal(size=M)
    atoms = [Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]], cell=[9, 9, 9], pbc=True) for _ in range(N)]
    labelled = label_structures(atoms, [1.0] * N, [np.ones((2, 3))] * N, [np.ones(6)] * N)
    made = {}
    for kind, size in (("energy", 1), ("forces", 6), ("stress", 6)):
        rows = rng.normal(size=(N * size, M))
        y = factors.get(kind, 1.0) * (rows @ truth + noise * rng.normal(size=len(rows)))
        made[kind] = rows, y + (offset if kind == "energy" else 0.0)
    factor = {kind: LabelFactor.empty(M, 1) for kind in made}
    for kind, (rows, y) in made.items():
        factor[kind].add(*map(torch.from_numpy, (rows, y, np.square(rows).sum(1, keepdims=True))))
    energies = EnergyRows.of(labelled, range(N), torch.from_numpy(made["energy"][0]), made["energy"][1])
    sharp = {kind: SHARP * float(np.std(y)) for kind, (_, y) in made.items()}
    block, amplitude = torch.zeros(M, dtype=torch.int64), torch.full((1,), 10.0, dtype=torch.float64)
    return [found.message for found in between_kinds(labelled, energies, factor, block, amplitude, sharp)]


@pytest.mark.parametrize(("noise", "offset"), [(0.0, 0.0), (0.3, 0.0), (0.0, 40.0), (5.0, 0.0)])
def test_right_labels_are_silent(rng: np.random.Generator, noise: float, offset: float) -> None:
    """With noise, with energies up to a constant, and where nothing is explained."""
    assert findings(rng, noise, offset) == []


@pytest.mark.parametrize(
    ("factors", "start"),
    [
        ({"forces": -1.0}, "the forces of 20 structures"),
        ({"stress": 160.0}, "the stress of 20 structures"),
        ({"energy": 0.0368}, "the energies of 20 structures"),
    ],
)
def test_the_wrong_kind_is_named_with_its_factor(
    rng: np.random.Generator, factors: dict[str, float], start: str
) -> None:
    (message,) = findings(rng, 0.05, **factors)
    assert message.startswith(start)
    told = float(message.split("they are ")[1].split(" times")[0])
    assert told == pytest.approx(next(iter(factors.values())), rel=0.05)


def test_factors_within_what_a_model_may_miss_are_silent(rng: np.random.Generator) -> None:
    assert findings(rng, stress=1.4) == []
