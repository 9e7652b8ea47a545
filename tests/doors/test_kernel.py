"""A kernel is one file: sums of powers with amplitudes of their own, and one that is no power."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kernpot import SparseGPPotential, load
from kernpot.errors import KernpotError, ModelFileError
from kernpot.kernels import CosineFunction, PolynomialKernel, Power, SOAPKernel
from kernpot.testing import check_potential
from tests.doors.exponential_kernel import Exponential, ExponentialKernel
from tests.doors.real import copper, coverage, ethanol, soap

FUNCTIONS = [Power(1), Power(2), Power(5), Exponential(0.4)]
KERNELS = {"polynomial": PolynomialKernel((1, 2, 3)), "exponential": ExponentialKernel(0.2)}


def named(function: CosineFunction) -> str:
    return f"{type(function).__name__}-{function.power}"


def units(n: int, d: int, seed: int) -> torch.Tensor:
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_derivatives_and_normalisation(function: CosineFunction) -> None:
    s = torch.linspace(-0.9, 1.0, 40, dtype=torch.float64)
    h = 1e-5
    np.testing.assert_allclose(
        function.slope(s), (function.value(s + h) - function.value(s - h)) / (2 * h), rtol=1e-7, atol=1e-9
    )
    expected = (function.slope(s + h) - function.slope(s - h)) / (2 * h)
    np.testing.assert_allclose(function.curvature(s), expected, rtol=1e-7, atol=1e-8)
    assert float(function.value(torch.ones(1).double())) == pytest.approx(1.0)


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_the_power_series_is_the_function(function: CosineFunction) -> None:
    s = torch.linspace(-1, 1, 20, dtype=torch.float64)
    series = sum(c * s**p for p, c in enumerate(function.coefficients))
    np.testing.assert_allclose(series, function.value(s), atol=1e-7)
    assert min(function.coefficients) >= 0


@pytest.mark.parametrize("function", FUNCTIONS, ids=named)
def test_functions_of_weights_are_sums_of_kernels(function: CosineFunction) -> None:
    u, environments, weights = (
        units(7, 9, 0),
        units(3, 9, 1),
        torch.from_numpy(np.random.default_rng(2).normal(size=(2, 3))),
    )
    energies, slopes = function.energies(environments, weights, None)(u)
    np.testing.assert_allclose(energies, function.value(u @ environments.T) @ weights.T, atol=1e-12)
    expected = torch.einsum("nm,km,md->nkd", function.slope(u @ environments.T), weights, environments)
    np.testing.assert_allclose(slopes, expected, atol=1e-12)


@pytest.mark.parametrize("function", [Power(2), Exponential(0.7)], ids=named)
def test_draws_from_the_prior_have_its_covariance(function: CosineFunction) -> None:
    u, n = units(4, 5, 0), 800
    drawn = torch.stack([function.draw(5, torch.Generator().manual_seed(k))(u)[0][:, 0] for k in range(n)])
    found = (drawn.T @ drawn / n).numpy()
    assert np.abs(found - function.value(u @ u.T).numpy()).max() < 6 / np.sqrt(n)


@pytest.fixture(scope="module", params=list(KERNELS))
def fitted(request: pytest.FixtureRequest) -> SparseGPPotential:
    kernel = KERNELS[request.param]
    return SparseGPPotential(soap(["Cu"]), n_inducing=10, kernel=kernel, random_state=0).fit(copper(12, 0))


def test_it_passes_the_conformance_suite(fitted: SparseGPPotential) -> None:
    check_potential(fitted, copper(1, 5))


def test_through_the_model_file(fitted: SparseGPPotential, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m.kernpot")
    again, atoms = load(tmp_path / "m.kernpot"), copper(1, 6)
    for part in ("mean", "std", "epistemic_std"):
        a, b = (getattr(p.predict_full(atoms)[0].forces, part) for p in (fitted, again))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert type(again.kernels_[0]) is type(fitted.kernels_[0])
    assert again.kernels_[0].parameters_given == fitted.kernels_[0].parameters_given


def test_a_kernel_that_is_not_known_is_named(fitted: SparseGPPotential, tmp_path: Path, monkeypatch) -> None:
    from kernpot.kernels import cosine_kernel

    fitted.save(tmp_path / "m.kernpot")
    kind = fitted.kernels_[0].kind
    monkeypatch.setattr(cosine_kernel, "_KINDS", {"soap": SOAPKernel})
    with pytest.raises(ModelFileError, match=f"kind '{kind}', known are soap: import the module that defines it"):
        load(tmp_path / "m.kernpot")


def test_learning_on_is_a_fit_with_the_same_environments() -> None:
    """Exact, for a sum of functions as for one: partial_fit, and then add_inducing."""
    first, second = copper(8, 0), copper(3, 1)
    settings = {
        "noise": {"energy": 0.002, "forces": 0.03, "stress": 0.001},
        "optimize": False,
        "isolated_atoms": {"Cu": 0.0},
        "kernel": PolynomialKernel((1, 2), amplitude=0.8),
    }
    step = SparseGPPotential(soap(["Cu"]), inducing=first[:2], **settings).fit(first).partial_fit(second)
    step.add_inducing(second[:1])
    once = SparseGPPotential(soap(["Cu"]), inducing=[*first[:2], second[0]], **settings).fit([*first, *second])
    new = copper(1, 9)
    a, b = step.predict_full(new)[0], once.predict_full(new)[0]
    np.testing.assert_allclose(a.forces.mean, b.forces.mean, atol=1e-7)
    np.testing.assert_allclose(a.forces.epistemic_std, b.forces.epistemic_std, rtol=1e-5, atol=1e-8)
    assert float(a.energy.mean) == pytest.approx(float(b.energy.mean), abs=1e-7)


def test_powers_with_amplitudes_of_their_own_on_real_data() -> None:
    """GFN2-xTB ethanol: the evidence finds an amplitude for each power and element; calibrated intervals hold."""
    train, held_out, test = ethanol(0, 40), ethanol(40, 60), ethanol(60, 100)
    gp = SparseGPPotential(soap(["H", "C", "O"]), n_inducing=240, kernel=PolynomialKernel((1, 2)), random_state=0).fit(
        train
    )
    amplitude = gp.kernels_[0].amplitude
    assert tuple(amplitude.shape) == (2, 3) and len(set(amplitude.flatten().tolist())) == 6
    assert [b.function.power for b in gp.fitted_.whitening.blocks] == [1, 1, 1, 2, 2, 2]
    gp.calibrate(held_out)
    rmse, inside = coverage(gp, test, "forces")
    spread = np.std(np.concatenate([a.get_forces().ravel() for a in test]))
    assert rmse < 0.25 * spread
    assert 0.85 < inside < 0.97


def test_what_cannot_be_a_kernel_is_refused() -> None:
    for powers in ((), (0, 1), (2, 2), (1.5,)):
        with pytest.raises(KernpotError, match="different positive integers"):
            PolynomialKernel(powers)
    with pytest.raises(KernpotError, match="expected a SOAPKernel, or another CosineKernel"):
        SparseGPPotential(soap(["Cu"]), kernel="rbf").fit(copper(2, 0))
