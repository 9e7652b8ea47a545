"""Neighbour pairs against ASE's neighbour list, and their reuse."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list

from kernpot.errors import StructureError
from kernpot.structures import NeighbourList, Pairs, find_pairs
from kernpot.structures.checks import check_atoms

PBC = [(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)]


def pair_set(centres, neighbours, shifts) -> set[tuple[int, ...]]:
    return set(map(tuple, np.column_stack([centres, neighbours, shifts]).tolist()))


def assert_same_as_ase(pairs: Pairs, atoms: Atoms, cutoff: float) -> None:
    i, j, shifts, vectors = neighbor_list("ijSD", atoms, cutoff)
    assert len(pairs) == len(i)
    assert pair_set(pairs.centres, pairs.neighbours, pairs.shifts) == pair_set(i, j, shifts)
    expected = atoms.positions[pairs.neighbours] - atoms.positions[pairs.centres] + pairs.shifts @ atoms.cell.array
    np.testing.assert_allclose(pairs.vectors, expected, atol=1e-10)
    np.testing.assert_allclose(
        np.sort(np.linalg.norm(pairs.vectors, axis=1)), np.sort(np.linalg.norm(vectors, axis=1)), atol=1e-10
    )
    assert np.all(np.diff(pairs.centres) >= 0)
    assert pairs.centres.dtype == pairs.neighbours.dtype == pairs.shifts.dtype == np.int64
    assert pairs.vectors.dtype == np.float64


def random_atoms(rng: np.random.Generator, pbc: tuple[bool, ...], shape: str) -> Atoms:
    """Up to nine atoms, unwrapped, in a cell that may be tiny, skewed, left-handed, or lack its open vectors."""
    while True:
        if shape == "skewed":
            cell = np.diag(rng.uniform(1.5, 5, 3)) + np.tril(rng.uniform(-9, 9, (3, 3)), -1)
        else:
            cell = rng.normal(size=(3, 3)) * rng.uniform(2, 7)
        if abs(np.linalg.det(cell)) > 4:
            break
    n_atoms = int(rng.integers(1, 10))
    positions = rng.uniform(-1.5, 2.5, (n_atoms, 3)) @ cell
    if shape == "open vectors zero":
        cell[~np.array(pbc)] = 0
        positions = rng.uniform(-4, 8, (n_atoms, 3))
    return Atoms(f"Si{n_atoms}", positions, cell=cell, pbc=pbc)


@pytest.mark.parametrize("shape", ["any", "skewed", "open vectors zero"])
@pytest.mark.parametrize("pbc", PBC)
def test_random_cells_match_ase(rng, pbc, shape):
    for _ in range(12):
        atoms = random_atoms(rng, pbc, shape)
        cutoff = rng.uniform(0.5, 5.5)
        assert_same_as_ase(find_pairs(atoms, cutoff), atoms, cutoff)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si"),
        bulk("Si").repeat((1, 1, 4)),
        fcc111("Cu", (2, 2, 3), vacuum=8.0),
        fcc111("Cu", (1, 1, 2)),
        molecule("CH3CH2OH"),
        Atoms("Au", cell=[0, 0, 2.6], pbc=(False, False, True)),
        Atoms("H", positions=[[100.0, -50.0, 3.0]]),
    ],
    ids=["primitive", "rod of primitive cells", "slab", "slab without vacuum", "molecule", "wire", "single atom"],
)
def test_materials_match_ase(atoms):
    assert_same_as_ase(find_pairs(atoms, 6.0), atoms, 6.0)


def test_open_direction_may_have_a_vector_parallel_to_a_periodic_one():
    slab = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.0]], cell=[[2.5, 0, 0], [0, 2.5, 0], [2.5, 0, 0]], pbc=(True, True, False))
    reference = slab.copy()
    reference.cell[2] = [0, 0, 50]
    neighbours = NeighbourList(4.0)
    neighbours.update(slab)
    assert_same_pairs(neighbours.update(slab), find_pairs(slab, 4.0))
    pairs, expected = find_pairs(slab, 4.0), find_pairs(reference, 4.0)
    assert pair_set(pairs.centres, pairs.neighbours, pairs.shifts) == pair_set(
        expected.centres, expected.neighbours, expected.shifts
    )


def test_coincident_atoms_are_neighbours_of_each_other():
    atoms = Atoms("Si3", [[1, 1, 1], [1, 1, 1], [3, 1, 1]], cell=[8, 8, 8], pbc=True)
    pairs = find_pairs(atoms, 1.0)
    assert pair_set(pairs.centres, pairs.neighbours, pairs.shifts) == {(0, 1, 0, 0, 0), (1, 0, 0, 0, 0)}
    assert np.all(pairs.vectors == 0)


def test_atom_sees_its_images_but_not_itself():
    pairs = find_pairs(Atoms("Po", cell=[3.3, 3.3, 3.3], pbc=True), 3.4)
    assert len(pairs) == 6
    assert not np.any(np.all(pairs.shifts == 0, axis=1))


def test_every_pair_has_its_exact_mirror_even_at_the_cutoff():
    """A shell exactly at the cutoff is in or out as a whole, atom by atom, whatever rounding does."""
    atoms = bulk("Si", cubic=True).repeat(2)
    atoms.positions += 0.1234567
    first_shell = 5.43 * np.sqrt(3) / 4
    pairs = find_pairs(atoms, first_shell)
    there = {(*row, *vector) for row, vector in zip(_rows(pairs), (pairs.vectors + 0.0).tolist(), strict=True)}
    back = {
        (j, i, -a, -b, -c, *vector)
        for (i, j, a, b, c), vector in zip(_rows(pairs), (-pairs.vectors + 0.0).tolist(), strict=True)
    }
    assert there == back


def _rows(pairs: Pairs) -> list[list[int]]:
    return np.column_stack([pairs.centres, pairs.neighbours, pairs.shifts]).tolist()


def test_order_is_reproducible_and_input_untouched(rng):
    atoms = Atoms("Si30", rng.uniform(-10, 20, (30, 3)), cell=[7, 8, 9], pbc=True)
    before = atoms.copy()
    first, second = find_pairs(atoms, 5.0), find_pairs(atoms.copy(), 5.0)
    np.testing.assert_array_equal(first.neighbours, second.neighbours)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert _rows(first) == sorted(_rows(first))
    assert atoms == before


def test_bad_cutoff_and_geometry_are_refused():
    atoms = bulk("Si")
    for cutoff in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="cutoff must be a positive distance"):
            find_pairs(atoms, cutoff)
    with pytest.raises(ValueError, match="skin must be a distance >= 0"):
        NeighbourList(5.0, skin=-0.1)
    atoms.positions[0, 0] = np.nan
    with pytest.raises(StructureError, match="atom 0 has position"):
        find_pairs(atoms, 5.0)
    with pytest.raises(StructureError, match="atom 0 has position"):
        NeighbourList(5.0).update(atoms)


APART = [
    (Atoms("Cu3", [[0, 0, 0], [0, 0, 2], [0, 0, 1e7]]), "atom 2 at"),
    (Atoms("Cu3", [[0, 0, 0], [0, 0, 2], [-1e300, 0, 0]]), "atom 2 at"),
    (Atoms("Cu3", [[0, -2e5, 0], [0, 0, 2], [0, 0, 4]], cell=[9, 0, 0], pbc=(1, 0, 0)), "atom 0 at"),
    (Atoms("Cu3", [[0, 0, 0], [0, 0, 1e9], [0, 0, 2]], cell=[9] * 3, pbc=(1, 1, 0)), "atom 1 at"),
    (Atoms("Cu3", [[0, 0, 0], [0, 0, 1e9], [0, 0, 2]], cell=[9] * 3, pbc=True), "atom 1 at"),
    (Atoms("Cu3", [[0, 0, 0], [0, 0, -1e9], [0, 0, 2]], cell=[9] * 3, pbc=True), "atom 1 at"),
]


@pytest.mark.parametrize(("atoms", "message"), APART)
def test_structures_that_came_apart_are_refused(atoms, message):
    """Inside vesin these end the process, or give wrong shifts."""
    for search in (
        lambda a: find_pairs(a, 5.0),
        NeighbourList(5.0).update,
        lambda a: check_atoms(a, "neighbour search"),
    ):
        with pytest.raises(StructureError, match=f"neighbour search: {message} .*come apart"):
            search(atoms)


@pytest.mark.parametrize("cutoff", [0.1, 2.5, 5.0])
@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        ([9, 11, 9999], (1, 1, 0)),
        pytest.param([9, 11, 99999], (1, 1, 0), marks=pytest.mark.slow),  # seconds each, as boxes are many and empty
        ([9, 11, 1e6], (1, 1, 1)),
        ([9, 2000, 3e5], (1, 1, 1)),
        ([1e6, 1e6, 1e6], (1, 1, 1)),
        ([9, 99999, 99999], (1, 0, 0)),
        ([3, 99999, 99999], (0, 0, 0)),
        ([1, 1, 99999], (0, 0, 0)),
    ],
)
def test_long_and_flat_boxes_are_searched(cell, pbc, order, cutoff):
    """Without a larger search radius several of these end the process inside vesin."""
    cell, pbc = np.array(cell, dtype=float)[order], np.array(pbc, dtype=bool)[order]
    near = np.array([0.5 * min(cutoff, 1.0), 0, 0])[order]
    atoms = Atoms("Cu3", [np.zeros(3), near, np.where(pbc, cell / 2, cell)], cell=cell, pbc=pbc)
    pairs = find_pairs(atoms, cutoff)
    assert _rows(pairs) == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_unwrapped_positions_far_outside_the_cell_are_found(rng):
    atoms = random_atoms(rng, (True, True, True), "open vectors zero")
    far = atoms.copy()
    far.positions[0] += 1_000 * far.cell.array[0]
    pairs, moved = find_pairs(atoms, 4.0), find_pairs(far, 4.0)
    assert len(pairs) == len(moved)
    np.testing.assert_allclose(np.sort(np.abs(moved.vectors).sum(1)), np.sort(np.abs(pairs.vectors).sum(1)), atol=1e-6)


def assert_same_pairs(a: Pairs, b: Pairs) -> None:
    assert _rows(a) == _rows(b)
    np.testing.assert_array_equal(a.vectors, b.vectors)


def test_list_with_skin_follows_a_trajectory(rng):
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.rattle(0.05, rng=rng)
    atoms.calc = EMT()
    atoms.set_momenta(rng.normal(scale=10.0, size=(len(atoms), 3)))
    neighbours = NeighbourList(4.0, skin=0.6)
    n_steps = 40
    for _ in range(n_steps):
        VelocityVerlet(atoms, 2 * units.fs).run(1)
        assert_same_pairs(neighbours.update(atoms), find_pairs(atoms, 4.0))
    assert 2 <= neighbours.n_builds < n_steps / 2


@pytest.mark.parametrize("pbc", PBC)
def test_list_with_skin_is_right_for_any_motion_and_strain(rng, pbc):
    """Steps of random size, strain and unwrapping, with many steps that reuse the pairs and many that cannot."""
    atoms = random_atoms(rng, pbc, "open vectors zero")
    neighbours = NeighbourList(4.0, skin=1.0)
    n_steps = 60
    for _ in range(n_steps):
        strain = rng.normal(scale=rng.choice([0.0, 0.005, 0.05]), size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=False)
        atoms.positions = atoms.positions @ (np.eye(3) + strain) + rng.normal(
            scale=rng.choice([0.01, 0.05, 0.5]), size=atoms.positions.shape
        )
        assert_same_pairs(neighbours.update(atoms), find_pairs(atoms, 4.0))
    assert 1 < neighbours.n_builds < n_steps


def test_pairs_of_the_first_atoms_only(rng):
    """As a process asks that owns some atoms and knows those around; the number of its own may change."""
    atoms = random_atoms(rng, (False, False, False), "open vectors zero")
    neighbours = NeighbourList(4.0, skin=1.0)
    for n in (3, 3, len(atoms) - 1, 0, len(atoms)):
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        whole, found = find_pairs(atoms, 4.0), neighbours.update(atoms, n)
        own = whole.centres < n
        for name in ("centres", "neighbours", "vectors"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[own])
    assert neighbours.n_builds == 4


def test_reuse_stops_at_half_the_skin():
    atoms = Atoms("Ar2", [[0, 0, 0], [5.4, 0, 0]])
    neighbours = NeighbourList(4.0, skin=1.0)
    neighbours.update(atoms)
    atoms.positions[1, 0] -= 0.49
    neighbours.update(atoms)
    assert neighbours.n_builds == 1
    atoms.positions[1, 0] -= 0.02
    neighbours.update(atoms)
    assert neighbours.n_builds == 2


def test_pure_strain_reuses_pairs_until_the_skin_is_used_up():
    """Scaling a crystal by 1 % moves far atoms by more than the skin, yet pairs inside stay complete."""
    atoms = bulk("Cu", cubic=True).repeat(8)
    neighbours = NeighbourList(4.0, skin=0.5)
    neighbours.update(atoms)
    for scale in (0.99, 0.88):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell.array * scale, scale_atoms=True)
        assert_same_pairs(neighbours.update(scaled), find_pairs(scaled, 4.0))
        assert neighbours.n_builds == (1 if scale == 0.99 else 2)


def test_affine_cell_change_with_fixed_positions_is_noticed():
    """Squeezing the cell without the atoms brings images inside the cutoff although no atom moves."""
    atoms = Atoms("Ar", cell=[6, 6, 6], pbc=True)
    neighbours = NeighbourList(4.0, skin=0.5)
    assert len(neighbours.update(atoms)) == 0
    atoms.set_cell([3.5, 6, 6], scale_atoms=False)
    assert len(neighbours.update(atoms)) == 2


@pytest.mark.parametrize("change", ["numbers", "pbc", "length"])
def test_other_atoms_force_a_new_search(change):
    atoms = Atoms("Ar2", [[0, 0, 0], [3, 0, 0]], cell=[6, 6, 1], pbc=True)
    neighbours = NeighbourList(3.5)
    neighbours.update(atoms)
    if change == "numbers":
        atoms.numbers[0] = 10
    elif change == "pbc":
        atoms.pbc = (True, True, False)
    else:
        atoms = atoms[:1]
    assert_same_pairs(neighbours.update(atoms), find_pairs(atoms, 3.5))
    assert neighbours.n_builds == 2


def test_changing_the_same_atoms_in_place_does_not_fool_the_list():
    atoms = Atoms("Ar2", [[0, 0, 0], [9, 0, 0]])
    neighbours = NeighbourList(4.0)
    assert len(neighbours.update(atoms)) == 0
    atoms.positions[1, 0] = 3.0
    assert len(neighbours.update(atoms)) == 2
