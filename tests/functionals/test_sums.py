"""Compiled sums against plain torch, and both against their formulas."""

import numpy as np
import pytest
import torch

from kernpot.descriptors import SOAPFeatures
from kernpot.errors import NumericalError
from kernpot.functionals import sums
from kernpot.functionals.prior import derivative_prior, value_prior
from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import InducingBlock, Structure, normalise
from kernpot.functionals.sums import add_rows, along_unit, curvature_sum, unit_derivatives
from kernpot.kernels import Power
from kernpot.kernels.powers import power, power_slope
from tests.helpers.soaps import displaced, make_soap, random_atoms


def tensor(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def compiled(request, monkeypatch):
    monkeypatch.setattr(sums, "COMPILED", request.param)


@pytest.mark.parametrize("zeta", range(1, 10))
def test_powers(rng, zeta):
    s = tensor(rng, 50)
    np.testing.assert_allclose(power(s, zeta), s.numpy() ** zeta, rtol=1e-14)
    np.testing.assert_allclose(power_slope(s, zeta), zeta * s.numpy() ** (zeta - 1), rtol=1e-14)


@pytest.mark.parametrize("zeta", [1, 2, 3, 4])
def test_rows(rng, compiled, zeta):
    ds, along, cosine, scale = tensor(rng, 7, 3, 5), tensor(rng, 7, 3), tensor(rng, 4, 5), tensor(rng, 7)
    centre, target = torch.tensor([3, 0, 0, 1, 2, 3, 3]), torch.tensor([0, 0, 1, 0, 2, 2, 2])
    start = tensor(rng, 3, 3, 11)
    rows = start.clone()
    add_rows(rows, slice(4, 9), ds, along, cosine, centre, scale, target, Power(zeta))
    for e in range(7):
        s = cosine[centre[e]]
        start[target[e], :, 4:9] += scale[e] * zeta * s ** (zeta - 1) * (ds[e] - torch.outer(along[e], s))
    np.testing.assert_allclose(rows, start, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("moving", [[0, 1, 2, 3, 4, 5], [1, 4]])
def test_unit_derivatives(rng, compiled, moving):
    moving = torch.tensor(moving)
    p, dp = tensor(rng, 3, 6), tensor(rng, 3, 3, len(moving))
    unit, norm = normalise(p)
    along = along_unit(dp, unit, moving)
    g = torch.full((5, 3, 6), np.nan, dtype=torch.float64)
    unit_derivatives(g, torch.tensor([4, 0, 2]), dp, along, unit, 1 / norm, moving)
    for e, place in enumerate([4, 0, 2]):
        for x in range(3):
            full = torch.zeros(6, dtype=torch.float64)
            full[moving] = dp[e, x]
            expected = torch.func.jvp(lambda q: normalise(q)[0], (p[e],), (full,))[1]
            np.testing.assert_allclose(g[place, x], expected, rtol=1e-12, atol=1e-14)
    assert torch.isnan(g[[1, 3]]).all()


@pytest.mark.parametrize("zeta", [1, 2, 3, 4])
def test_curvature(rng, compiled, zeta):
    s, gg, ug, gu = tensor(rng, 4, 5), tensor(rng, 2, 4, 5), tensor(rng, 2, 4, 5), tensor(rng, 2, 5, 4).mT
    second = 0 if zeta == 1 else zeta * (zeta - 1) * s ** (zeta - 2) * ug * gu
    expected = (zeta * s ** (zeta - 1) * gg + second).sum((1, 2))
    np.testing.assert_allclose(curvature_sum(s, gg, ug, gu, Power(zeta)), expected, rtol=1e-12)


@pytest.mark.parametrize("zeta", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [3, 20, 300])  # fewer environments than features, more, and more than a block
def test_factorised_priors_are_the_double_sums(rng, zeta, n):
    u, norm = normalise(tensor(rng, n, 8) + 1)
    g = tensor(rng, n, 2, 8) / norm[:, None, None]
    assert float(value_prior(u, Power(zeta))) == pytest.approx(float(((u @ u.T) ** zeta).sum()), rel=1e-11)
    found = derivative_prior(u, g, Power(zeta))
    s = u @ u.T
    for x in range(2):
        gg, ug = g[:, x] @ g[:, x].T, u @ g[:, x].T
        second = 0 if zeta == 1 else zeta * (zeta - 1) * s ** (zeta - 2) * ug * ug.T
        assert float(found[x]) == pytest.approx(float((zeta * s ** (zeta - 1) * gg + second).sum()), rel=1e-10)


@pytest.mark.parametrize("compression", ["off", "mu1nu1"])
@pytest.mark.parametrize("pbc", [False, (True, False, False), True])
def test_labels_are_the_same_compiled_and_plain(rng, monkeypatch, compression, pbc):
    """Two descriptors, three elements, atoms that see their own images, and one that sees nothing."""
    names = ("H", "O", "Si")
    descriptors = [SOAPFeatures(make_soap(w, compression, species=names)) for w in ("poly m=1", "poly m=2")]
    atoms = random_atoms(rng, 6, pbc=pbc, species=names, edge=2.2)
    if not any(atoms.pbc):
        atoms.append("H")
        atoms.positions[-1] += 30.0
    other = displaced(atoms, rng.normal(scale=0.2, size=(len(atoms), 3)))
    blocks = []
    for d, (features, zeta) in enumerate(zip(descriptors, (2, 3), strict=True)):
        u = normalise(torch.from_numpy(features(other)))[0]
        for z in sorted(set(atoms.numbers.tolist())):
            columns = slice(2 * len(blocks), 2 * len(blocks) + 2)
            blocks.append(InducingBlock(d, z, Power(zeta), u[torch.from_numpy(atoms.numbers == z)][:2], columns))

    def labels():
        structure = Structure(descriptors, atoms)
        parts = [energy_rows(structure, blocks), *((r, p) for _, r, p in force_rows(structure, blocks))]
        parts += [stress_rows(structure, blocks)] if structure.volume is not None else []
        return [torch.cat(column) for column in zip(*parts, strict=True)]

    monkeypatch.setattr(sums, "COMPILED", True)
    compiled = labels()
    monkeypatch.setattr(sums, "COMPILED", False)
    for a, b in zip(compiled, labels(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * float(b.abs().max()))


def test_nan_is_not_lost(rng, compiled):
    u, _ = normalise(tensor(rng, 4, 3))
    g = tensor(rng, 4, 1, 3)
    g[2, 0, 1] = float("nan")
    with pytest.raises(NumericalError):
        derivative_prior(u, g, Power(3))
