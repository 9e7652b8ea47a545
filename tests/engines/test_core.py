"""The one function that engines call: what it gives is what the calculator gives, whoever owns the atoms."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from kernpot import NNPEnsemble, SparseGPPotential
from kernpot.engines import PairFunction
from kernpot.engines.core import folded
from kernpot.errors import KernpotError, StructureError
from kernpot.structures.neighbours import find_pairs
from tests.engines.alloys import alloy
from tests.helpers.systems import cluster, crystals, soap
from tests.nnp.small import estimator


@pytest.fixture(scope="module", params=["gp", "two descriptors", "ensemble", "last layer"])
def potential(request) -> SparseGPPotential | NNPEnsemble:
    frames = [*crystals(9, symbols="Cu3Au"), cluster("Cu3Au")]
    settings = {"n_inducing": 30, "random_state": 0}
    if request.param == "gp":
        return SparseGPPotential(descriptor=soap(["Cu", "Au"]), **settings).fit(frames)
    if request.param == "two descriptors":
        two = [soap(["Cu", "Au"]), soap(["Cu", "Au"], cutoff=3.0)]
        return SparseGPPotential(descriptor=two, **settings).fit(frames)
    return estimator("Cu", "Au", uncertainty=request.param.replace(" ", "_")).fit(frames)


@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 1, 2)])
def test_energies_forces_stress_and_stds_in_any_order_of_the_pairs(potential, repeat, rng):
    atoms = alloy(repeat)
    expected = potential.predict_full([atoms])[0]
    pairs = find_pairs(atoms, potential.cutoff + 0.7)  # farther ones do no harm
    order = rng.permutation(len(pairs))
    index = np.stack([pairs.centres, pairs.neighbours], axis=1)[order]
    found = PairFunction(potential)(index, atoms.numbers, pairs.vectors[order])
    forces, strain = folded(index, pairs.vectors[order], found.gradient, len(atoms))
    np.testing.assert_allclose(found.energies, expected.energies.mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.std, expected.energies.std, rtol=1e-7)
    np.testing.assert_allclose(forces, expected.forces.mean, rtol=0, atol=1e-9)
    stress = (0.5 * (strain + strain.T) / atoms.get_volume())[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(stress, expected.stress.mean, rtol=0, atol=1e-9)


def test_gradient_is_the_derivative_with_respect_to_single_pair_vectors(potential, rng):
    """Each vector on its own, as if its two ends were free: no structure could do that."""
    atoms = alloy((1, 1, 1))
    pairs = find_pairs(atoms, potential.cutoff)
    index, n = np.stack([pairs.centres, pairs.neighbours], axis=1), len(atoms)
    function = PairFunction(potential)
    gradient = function(index, atoms.numbers, pairs.vectors, std=False).gradient
    along, h = rng.normal(size=gradient.shape), 1e-4
    sums = [function(index, atoms.numbers, pairs.vectors + s * h * along, n).energies.sum() for s in (-2, -1, 1, 2)]
    slope = (sums[0] - 8 * sums[1] + 8 * sums[2] - sums[3]) / (12 * h)
    assert slope == pytest.approx((gradient * along).sum(), rel=1e-7, abs=1e-7)


def test_centres_without_neighbours_and_no_centres(potential):
    function = PairFunction(potential)
    alone = function(np.empty((0, 2)), [29, 79], np.empty((0, 3)))
    lone = [potential.predict_full([Atoms(e)])[0].energies for e in ("Cu", "Au")]
    np.testing.assert_allclose(alone.energies, [q.mean[0] for q in lone], atol=1e-10)
    np.testing.assert_allclose(alone.std, [q.std[0] for q in lone], rtol=1e-7)
    none = function(np.empty((0, 2)), [29, 79], np.empty((0, 3)), n_centres=0)
    assert none.energies.shape == none.std.shape == (0,)
    assert none.gradient.shape == (0, 3)


def test_a_draw_has_slopes_and_no_stds(potential):
    atoms = alloy((1, 1, 1))
    draw = potential.sample_potentials(1, random_state=0)[0]
    pairs = find_pairs(atoms, potential.cutoff)
    index = np.stack([pairs.centres, pairs.neighbours], axis=1)
    found = PairFunction(draw)(index, atoms.numbers, pairs.vectors, std=False)
    expected = draw.mean(atoms)
    np.testing.assert_allclose(found.energies, expected.energies, atol=1e-9)
    forces, _ = folded(index, pairs.vectors, found.gradient, len(atoms))
    np.testing.assert_allclose(forces, expected.forces, atol=1e-9)
    with pytest.raises(KernpotError, match="no error bars"):
        PairFunction(draw)(index, atoms.numbers, pairs.vectors)


@pytest.mark.parametrize(
    ("pairs", "species", "rij", "n_centres", "match"),
    [
        ([[0, 1]], [29, 29], [[np.nan, 0, 0]], None, "vector from atom 0 to atom 1 .* blown up"),
        ([[0, 1]], [29, 29], np.ones((2, 3)), None, "expected species"),
        ([[0, 2]], [29, 29], [[1.0, 2.0, 2.0]], None, "2 atoms, got centres 0 to 0 and neighbours 2 to 2"),
        ([[1, 0]], [29, 29], [[1.0, 2.0, 2.0]], 1, "one of the 1 centres"),
        ([[0, 1]], [29, 29], [[1.0, 2.0, 2.0]], 3, "between 0 and the 2 atoms"),
        ([[0, 1]], [29, 30], [[1.0, 2.0, 2.0]], None, "'Zn'.* were not in the fit"),
    ],
)
def test_nonsense_is_refused(potential, pairs, species, rij, n_centres, match):
    with pytest.raises(StructureError, match=match):
        PairFunction(potential)(pairs, species, rij, n_centres)
