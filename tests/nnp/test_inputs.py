"""What networks see: principal components of the training environments, scaled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms

from kernpot.descriptors import features_of
from kernpot.nnp.inputs import fit_inputs
from tests.helpers.systems import crystals, soap


def sample(n: int = 200, n_features: int = 6, seed: int = 0) -> torch.Tensor:
    """Correlated features with standard deviations over four orders of magnitude and a mean far from zero."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn((n, n_features), generator=g, dtype=torch.float64) * torch.logspace(0, -4, n_features).double()
    turn = torch.linalg.qr(torch.randn((n_features, n_features), generator=g, dtype=torch.float64))[0]
    return x @ turn + 3.0


def test_first_component_has_unit_variance_and_mean_zero() -> None:
    x = sample()
    z = fit_inputs([x], 6)(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12)
    assert float(z[:, 0].var(correction=0)) == pytest.approx(1.0, rel=1e-12)


def test_standard_deviations_are_the_square_root_of_the_components() -> None:
    x = sample()
    z = fit_inputs([x], 6)(x)
    covariance = z.T @ z / len(z)
    off = covariance - torch.diag(covariance.diagonal())
    assert float(off.abs().max()) < 1e-9
    own = torch.linalg.eigvalsh((x - x.mean(0)).T @ (x - x.mean(0)) / len(x)).flip(0)
    torch.testing.assert_close(covariance.diagonal(), (own / own[0]).sqrt(), rtol=1e-6, atol=0)
    assert bool((covariance.diagonal().diff() < 0).all())


def test_fewer_components_are_the_first_of_more() -> None:
    x = sample()
    all_of_them, some = fit_inputs([x], 6), fit_inputs([x], 2)
    assert some.projection.shape == (6, 2)
    torch.testing.assert_close(some.projection, all_of_them.projection[:, :2])


def test_parts_are_as_good_as_the_whole() -> None:
    x = sample()
    a, b = fit_inputs([x], 4), fit_inputs([x[:50], x[50:51], x[51:]], 4)
    assert torch.equal(a.projection, b.projection) and torch.equal(a.mean, b.mean)


def test_size_of_the_features_does_not_matter() -> None:
    x = sample()
    z = fit_inputs([x], 4)(x)
    for size in (1e-6, 1e6):
        torch.testing.assert_close(fit_inputs([size * x], 4)(size * x), z, rtol=1e-6, atol=1e-8)


def test_sign_of_directions_is_fixed() -> None:
    """The largest entry is positive, whatever the library chose: also with the features turned about."""
    x = sample()
    found = fit_inputs([x], 4).projection
    largest = found.gather(0, found.abs().argmax(0)[None])
    assert bool((largest > 0).all())
    mirrored = fit_inputs([-x], 4).projection
    torch.testing.assert_close(mirrored, found, rtol=1e-9, atol=1e-9)


def test_fewer_directions_than_asked_for() -> None:
    x = sample(n=4)
    assert fit_inputs([x], 6).projection.shape == (6, 3)
    flat = sample(n_features=3) @ torch.randn((3, 9), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert fit_inputs([flat], 9).projection.shape == (9, 3)


def test_directions_of_rounding_are_dropped() -> None:
    x = torch.cat([sample(), 1.0 + 1e-9 * sample(seed=1)[:, :2]], dim=1)
    assert fit_inputs([x], 8).projection.shape[1] == 6
    louder = torch.cat([sample(), 1.0 + 1e-5 * sample(seed=1)[:, :2]], dim=1)
    assert fit_inputs([louder], 8).projection.shape[1] > 6


@pytest.mark.parametrize("n", [1, 2, 50])
def test_copies_of_one_environment_give_one_input_that_is_zero(n: int) -> None:
    x = sample(n=1).repeat(n, 1)
    inputs = fit_inputs([x], 6)
    assert inputs.projection.shape == (6, 1)
    np.testing.assert_allclose(inputs(x), 0.0, atol=1e-12)
    assert float(inputs(sample(seed=2)).abs().max()) < 1e3


def test_features_that_are_all_zero() -> None:
    """An isolated atom under symmetry functions: other environments still get inputs of their own size."""
    inputs = fit_inputs([torch.zeros((3, 6), dtype=torch.float64)], 6)
    assert float(inputs(sample()).abs().max()) < 1e3


def test_symmetric_sites_of_a_perfect_crystal_do_not_vary() -> None:
    perfect = crystals(1)[0]
    perfect.set_cell(3.6 * np.eye(3))
    perfect.set_scaled_positions([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    x = torch.from_numpy(features_of(soap())(Atoms(perfect)))
    assert fit_inputs([x], 10).projection.shape[1] == 1
