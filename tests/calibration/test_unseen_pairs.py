"""Atoms closer than any in the fit: what they make of energies, forces and stress, and when."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from kernpot.calibration.unseen_pairs import UnseenPairs, repulsion, unseen_pairs_data, unseen_pairs_from
from kernpot.errors import KernpotError
from kernpot.structures.neighbours import find_pairs

CUTOFF = 4.0
KNOWN = UnseenPairs({(29, 29): 2.45, (29, 79): 2.6}, CUTOFF)  # gold never met gold


def alloy() -> Atoms:
    atoms = bulk("Cu", cubic=True) * 2
    atoms.numbers[[3, 17, 18]] = 79
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.02, 0.0], [0.0, 0.98, 0.01], [0.0, 0.0, 1.01]], scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def unknown(atoms: Atoms):
    return KNOWN(atoms.numbers, find_pairs(atoms, CUTOFF))


def test_the_repulsion_is_that_of_the_universal_potential() -> None:
    """V(r) = Z1 Z2 e^2 phi(r / a) / r, with phi(0) = 1 and a = 0.8854 a_0 / (Z1^.23 + Z2^.23)."""
    r, h = np.array([0.5, 1.0, 2.0]), 1e-5
    energy, slope, curvature = repulsion(r, 29, 79)
    above, below = repulsion(r + h, 29, 79), repulsion(r - h, 29, 79)
    np.testing.assert_allclose(slope, (above[0] - below[0]) / (2 * h), rtol=1e-6)
    np.testing.assert_allclose(curvature, (above[1] - below[1]) / (2 * h), rtol=1e-6)
    near = np.array([1e-6])
    assert repulsion(near, 29, 79)[0][0] * 1e-6 == pytest.approx(29 * 79 * 14.399645, rel=1e-3)
    a = 0.8854 * 0.529177 / (29**0.23 + 79**0.23)
    x = r / a
    phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x)
    phi += 0.28022 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.20162 * x)
    np.testing.assert_allclose(energy, 29 * 79 * 14.399645 / r * phi, rtol=1e-3)


def test_forces_and_virial_are_the_slopes_of_energies() -> None:
    atoms, h = alloy(), 1e-5
    found = unknown(atoms)
    assert found.energies.shape == (3,)  # Cu-Cu, Cu-Au, Au-Au
    np.testing.assert_allclose(found.atomic.sum(1), found.energies)

    def energies(change) -> np.ndarray:
        moved = atoms.copy()
        change(moved)
        return unknown(moved).energies

    for atom, x in ((3, 0), (17, 1), (5, 2)):

        def shift(a: Atoms, by: float, atom: int = atom, x: int = x) -> None:
            a.positions[atom, x] += by

        slope = (energies(lambda a: shift(a, h)) - energies(lambda a: shift(a, -h))) / (2 * h)
        np.testing.assert_allclose(found.forces[:, atom, x], -slope, atol=1e-6)
    for v, (p, q) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):

        def strain(a: Atoms, by: float, p: int = p, q: int = q) -> None:
            e = np.zeros((3, 3))
            e[p, q] += by / 2
            e[q, p] += by / 2
            a.set_cell(a.cell.array @ (np.eye(3) + e), scale_atoms=True)

        slope = (energies(lambda a: strain(a, h)) - energies(lambda a: strain(a, -h))) / (2 * h)
        np.testing.assert_allclose(found.virial[:, v], slope, rtol=1e-5, atol=1e-6)


def test_nothing_is_unknown_of_what_was_seen_and_it_begins_smoothly() -> None:
    atoms = alloy()
    seen = UnseenPairs.of([atoms], CUTOFF)
    assert seen(atoms.numbers, find_pairs(atoms, CUTOFF)) is None
    assert set(seen.closest) == {(29, 29), (29, 79), (79, 79)}
    closest = min(seen.closest.values())
    assert closest == pytest.approx(np.linalg.norm(find_pairs(atoms, CUTOFF).vectors, axis=1).min())
    dimer = UnseenPairs({(29, 29): 2.0}, CUTOFF)
    at = [
        dimer(np.array([29, 29]), find_pairs(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0 - x]]), CUTOFF))
        for x in (0.001, 0.002, 0.004)
    ]
    energies = [float(u.energies[0]) for u in at]
    # Third order in what is missing to the closest distance.
    np.testing.assert_allclose(np.divide(energies[1:], energies[:-1]), 8.0, rtol=0.05)
    assert dimer(np.array([29, 29]), find_pairs(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]]), CUTOFF)) is None
    assert dimer(np.array([29]), find_pairs(Atoms("Cu"), CUTOFF)) is None


def test_symmetric_surroundings_leave_no_force() -> None:
    crystal = bulk("Cu", cubic=True)
    crystal.set_cell(crystal.cell.array * 0.85, scale_atoms=True)
    found = unknown(crystal)
    assert np.abs(found.forces).max() < 1e-10
    assert found.virial[0, 0] < -1.0  # it would expand


def test_what_two_fits_have_seen() -> None:
    one, other = UnseenPairs({(1, 1): 1.5, (1, 6): 1.0}, 4.0), UnseenPairs({(1, 1): 1.4, (6, 6): 1.3}, 4.0)
    assert one.merged(other) == UnseenPairs({(1, 1): 1.4, (1, 6): 1.0, (6, 6): 1.3}, 4.0)


def test_it_is_in_files() -> None:
    data = json.loads(json.dumps(unseen_pairs_data(KNOWN)))
    assert unseen_pairs_from(data) == KNOWN
    assert unseen_pairs_from(None) is None and unseen_pairs_data(None) is None
    forged = [{}, [["29", 29, 2.0]], [[29.0, 29, 2.0]], [[29, 29, 2.0], [29, 29, 2.1]], [[29, 29, 4.5]]]
    for wrong in (*forged, [[29, 29, 0.0]], [[79, 29, 2.0]], [[0, 29, 2.0]]):
        with pytest.raises((KernpotError, TypeError, ValueError)):
            unseen_pairs_from(data | {"closest": wrong})


def test_the_pair_that_is_furthest_below() -> None:
    atoms = Atoms("Cu2Au2", [[0, 0, 0], [0, 0, 2.4], [5, 0, 0], [5, 0, 1.0]])
    pair = KNOWN.closer(atoms.numbers, find_pairs(atoms, CUTOFF))
    assert set(pair.atoms) == {2, 3} and pair.elements == ("Au", "Au") and pair.closest is None
    assert str(pair).endswith("are 1 A apart, that never met in the fit")
    pair = KNOWN.closer(atoms.numbers[:2], find_pairs(atoms[:2], CUTOFF))
    assert pair.distance == pytest.approx(2.4) and pair.closest == 2.45
    assert str(pair) == "Cu 0 and Cu 1 are 2.4 A apart, the closest in the fit 2.45 A"
    apart = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.45]])
    assert KNOWN.closer(apart.numbers, find_pairs(apart, CUTOFF)) is None
    assert KNOWN.closer(apart.numbers[:1], find_pairs(apart[:1], CUTOFF)) is None


def test_an_image_of_itself() -> None:
    atoms = Atoms("Au", cell=[2.0, 9.0, 9.0], pbc=True)
    assert "Au 0 and its own image are 2 A apart" in str(KNOWN.closer(atoms.numbers, find_pairs(atoms, CUTOFF)))
