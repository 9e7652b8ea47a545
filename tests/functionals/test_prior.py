"""Prior covariances: of any function of the cosine by automatic derivatives, and what symmetry makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from kernpot.descriptors import SOAPFeatures
from kernpot.errors import NumericalError
from kernpot.functionals.moved import Moved
from kernpot.functionals.prior import derivative_prior, force_prior, joint_prior, nonnegative, value_prior
from kernpot.functionals.state import Structure
from kernpot.kernels import CosineFunction, Power
from tests.doors.exponential_kernel import Exponential
from tests.helpers.soaps import make_soap, random_atoms

FUNCTIONS = {"1": Power(1), "2": Power(2), "3": Power(3), "exponential": Exponential(0.7)}
every_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


def covariance_of_derivatives(u: Tensor, g: Tensor, function: CosineFunction) -> Tensor:
    """Mixed second derivatives (x, x) of ``sum_ij f((u_i + t.g_i) . (u_j + t'.g_j))`` at no displacement."""

    def total(t: Tensor, other: Tensor) -> Tensor:
        left, right = (u + torch.einsum("x,nxf->nf", step, g) for step in (t, other))
        return function.value(left @ right.T).sum()

    nowhere = torch.zeros(g.shape[1], dtype=torch.float64)
    return torch.func.jacrev(torch.func.jacrev(total, 0), 1)(nowhere, nowhere)


def units(rng: np.random.Generator, n: int, n_features: int) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, n_features)) + 0.3), dim=1)


@every_function
@pytest.mark.parametrize("n", [4, 15])  # fewer environments than features, and more
def test_sums_over_environments_have_the_variances_of_their_derivatives(rng, n: int, function) -> None:
    u, g = units(rng, n, 8), torch.from_numpy(rng.normal(size=(n, 3, 8)))
    assert float(value_prior(u, function)) == pytest.approx(float(function.value(u @ u.T).sum()), rel=1e-12)
    expected = covariance_of_derivatives(u, g, function).diagonal()
    torch.testing.assert_close(derivative_prior(u, g, function), expected, rtol=1e-11, atol=1e-11)


@every_function
def test_forces_of_a_structure_have_the_covariances_of_their_derivatives(rng, function) -> None:
    """Of one element among two, with tangents of every environment along every coordinate."""
    features = SOAPFeatures(make_soap(species=("H", "O"), n_max=2, l_max=1, periodic=False))
    atoms = random_atoms(rng, 4, pbc=False, species=("H", "O"))
    described = Structure([features], atoms).described[0]
    own = torch.from_numpy(atoms.numbers == 8)
    moves = np.eye(12).reshape(12, 4, 3)
    p = torch.from_numpy(features(atoms))
    dp = torch.stack([torch.from_numpy(features.jvp(atoms, positions=move)) for move in moves], 1)
    u = torch.nn.functional.normalize(p, dim=1)
    tangent = (dp - (dp * u[:, None]).sum(2, keepdim=True) * u[:, None]) / p.norm(dim=1)[:, None, None]
    expected = covariance_of_derivatives(u[own], tangent[own], function)
    joint = joint_prior(described, 8, function, None)
    torch.testing.assert_close(joint[1:, 1:], expected, rtol=1e-9, atol=1e-10)
    found = [force_prior(described, Moved(described, 8, slice(*ends)), function) for ends in ((0, 1), (1, 4))]
    torch.testing.assert_close(torch.cat(found).flatten(), expected.diagonal(), rtol=1e-9, atol=1e-10)


def test_copies_of_an_environment_share_one_energy(rng) -> None:
    u = units(rng, 1, 5)
    for function in FUNCTIONS.values():
        assert float(value_prior(u.expand(6, -1), function)) == pytest.approx(36.0)


def test_net_force_and_torque_are_certain(rng):
    """No draw from the prior pushes or turns a free molecule as a whole."""
    features = SOAPFeatures(make_soap(periodic=False))
    atoms = random_atoms(rng, 4, pbc=False, species=("H", "O"))
    structure = Structure([features], atoms)
    n = len(atoms)
    nets = np.zeros((6, 1 + 3 * n))
    nets[:3, 1:] = np.tile(np.eye(3), n)
    nets[3:, 1:] = np.stack([np.cross(axis, atoms.positions).ravel() for axis in np.eye(3)])
    for element in (1, 8):
        joint = joint_prior(structure.described[0], element, Power(2), None).numpy()
        assert np.abs(nets @ joint).max() < 1e-12 * np.abs(joint).max() * n


def test_rotated_molecule_has_rotated_covariances(rng):
    features = SOAPFeatures(make_soap(periodic=False))
    atoms = random_atoms(rng, 3, pbc=False, species=("H", "O"))
    turned = atoms.copy()
    turned.rotate(37.0, (1, 2, -1))
    matrix = np.linalg.lstsq(atoms.positions, turned.positions, rcond=None)[0].T
    rotation = np.eye(1 + 9)
    rotation[1:, 1:] = np.kron(np.eye(3), matrix)
    one, two = (joint_prior(Structure([features], a).described[0], 1, Power(2), None).numpy() for a in (atoms, turned))
    np.testing.assert_allclose(two, rotation @ one @ rotation.T, rtol=0, atol=1e-11 * np.abs(one).max())


def test_negative_variances_are_errors_and_rounding_is_not():
    tiny = torch.tensor([1.0, -1e-11, 0.0])
    np.testing.assert_array_equal(nonnegative(tiny, 0.0, "a test"), [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(nonnegative(torch.tensor([-1e-6]), torch.tensor([1e3]), "a test"), [0.0])
    with pytest.raises(
        NumericalError, match=r"variance of a test came out as -1.000e-06 where rounding allows -1.0e-10"
    ):
        nonnegative(torch.tensor([2.0, -1e-6]), 0.0, "a test")
    with pytest.raises(NumericalError, match="fewer inducing environments"):
        nonnegative(torch.tensor([-1e-6, 0.0]), torch.tensor([1.0, 1e3]), "a test")


def test_nan_variances_are_errors():
    with pytest.raises(NumericalError):
        nonnegative(torch.tensor([1.0, float("nan")]), 1.0, "a test")
