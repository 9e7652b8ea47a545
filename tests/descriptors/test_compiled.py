"""The compiled loops give the numbers of plain torch."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import sphericart
import torch
from ase import Atoms

from kernpot.descriptors import SOAPFeatures
from kernpot.descriptors.compiled.environments import CompiledEnvironments
from kernpot.descriptors.compiled.harmonics import harmonic_gradients, harmonic_prefactors, harmonics, legendre
from kernpot.descriptors.compiled.pairs import fold, nearest_and_farthest
from kernpot.descriptors.compiled.table import RadialTable, radial_slopes, radial_values
from kernpot.descriptors.expansion import Environments
from kernpot.descriptors.radial import GTORadial, effective_cutoff
from tests.helpers.soaps import COMPRESSIONS, WEIGHTINGS, make_soap, random_atoms

# Weights that no polynomial follows: infinite at r = 0, or with a kink at the cutoff.
UNTABULATED = ["pow d=0 w0", "poly m=0.5"]
TABULATED = [w for w in WEIGHTINGS if w not in UNTABULATED]


def relative(got: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray) -> float:
    got, expected = np.asarray(got), np.asarray(expected)
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def plain(features: SOAPFeatures) -> SOAPFeatures:
    """The same descriptor without the compiled loops."""
    other = SOAPFeatures(features.soap)
    other._compiled = None
    return other


@pytest.mark.parametrize("l_max", [0, 1, 2, 6, 9])
def test_harmonics_are_those_of_sphericart(rng, l_max):
    n, lm = 7, (l_max + 1) ** 2
    vectors = rng.normal(size=(n, 3)) * 2
    vectors[0] = [0, 0, 1.5]
    q, y, dy = np.zeros((l_max + 1, l_max + 1, n)), np.empty((lm, n)), np.empty((3, lm, n))
    cos, sin = np.empty((l_max + 1, n)), np.empty((l_max + 1, n))
    v, prefactors = np.ascontiguousarray(vectors.T), harmonic_prefactors(l_max)
    legendre(n, v, q, cos, sin)
    harmonics(n, prefactors, q, cos, sin, y)
    harmonic_gradients(n, v, prefactors, q, cos, sin, dy)
    expected, gradients = sphericart.SolidHarmonics(l_max).compute_with_gradients(vectors)
    assert relative(y.T, expected) < 1e-13
    np.testing.assert_allclose(dy.transpose(2, 0, 1), gradients, rtol=0, atol=1e-13 * max(1, np.abs(gradients).max()))


@pytest.mark.parametrize("weighting", TABULATED)
@pytest.mark.parametrize(("n_max", "l_max"), [(1, 0), (4, 3), (10, 6), (12, 8)])
def test_tables_are_as_exact_as_the_functions(rng, weighting, n_max, l_max):
    soap = make_soap(weighting, species=("Si",), n_max=n_max, l_max=l_max, r_cut=5.0, sigma=0.5)
    radial, cutoff = GTORadial(soap), effective_cutoff(soap)
    table = RadialTable.of(radial, cutoff)
    assert table is not None
    r = rng.uniform(1e-3, cutoff - 1e-9, 500)
    size = (l_max + 1) * n_max
    value, slope, alone = np.empty((500, size)), np.empty((500, size)), np.empty((500, size))
    for k, x in enumerate(r):
        radial_values(x, 0.7, table.inverse_step, table.functions, table.weighting, alone[k])
        radial_slopes(x, 0.7, table.inverse_step, table.functions, table.weighting, value[k], slope[k])
    g, dg = (f.reshape(500, -1) for f in radial.extended(r.astype(np.longdouble)))
    w, dw = (f.numpy()[:, None] * 0.7 for f in radial.weighting(torch.from_numpy(r)))
    exact, exact_slope = (np.asarray(f, dtype=np.float64) for f in (w * g, w * dg + dw * g))
    np.testing.assert_array_equal(alone, value)
    assert (np.abs(value - exact).max(0) < 1e-11 * np.abs(exact).max(0) + 1e-300).all()
    assert (np.abs(slope - exact_slope).max(0) < 1e-10 * np.abs(exact_slope).max(0) + 1e-300).all()
    # and the sums in extended precision are those in double precision, with more digits
    double, double_slope = (f.transpose(0, 1).reshape(500, -1).numpy() * 0.7 for f in radial(torch.from_numpy(r)))
    assert relative(double, exact) < 1e-8
    assert relative(double_slope, exact_slope) < 1e-8


@pytest.mark.parametrize("weighting", UNTABULATED)
def test_plain_torch_serves_weights_without_a_table(rng, weighting):
    features = SOAPFeatures(make_soap(weighting))
    assert RadialTable.of(GTORadial(features.soap), features.cutoff) is None
    atoms = random_atoms(rng)
    np.testing.assert_array_equal(features(atoms), plain(features)(atoms))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("species", [("Si",), ("H", "O", "Si", "Mo")])
@pytest.mark.parametrize("weighting", ["poly m=1", "poly w0", "exp"])
def test_every_product_equals_plain_torch(rng, compression, weighted, species, weighting):
    features = SOAPFeatures(make_soap(weighting, compression, weighted, species=species))
    atoms = random_atoms(rng, species=species, pbc=(True, True, False))
    numbers, pairs = torch.from_numpy(atoms.numbers.astype(np.int64)), features.pairs(atoms)
    block, other = features.environments(numbers, pairs), plain(features).environments(numbers, pairs)
    got, expected = block.environments, other.environments
    assert isinstance(got, CompiledEnvironments)
    assert isinstance(expected, Environments)
    assert relative(got.features(), expected.features()) < 1e-11
    cotangent = torch.from_numpy(rng.normal(size=(len(atoms), features.n_features)))
    assert relative(got.pull(cotangent), expected.pull(cotangent)) < 1e-11
    tangents = torch.from_numpy(rng.normal(size=(len(pairs), 2, 3)))
    assert relative(got.push(tangents), expected.push(tangents)) < 1e-11
    for slot in torch.unique(block.slots).tolist():
        chosen = torch.nonzero(block.slots == slot).squeeze(1)
        assert torch.equal(got.slot_features(slot), expected.slot_features(slot))
        assert relative(got.pair_tangent(chosen, slot), expected.pair_tangent(chosen, slot)) < 1e-11


def test_no_pairs_and_lonely_atoms(rng):
    features = SOAPFeatures(make_soap())
    atoms = Atoms("SiO", positions=[[0, 0, 0], [50, 0, 0]])
    assert relative(features(atoms), plain(features)(atoms)) < 1e-12
    positions, strain = features.vjp(atoms, rng.normal(size=(2, features.n_features)))
    assert not positions.any()
    assert not strain.any()


def test_an_atom_on_a_centre_is_left_to_plain_torch(rng):
    features = SOAPFeatures(make_soap("poly w0", periodic=False))
    atoms = Atoms("SiOH", positions=[[0, 0, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(features(atoms), plain(features)(atoms))
    np.testing.assert_allclose(features(atoms), features.soap.create(atoms), rtol=1e-10, atol=1e-10)


def test_nan_is_not_lost():
    vectors = np.array([[1.0, 0, 0], [np.nan, 0, 0], [2.0, 0, 0]])
    _, farthest = nearest_and_farthest(vectors)
    assert not farthest < 100.0
    assert nearest_and_farthest(vectors[:0]) == (np.inf, 0.0)
    assert nearest_and_farthest(vectors[[0, 2]]) == (1.0, 4.0)


def test_folding_adds_up(rng):
    centres, neighbours = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
    vectors, gradient = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    positions, strain = np.ones((4, 3)), np.ones((3, 3))
    fold(centres, neighbours, vectors, gradient, positions, strain)
    expected = np.ones((4, 3))
    np.add.at(expected, neighbours, gradient)
    np.subtract.at(expected, centres, gradient)
    np.testing.assert_allclose(positions, expected, rtol=1e-12)
    np.testing.assert_allclose(strain, 1 + gradient.T @ vectors, rtol=1e-12)


@pytest.mark.slow
def test_without_compilation_everything_still_works(tmp_path):
    """numba's own switch leaves a package of plain torch and Python; the numbers stay."""
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from ase.build import molecule\n"
        "from kernpot.descriptors import SOAPFeatures\n"
        "from kernpot.compilation import COMPILED\n"
        "from tests.helpers.soaps import make_soap\n"
        "features = SOAPFeatures(make_soap(species=('H', 'O')))\n"
        "p = features(molecule('H2O'))\n"
        "f, _ = features.vjp(molecule('H2O'), np.ones_like(p))\n"
        "print(COMPILED, features._compiled is None, repr(float(p.sum())), repr(float(np.abs(f).sum())))\n"
    )
    found = []
    for switch in ("0", "1"):
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "NUMBA_DISABLE_JIT": switch, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.split())
    assert found[0][:2] == ["True", "False"]
    assert found[1][:2] == ["False", "True"]
    for compiled, torch_only in zip(found[0][2:], found[1][2:], strict=True):
        assert abs(float(compiled) / float(torch_only) - 1) < 1e-10
