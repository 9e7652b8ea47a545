"""Environments that move with an atom: their derivatives against finite differences, and that no other moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals import moved as module
from kernpot.functionals.moved import Moved, slices
from kernpot.functionals.state import DescribedStructure, Structure
from tests.helpers.soaps import central_difference, displaced, make_soap, random_atoms

ELEMENTS = (1, 8)


def small(**other) -> SOAPFeatures:
    return SOAPFeatures(make_soap("poly m=2", n_max=2, l_max=1, species=("H", "O"), **other))


def unit(features: SOAPFeatures, atoms: Atoms) -> np.ndarray:
    p = features(atoms)
    return p / np.linalg.norm(p, axis=1)[:, None]


def derivatives(described: DescribedStructure, atoms: slice) -> torch.Tensor:
    """Of the unit features of all environments (n, moving, 3, n_features): entries of one pair each, added up."""
    n, f = described.unit.shape
    out = torch.zeros((n, atoms.stop - atoms.start, 3, f), dtype=torch.float64)
    for element in ELEMENTS:
        target, centre, g = Moved(described, element, atoms).unit_derivatives()
        assert bool((described.numbers[centre] == element).all())
        assert torch.equal(target, target.sort().values)
        out.index_put_((centre, target), g, accumulate=True)
    return out


@pytest.mark.parametrize("compression", ["off", "mu2"])
@pytest.mark.parametrize("edge", [1.9, 3.5])  # atoms that see their own images, and atoms that do not see all others
def test_they_move_as_finite_differences_say_and_no_others_do(rng: np.random.Generator, edge, compression) -> None:
    features, atoms = small(compression=compression), random_atoms(rng, 4, species=("H", "O"), edge=edge)
    found = derivatives(Structure([features], atoms).described[0], slice(1, 4))
    for a in range(3):
        for x in range(3):
            move = np.zeros((4, 3))
            move[1 + a, x] = 1.0
            slope = central_difference(lambda t, m=move: unit(features, displaced(atoms, t * m)))
            np.testing.assert_allclose(found[:, a, x], slope, rtol=0, atol=1e-8)


def test_environments_do_not_move_when_all_atoms_move_alike(rng: np.random.Generator) -> None:
    described = Structure([small()], random_atoms(rng, 5, species=("H", "O"))).described[0]
    found = derivatives(described, slice(0, 5))
    np.testing.assert_allclose(found.sum(1), 0.0, rtol=0, atol=1e-12 * float(found.abs().max()))


@pytest.mark.parametrize("entries", [1, 30, 10**9])
def test_slices_are_all_atoms_once_and_bounded(rng: np.random.Generator, entries: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "_ENTRIES", entries)
    short = make_soap({"function": "poly", "r0": 1.5, "c": 1.0, "m": 2}, r_cut=1.5, species=("H", "O"))
    structure = Structure([SOAPFeatures(short), small()], random_atoms(rng, 6, species=("H", "O")))
    found = list(slices(structure.described))
    assert [a for here in found for a in range(here.start, here.stop)] == list(range(6))
    largest = torch.stack([d.target_counts() for d in structure.described]).amax(0) + 1
    for here in found:
        assert int(largest[here].sum()) <= entries + int(largest[here].max())
    assert {1: len(found) == 6, 30: 1 < len(found) < 6, 10**9: len(found) == 1}[entries]
