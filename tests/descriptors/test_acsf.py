"""DScribe's symmetry functions: the same numbers, their exact derivatives, where they are smooth, what is refused."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from dscribe.descriptors import ACSF, LMBTR
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from kernpot.descriptors import (
    ACSFFeatures,
    Features,
    SOAPFeatures,
    acsf,
    blocks,
    default_acsf,
    features_from_dict,
    features_of,
)
from kernpot.descriptors.compiled.triples import CompiledSymmetry
from kernpot.descriptors.serial import (
    acsf_from_dict,
    acsf_to_dict,
    soap_to_dict,
)
from kernpot.descriptors.triples import SymmetryEnvironments
from kernpot.errors import DescriptorError, NotSmoothError
from kernpot.functionals.state import Structure
from tests.helpers.soaps import R_CUT, SPECIES, LargestTensor, central_difference, displaced, make_soap, random_atoms

G2 = [[1.0, 0.0], [4.0, 1.7]]
G3 = [0.7, 2.3]
# Channels and angles shared and not, a power that is not whole, one that is zero, and lambdas within and beyond one.
G4 = [[0.1, 1, 1], [0.1, 4, -1], [0.03, 1.5, 1], [0.1, 0, 1], [0.0, 16, 0.5], [0.2, 3, -2.0], [0.1, 1, -1]]
G5 = [[0.1, 1, 1], [0.3, 2, -1], [0.1, 2.5, -1]]


def make_acsf(**changes: Any) -> ACSF:
    arguments = {
        "species": SPECIES,
        "r_cut": R_CUT,
        "g2_params": G2,
        "g3_params": G3,
        "g4_params": G4,
        "g5_params": G5,
        "periodic": True,
    }
    return ACSF(**(arguments | changes))


def plain(features: ACSFFeatures) -> ACSFFeatures:
    """The same descriptor without the compiled loops."""
    other = ACSFFeatures(features.acsf)
    other._compiled = None
    return other


def numbers_of(atoms: Atoms) -> torch.Tensor:
    return torch.from_numpy(atoms.numbers.astype(np.int64))


def assert_close(got: Any, expected: Any, tolerance: float = 1e-11) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def assert_same_as_dscribe(descriptor: ACSF, atoms: Atoms) -> None:
    """Every function by itself: those of two neighbours are often much smaller than those of one."""
    expected, features = descriptor.create(atoms), ACSFFeatures(descriptor)
    for got in (features(atoms), plain(features)(atoms)):
        assert got.shape == expected.shape == (len(atoms), features.n_features)
        assert got.dtype == np.float64
        assert (np.abs(got - expected) <= 1e-10 * np.abs(expected).max(0) + 1e-14).all()


# The features are DScribe's


@pytest.mark.parametrize("n_species", [1, 2, 4])
@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
def test_species_and_periodic_directions(rng, n_species, pbc):
    species = SPECIES[:n_species]
    atoms = random_atoms(rng, species=species, pbc=pbc)
    assert_same_as_dscribe(make_acsf(species=species[::-1]), atoms)
    assert np.abs(ACSFFeatures(make_acsf())(atoms)).max() > 0.1


@pytest.mark.parametrize("kinds", list(itertools.product([False, True], repeat=4)))
def test_any_set_of_functions(rng, kinds):
    every = {"g2_params": G2, "g3_params": G3, "g4_params": G4, "g5_params": G5}
    parameters = {name: every[name] if wanted else None for name, wanted in zip(every, kinds, strict=True)}
    assert_same_as_dscribe(make_acsf(**parameters), random_atoms(rng))


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("Si", cell=[2.0, 2.2, 2.4], pbc=True),
        Atoms("Si", positions=[[0.3, 0.1, 0.2]], cell=[[2, 0, 0], [0.7, 2.1, 0], [-0.4, 0.3, 1.9]], pbc=True),
        Atoms("Si", cell=[9, 9, 2.3], pbc=(False, False, True)),
        Atoms("Si", cell=[9, 9, 9], pbc=True),
        fcc111("Si", (1, 1, 3), a=4.0, vacuum=5.0),
        bulk("Si").repeat((1, 1, 3)),
        Atoms("Si"),
    ],
    ids=["one atom", "one atom, skewed", "wire", "isolated in a large cell", "slab", "rod", "isolated"],
)
def test_small_cells_wires_and_slabs(atoms):
    # whole powers: DScribe gives NaN for others where atoms are in line, as in a lattice
    g4, g5 = ([p for p in g if p[1] == round(p[1])] for g in (G4, G5))
    assert_same_as_dscribe(make_acsf(g4_params=g4, g5_params=g5), atoms)


def test_molecule_and_the_periodic_flag():
    for periodic in (False, True):
        assert_same_as_dscribe(make_acsf(species=("H", "C", "O"), periodic=periodic), molecule("CH3CH2OH"))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_atoms=st.integers(1, 6),
    n_species=st.integers(1, 4),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    eta=st.floats(0.0, 2.0),
    zeta=st.one_of(st.integers(0, 70), st.floats(0.0, 20.0)),
    lam=st.sampled_from([-1.0, 1.0, 0.3]),
    r_cut=st.floats(1.5, 5.0),
    skew=st.floats(0.0, 0.9),
)
def test_random_structures_and_settings(seed, n_atoms, n_species, pbc, eta, zeta, lam, r_cut, skew):
    species = SPECIES[:n_species]
    atoms = random_atoms(np.random.default_rng(seed), n_atoms, pbc, species, max(3.0, 0.7 * n_atoms), skew)
    angular = [[eta, zeta, lam], [eta, 2, -lam]]
    descriptor = make_acsf(species=species, r_cut=r_cut, g4_params=angular, g5_params=angular[::-1])
    expected = descriptor.create(atoms)
    if np.isnan(expected).any():  # an atom and two of its images are in line
        assert zeta != round(zeta)
        assert np.isfinite(ACSFFeatures(descriptor)(atoms)).all()
    else:
        assert_same_as_dscribe(descriptor, atoms)


# Where DScribe is at fault


def line(bend: float = 0.0) -> Atoms:
    """Three atoms in line, but for a displacement across it; rounding takes their cosine beyond one."""
    along, across = np.array([0.3, 0.5, 0.7]), np.array([0.7, 0.0, -0.3])
    return Atoms("SiOH", positions=np.array([0.1, 1.23, 3.37])[:, None] * along + [[0, 0, 0], bend * across, [0, 0, 0]])


@pytest.mark.parametrize("lam", [-1, 1])
def test_atoms_in_line_give_nan_in_dscribe_and_numbers_here(lam):
    descriptor = make_acsf(g4_params=[[0.01, 1.5, lam]], g5_params=None)
    features = ACSFFeatures(descriptor)
    expected, nearly = descriptor.create(line()), descriptor.create(line(1e-5))
    for got in (features(line()), plain(features)(line())):
        assert np.isfinite(got).all()
        known = np.isfinite(expected)
        np.testing.assert_allclose(got[known], expected[known], rtol=0, atol=1e-12)
        np.testing.assert_allclose(got, nearly, rtol=0, atol=1e-4)
    if lam == -1:
        assert np.isnan(expected).any(), "DScribe is mended: drop this case from the class's notes"


def test_images_are_the_same_atom_here_and_not_in_dscribe(rng):
    descriptor = make_acsf()
    atoms, features = random_atoms(rng), ACSFFeatures(make_acsf())
    moved = atoms.copy()
    moved.positions += 3 * rng.integers(1, 3, (len(atoms), 3)) * [[1], [-1], [1], [-1], [1]] @ atoms.cell.array
    assert_close(features(moved), features(atoms))
    assert np.abs(descriptor.create(moved) - descriptor.create(atoms)).max() > 0.1


def test_a_cutoff_changed_later_is_searched_here_and_not_in_dscribe(rng):
    atoms, descriptor = random_atoms(rng), make_acsf(r_cut=5.0, g4_params=G4[:2], g5_params=None)
    descriptor.r_cut = 3.0
    fresh = make_acsf(r_cut=3.0, g4_params=G4[:2], g5_params=None)
    assert_close(ACSFFeatures(descriptor)(atoms), fresh.create(atoms))
    assert np.abs(descriptor.create(atoms) - fresh.create(atoms)).max() > 0.1


# Derivatives


def assert_derivatives(features: ACSFFeatures, atoms: Atoms, rng: np.random.Generator) -> None:
    move, strain = rng.normal(size=(len(atoms), 3)) * 0.3, rng.normal(size=(3, 3)) * 0.1
    expected = central_difference(lambda t: features(displaced(atoms, t * move, t * strain)), 1e-5)
    got = features.jvp(atoms, positions=move, strain=strain)
    # differences across the cutoff, where second derivatives jump, are good to first order in the step
    assert (np.abs(got - expected) < 1e-5 * np.abs(expected).max(0) + 1e-9 * np.abs(expected).max()).all()
    cotangent = rng.normal(size=(len(atoms), features.n_features))
    to_positions, to_strain = features.vjp(atoms, cotangent)
    forward = cotangent * got
    assert abs(forward.sum() - (to_positions * move).sum() - (to_strain * strain).sum()) < 1e-12 * np.abs(forward).sum()


@pytest.mark.parametrize("pbc", [True, False, (True, True, False), (False, False, True)])
@pytest.mark.parametrize("species", [("Si",), SPECIES])
def test_products_are_the_derivatives(rng, pbc, species):
    features = ACSFFeatures(make_acsf(species=species))
    assert_derivatives(features, random_atoms(rng, species=species, pbc=pbc), rng)


def test_crystal_smaller_than_the_cutoff(rng):
    """Moving the only atom moves nothing; straining its lattice, where atoms are in line, does."""
    features = ACSFFeatures(make_acsf(species=("Si",)))
    atoms = Atoms("Si", cell=[[2, 0, 0], [0.7, 2.1, 0], [-0.4, 0.3, 1.9]], pbc=True)
    assert_derivatives(features, atoms, rng)
    positions, strain = features.vjp(atoms, rng.normal(size=(1, features.n_features)))
    assert np.abs(positions).max() < 1e-12 * np.abs(strain).max()


@pytest.mark.parametrize("species", [("Si",), SPECIES])
@pytest.mark.parametrize(
    "parameters", [{}, {"g5_params": None}, {"g4_params": None}, {"g4_params": None, "g5_params": None}]
)
def test_compiled_products_equal_plain_torch(rng, species, parameters):
    features = ACSFFeatures(make_acsf(species=species, **parameters))
    atoms = random_atoms(rng, species=species, pbc=(True, True, False))
    pairs = features.pairs(atoms)
    block, other = (f.environments(numbers_of(atoms), pairs, 1, 4) for f in (features, plain(features)))
    got, expected = block.environments, other.environments
    assert isinstance(got, CompiledSymmetry)
    assert isinstance(expected, SymmetryEnvironments)
    assert_close(got.features(), expected.features())
    cotangent = torch.from_numpy(rng.normal(size=(3, features.n_features)))
    assert_close(got.pull(cotangent), expected.pull(cotangent))
    tangents = torch.from_numpy(rng.normal(size=(len(block.vectors), 2, 3)))
    assert_close(got.push(tangents), expected.push(tangents))
    for slot in torch.unique(block.slots).tolist():
        chosen = torch.nonzero(block.slots == slot).squeeze(1)
        assert torch.equal(got.slot_features(slot), expected.slot_features(slot))
        assert_close(got.pair_tangent(chosen, slot), expected.pair_tangent(chosen, slot))


def test_single_pairs_move_only_the_features_of_their_species(rng):
    features, atoms = ACSFFeatures(make_acsf()), random_atoms(rng)
    numbers, pairs = numbers_of(atoms), features.pairs(atoms)
    block = features.environments(numbers, pairs)
    e = block.environments
    for pair in rng.choice(len(block.centres), 6, replace=False):
        centre, slot = block.centres[pair], int(block.slots[pair])
        for axis in range(3):

            def at(t: float, axis: int = axis, pair: int = pair, centre: int = int(centre)) -> np.ndarray:
                vectors = block.vectors.clone()
                vectors[pair, axis] += t
                start = CompiledSymmetry(features._compiled, len(atoms), block.centres, block.slots, vectors)
                return start.features()[centre].numpy()

            expected = central_difference(at, 1e-4)
            got = np.zeros(features.n_features)
            got[e.slot_features(slot)] = e.pair_tangent(torch.tensor([pair]), slot)[0, axis]
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_many_gradients_are_those_of_single_pulls(rng, monkeypatch):
    monkeypatch.setattr(blocks, "_TANGENT_PAIRS", 7)
    features, atoms = ACSFFeatures(make_acsf()), random_atoms(rng, 6)
    block = features.environments(numbers_of(atoms), features.pairs(atoms), 1, 5)
    v = torch.from_numpy(rng.normal(size=(4, blocks._MANY, features.n_features)))
    for k, found in enumerate(block.pull(v)):
        assert_close(found.values, block.environments.pull(v[:, k].contiguous()))


@pytest.mark.parametrize("size", [1, 5, 23])
def test_blocks_change_nothing(rng, monkeypatch, size):
    features = ACSFFeatures(make_acsf())
    atoms = random_atoms(rng, n_atoms=6, pbc=False, edge=4.0) + Atoms("O", positions=[[90, 0, 0]])
    cotangent, move = rng.normal(size=(7, features.n_features)), rng.normal(size=(7, 3))

    def everything() -> list[np.ndarray]:
        return [features(atoms), *features.vjp(atoms, cotangent), features.jvp(atoms, move, np.eye(3))]

    expected = everything()
    monkeypatch.setattr(acsf, "_BLOCK_PAIRS", size)
    assert len(list(features.blocks(numbers_of(atoms), features.pairs(atoms)))) > 1
    for got, want in zip(everything(), expected, strict=True):
        assert_close(got, want, 1e-13)


@pytest.mark.parametrize("compiled", [True, False])
def test_no_tensor_grows_faster_than_the_number_of_atoms(compiled):
    features = ACSFFeatures(make_acsf(species=("Si",), r_cut=3.0))
    features = features if compiled else plain(features)

    def largest(repeats: int) -> int:
        atoms = Atoms("Si", cell=[2.5] * 3, pbc=True).repeat((repeats, 3, 3))
        with LargestTensor() as seen:
            features.vjp(atoms, np.ones((len(atoms), features.n_features)))
            features.jvp(atoms, positions=np.ones((len(atoms), 3)))
        return seen.elements

    assert largest(24) <= 4.1 * largest(6)


def test_structures_and_their_labels_take_symmetry_functions(rng):
    """The derivatives that rows of forces and stress are made of."""
    features, atoms = ACSFFeatures(make_acsf()), random_atoms(rng, pbc=False)
    described = Structure([features], atoms).described[0]
    own = described.own_tangent
    h = 1e-5
    for a in range(3):
        moved = [displaced(atoms, s * h * np.eye(3)[a] * np.eye(len(atoms))[:, :1]) for s in (1, -1)]
        u = [Structure([features], m).described[0].unit[0] for m in moved]
        np.testing.assert_allclose(own[0, a], (u[0] - u[1]) / (2 * h), rtol=0, atol=1e-7)


# Smoothness


def test_functions_vanish_at_the_cutoff_like_the_square_of_the_distance_from_it():
    features = ACSFFeatures(make_acsf())
    assert features.smoothness == 1
    features.require_smooth()
    h = 1e-3

    def pair(r: float) -> Atoms:
        return Atoms("SiO", positions=[[0, 0, 0], [0, r, 0]])

    def closing(r: float) -> Atoms:
        """Two neighbours well within the cutoff, ``r`` from each other."""
        return Atoms("SiOH", positions=[[0, 0, 0], [r / 2, 1.5, 0], [-r / 2, 1.5, 0]])

    assert not features(pair(R_CUT + 1e-9)).any()
    g4_only = ACSFFeatures(make_acsf(g2_params=None, g3_params=None, g5_params=None, g4_params=G4[:2]))
    for f, make, rows in ((features, pair, [0, 1]), (g4_only, closing, [0])):
        columns = slice(None) if f is features else slice(f._functions.n_radial * 4, None)
        value = [np.abs(f(make(R_CUT - k * h))[rows, columns]).max() for k in (1, 2)]
        move = np.zeros((len(make(1.0)), 3))
        move[1] = make(1.0).positions[1] - make(0.0).positions[1]
        slope = [np.abs(f.jvp(make(R_CUT - k * h), move)[rows, columns]).max() for k in (1, 2)]
        assert np.log2(value[1] / value[0]) == pytest.approx(2, abs=0.02)
        assert np.log2(slope[1] / slope[0]) == pytest.approx(1, abs=0.02)
        assert not f(make(R_CUT + 1e-9))[rows, columns].any()


@pytest.mark.parametrize("zeta", [0.75, 1, 1.5, 2, 16])
@pytest.mark.parametrize("lam", [-1, 1])
def test_derivatives_are_right_where_atoms_are_in_line(rng, zeta, lam):
    features = ACSFFeatures(make_acsf(g4_params=[[0.01, zeta, lam]], g5_params=[[0.01, zeta, lam]]))
    features.require_smooth()
    atoms, move = line(), rng.normal(size=(3, 3))
    near, far = (
        (features(displaced(atoms, t * move)) - features(displaced(atoms, -t * move))) / (2 * t) for t in (1e-6, 1e-3)
    )
    for f in (features, plain(features)):
        got = f.jvp(atoms, positions=move)
        assert np.isfinite(got).all()
        # b^(3/4) bends like the distance from the line to the power 3/2, the same on both sides
        np.testing.assert_allclose(got, near, rtol=0, atol=1e-7)
    np.testing.assert_allclose(near, far, rtol=0, atol=1e-2)


def test_powers_of_one_half_and_less_have_a_kink_and_are_refused():
    def slope(zeta: float, lam: float, bend: float) -> float:
        features = ACSFFeatures(make_acsf(g2_params=None, g3_params=None, g4_params=None, g5_params=[[0, zeta, lam]]))
        move = line(1.0).positions - line().positions
        return float(np.abs(features.jvp(line(bend), move)[:, features._functions.n_radial * 4 :]).max())

    assert slope(0.5, -1, 1e-6) > 0.9 * slope(0.5, -1, 1e-3)
    assert slope(0.75, -1, 1e-6) < 0.1 * slope(0.75, -1, 1e-3)
    for zeta, lam, expected in (
        (0.5, -1, 0),
        (0.1, 1, 0),
        (0.51, 1, 1),
        (0.5, 0.9, 1),
        (0, 1, 1),
        (1, -1, 1),
        (7.5, 1, 1),
    ):
        for kind in ("g4_params", "g5_params"):
            features = ACSFFeatures(make_acsf(**{kind: [[0.1, zeta, lam]]}))
            assert features.smoothness == expected
            if expected < 1:
                with pytest.raises(NotSmoothError, match="three atoms are in line"):
                    features.require_smooth()


def test_the_line_of_the_message_makes_a_descriptor_that_is_accepted():
    refused = make_acsf(g4_params=[*G4, [0.1, 0.5, 1]], g5_params=None, periodic=False)
    with pytest.raises(NotSmoothError) as caught:
        ACSFFeatures(refused).require_smooth()
    namespace: dict[str, Any] = {"ACSF": ACSF}
    exec(str(caught.value).splitlines()[1].strip(), namespace)
    features = ACSFFeatures(namespace["acsf"])
    features.require_smooth()
    assert features.acsf.g4_params == [*G4, [0.1, 1, 1]]
    assert features.acsf.g2_params == G2
    assert not features.acsf.periodic
    assert features.n_features == refused.get_number_of_features()


# Symmetries


def test_rotation_reflection_and_translation(rng):
    features, atoms = ACSFFeatures(make_acsf()), random_atoms(rng)
    cotangent = rng.normal(size=(len(atoms), features.n_features))
    positions, strain = features.vjp(atoms, cotangent)
    assert_close(strain, strain.T)
    assert np.abs(positions.sum(0)).max() < 1e-10 * np.abs(positions).max()
    for matrix in (Rotation.random(random_state=3).as_matrix(), -np.eye(3)):
        turned = atoms.copy()
        turned.set_cell(atoms.cell.array @ matrix.T)
        turned.positions = (atoms.positions + np.array([0.4, -7.3, 11.1])) @ matrix.T
        assert_close(features(turned), features(atoms))
        positions_turned, strain_turned = features.vjp(turned, cotangent)
        assert_close(positions_turned, positions @ matrix.T)
        assert_close(strain_turned, matrix @ strain @ matrix.T)


def test_permutation_supercell_and_choice_of_cell(rng):
    features, atoms = ACSFFeatures(make_acsf()), random_atoms(rng)
    order = rng.permutation(len(atoms))
    assert_close(features(atoms[order]), features(atoms)[order])
    assert_close(features(atoms.repeat((2, 1, 1))), np.tile(features(atoms), (2, 1)))
    other = atoms.copy()
    other.set_cell(np.array([[1, 0, 0], [2, 1, 0], [-1, 3, 1]]) @ atoms.cell.array)
    assert_close(features(other), features(atoms))
    wire = Atoms("SiO", [[0, 0, 0], [1.2, 0.4, 1.0]], cell=[0, 0, 2.6], pbc=(False, False, True))
    padded = wire.copy()
    padded.set_cell([20, 20, 2.6])
    np.testing.assert_array_equal(features(wire), features(padded))


# Refusals


def test_what_is_not_an_acsf():
    with pytest.raises(DescriptorError, match=r"expected a dscribe.descriptors.ACSF, got SOAP"):
        ACSFFeatures(make_soap())


@pytest.mark.parametrize(("zeta", "lam"), [(-1, 1), (-0.5, -2), (1.5, 1.2)])
@pytest.mark.parametrize("kind", ["G4", "G5"])
def test_parameters_that_are_not_finite_for_every_angle(zeta, lam, kind):
    with pytest.raises(DescriptorError, match=rf"zeta={zeta:g}, lambda={lam:g} in a {kind}: .* Use lambda=1 or -1"):
        ACSFFeatures(make_acsf(**{f"{kind.lower()}_params": [[0.1, 1, 1], [0.1, zeta, lam]]}))


def test_structures_that_are_refused():
    features = ACSFFeatures(make_acsf(species=("H", "Si"), periodic=False))
    for atoms, message in (
        (Atoms("HO", positions=np.eye(3)[:2]), r"\['O'\] are not among the descriptor's \['H', 'Si'\]"),
        (Atoms("Si", cell=[4] * 3, pbc=(True, False, False)), r"Write ACSF\(..., periodic=True\)"),
        (Atoms(), "at least one atom"),
        (Atoms("SiHSi", positions=[[0, 0, 0], [1, 1, 1], [1, 1, 1]]), "atoms 1 and 2 at the same place"),
    ):
        zeros = np.zeros((len(atoms), features.n_features))
        for call in (features, lambda a, z=zeros: features.vjp(a, z), features.jvp):
            with pytest.raises(DescriptorError, match=message):
                call(atoms)
    with pytest.raises(DescriptorError, match=r"cotangent of shape \(1, "):
        features.vjp(Atoms("H"), np.zeros((2, features.n_features)))


def test_coincident_atoms_have_functions_of_one_neighbour():
    descriptor = make_acsf(g4_params=None, g5_params=None)
    atoms = Atoms("SiSiO", positions=[[0, 0, 0], [0, 0, 0], [1.1, 0.7, 0.4]])
    assert_same_as_dscribe(descriptor, atoms)
    for features in (ACSFFeatures(descriptor), plain(ACSFFeatures(descriptor))):
        assert np.isfinite(features.jvp(atoms, positions=np.ones((3, 3)), strain=np.eye(3))).all()


def test_isolated_atoms_have_no_features_and_no_forces(rng):
    features = ACSFFeatures(make_acsf())
    atoms = Atoms("SiO", positions=[[0, 0, 0], [20, 0, 0]])
    assert not features(atoms).any()
    for got in (*features.vjp(atoms, rng.normal(size=(2, features.n_features))), features.jvp(atoms, np.ones((2, 3)))):
        assert not got.any()


# Twins, plain data, defaults


def test_every_descriptor_has_its_twin():
    soap, symmetry = make_soap(), make_acsf()
    of_soap: Features = features_of(soap)
    of_acsf: Features = features_of(symmetry)
    assert isinstance(of_soap, SOAPFeatures) and of_soap.soap is soap
    assert isinstance(of_acsf, ACSFFeatures) and of_acsf.acsf is symmetry
    assert of_soap.descriptor is soap and of_acsf.descriptor is symmetry
    other = LMBTR(
        species=["H"],
        geometry={"function": "distance"},
        grid={"min": 0, "max": 5, "n": 10, "sigma": 0.1},
        weighting={"function": "exp", "scale": 0.5, "threshold": 1e-3},
    )
    with pytest.raises(DescriptorError, match=r"SOAP or ACSF, got LMBTR"):
        features_of(other)


@pytest.mark.parametrize("changes", [{}, {"g3_params": None, "g5_params": None}, {"species": np.array([14, 8, 1])}])
def test_through_json(rng, changes):
    descriptor = make_acsf(**changes)
    again = acsf_from_dict(json.loads(json.dumps(acsf_to_dict(descriptor))))
    atoms = random_atoms(rng, species=("H", "O", "Si"))
    np.testing.assert_array_equal(ACSFFeatures(again)(atoms), ACSFFeatures(descriptor)(atoms))
    np.testing.assert_array_equal(again.create(atoms), descriptor.create(atoms))
    assert acsf_to_dict(again) == acsf_to_dict(descriptor)


def test_either_descriptor_through_json():
    for descriptor in (make_soap(), make_acsf()):
        data = json.loads(json.dumps(features_of(descriptor).to_dict()))
        again = features_from_dict(data)
        assert type(again.descriptor) is type(descriptor)
        assert again.to_dict() == data
    # as model files had them before there was a choice
    written = soap_to_dict(make_soap())
    assert "kind" not in written
    assert features_from_dict(written).to_dict() == written
    with pytest.raises(DescriptorError, match=r"kind 'mtp', known are acsf, .*upgrade kernpot"):
        features_from_dict({"kind": "mtp"})
    with pytest.raises(DescriptorError, match="got dict"):
        features_of({})


def test_features_go_to_other_processes(rng):
    features, atoms = ACSFFeatures(make_acsf()), random_atoms(rng)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(features))(atoms), features(atoms))


@pytest.mark.parametrize("species", [[14], [1, 6, 8], [55], [41, 42, 73, 74, 28, 46]])
def test_default(species):
    features = ACSFFeatures(default_acsf([*species, *species[:1]]))
    features.require_smooth()
    n = len(species)
    assert features.species == tuple(sorted(species))
    assert features.n_features == n * 9 + n * (n + 1) // 2 * 18
    assert 4.5 <= features.cutoff <= 6.0
    with pytest.raises(DescriptorError, match="at least one element"):
        default_acsf([])


def test_default_resolves_displacements(rng):
    atoms = bulk("Si", cubic=True)
    atoms.positions += rng.normal(scale=0.1, size=(8, 3))
    features = ACSFFeatures(default_acsf([14]))
    assert_same_as_dscribe(features.acsf, atoms)
    # every function of the set varies, and their changes are independent enough to tell 27 directions apart
    found = np.concatenate([features(displaced(atoms, rng.normal(scale=0.1, size=(8, 3)))) for _ in range(8)])
    spread = found.std(0)
    assert (spread > 1e-6).all()
    assert np.linalg.matrix_rank((found - found.mean(0)) / spread, tol=1e-6) == features.n_features


def test_without_compilation_everything_still_works(tmp_path):
    """numba's own switch leaves a package of plain torch and Python; the numbers stay."""
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from ase.build import molecule\n"
        "from kernpot.compilation import COMPILED\n"
        "from kernpot.descriptors import default_acsf, features_from_dict, features_of\n"
        "features = features_of(default_acsf([1, 8]))\n"
        "p = features(molecule('H2O'))\n"
        "f, _ = features.vjp(molecule('H2O'), np.ones_like(p))\n"
        "print(COMPILED, features._compiled is None, repr(float(p.sum())), repr(float(np.abs(f).sum())))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    compiled, is_plain, values, forces = done.stdout.split()
    assert (compiled, is_plain) == ("False", "True")
    features = ACSFFeatures(default_acsf([1, 8]))
    p = features(molecule("H2O"))
    assert float(values) == pytest.approx(p.sum(), rel=1e-10)
    assert float(forces) == pytest.approx(np.abs(features.vjp(molecule("H2O"), np.ones_like(p))[0]).sum(), rel=1e-10)
