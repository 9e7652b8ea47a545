"""Structures are described once, while there is room for them, and never otherwise than anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals import descriptions as module
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import Structure
from tests.helpers.soaps import make_soap, random_atoms

N, ATOMS = 4, 3


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Places of the atoms that were described, in the order in which they were."""
    seen: list[int] = []

    def counted(descriptors, atoms):
        seen.append(atoms.info["place"])
        return Structure(descriptors, atoms)

    monkeypatch.setattr(module, "Structure", counted)
    return seen


def some(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, room: int) -> Descriptions:
    """With room for the features of so many structures, under two descriptors."""
    two = [SOAPFeatures(make_soap(n_max=1, l_max=k, species=("H", "O"))) for k in (0, 1)]
    monkeypatch.setattr(module, "_KEPT", room * ATOMS * sum(f.n_features for f in two))
    frames = [random_atoms(rng, ATOMS, species=("H", "O")) for _ in range(N)]
    for place, atoms in enumerate(frames):
        atoms.info["place"] = place
    return Descriptions(two, frames)


def test_they_are_those_of_the_atoms_whether_kept_or_not(rng, monkeypatch) -> None:
    found = some(rng, monkeypatch, 2)
    for _ in range(2):
        for k, atoms in enumerate(found.atoms):
            for mine, anew in zip(found[k].described, Structure(found.descriptors, atoms).described, strict=True):
                assert torch.equal(mine.unit, anew.unit)
    assert len(found) == N


def test_each_is_described_once_where_there_is_room(rng, monkeypatch, described: list[int]) -> None:
    found = some(rng, monkeypatch, N)
    for _ in range(3):
        for k in range(N):
            assert found[k] is found[k]
    assert [found.take(k) for k in range(N)] and described == list(range(N))


def test_those_beyond_the_room_are_described_when_they_are_asked_for(rng, monkeypatch, described: list[int]) -> None:
    found = some(rng, monkeypatch, 2)
    for _ in range(2):
        for k in range(N):
            assert found[k].n_atoms == ATOMS
    assert described == [0, 1, 2, 3, 2, 3]


def test_what_is_taken_makes_room_for_another(rng, monkeypatch, described: list[int]) -> None:
    found = some(rng, monkeypatch, 1)
    kept = found[0]
    assert found.take(0) is kept
    assert found[2] is found[2]
    assert found.take(3) is not found.take(3)  # no room was used, so none comes back
    assert found[1] is not found[1]
    assert described == [0, 2, 3, 3, 1, 1]
