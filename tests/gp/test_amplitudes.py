"""Amplitudes of inducing blocks: each at its place among those of the kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from gpytorch.priors import GammaPrior, LogNormalPrior
from scipy.stats import gamma, lognorm

from kernpot import SparseGPPotential
from kernpot.functionals.state import InducingBlock
from kernpot.gp.amplitudes import Amplitudes
from kernpot.kernels import CosineKernel, PolynomialKernel, SOAPKernel
from tests.helpers.systems import crystals, labelled, soap

ELEMENTS = (8, 1, 14)


def kernels(**other) -> list[CosineKernel]:
    """One function, and two; distinct amplitudes everywhere."""
    made = [SOAPKernel(3, ELEMENTS), PolynomialKernel((1, 2), ELEMENTS, **other)]
    made[0].set_amplitude(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    made[1].set_amplitude(torch.tensor([[4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], dtype=torch.float64))
    return made


def blocks(of: list[CosineKernel], elements: tuple[int, ...] = (1, 8, 14)) -> list[InducingBlock]:
    """One environment each, as inducing environments are sorted: by descriptor, function and element."""
    u = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    return [
        InducingBlock(d, z, function, u, slice(0, 1), term=term)
        for d, kernel in enumerate(of)
        for term, function in enumerate(kernel.functions)
        for z in elements
    ]


def variances(of: list[CosineKernel]) -> list[float]:
    """Prior variances of an environment's energy by the kernels themselves, summed over functions."""
    rows = torch.tensor([[z, 0.6, 0.8] for z in (1, 8, 14)], dtype=torch.float64)
    return torch.cat([kernel.forward(rows, rows, diag=True).detach() for kernel in of]).tolist()


def test_their_squares_are_the_prior_variances_of_the_kernels() -> None:
    values = Amplitudes(blocks(kernels()), kernels()).values()
    assert values.tolist() == pytest.approx([2, 1, 3, 5, 4, 6, 8, 7, 9])
    squares = values.square().reshape(3, 3)
    assert torch.cat([squares[0], squares[1] + squares[2]]).tolist() == pytest.approx(variances(kernels()))


def test_changed_kernels_have_the_new_ones_and_the_old_kernels_theirs(rng: np.random.Generator) -> None:
    own = kernels()
    amplitudes, new = Amplitudes(blocks(own), own), torch.from_numpy(rng.uniform(0.1, 9.0, 9))
    changed = amplitudes.changed(new)
    torch.testing.assert_close(amplitudes.among(changed), new, rtol=1e-14, atol=0.0)
    squares = new.square().reshape(3, 3)
    assert variances(changed) == pytest.approx(torch.cat([squares[0], squares[1] + squares[2]]).tolist())
    assert variances(own) == pytest.approx(variances(kernels()))


def test_elements_without_inducing_environments_keep_their_amplitudes() -> None:
    own = kernels()
    amplitudes = Amplitudes(blocks(own, elements=(14,)), own)
    changed = amplitudes.changed(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
    assert changed[0].amplitude.tolist() == pytest.approx([1.0, 2.0, 0.1])
    assert changed[1].amplitude.flatten().tolist() == pytest.approx([4.0, 5.0, 0.2, 7.0, 8.0, 0.3])


def test_what_is_fixed_is_fixed_for_all_blocks_of_a_kernel() -> None:
    own = kernels()
    own[0].raw_amplitude.requires_grad_(False)
    assert Amplitudes(blocks(own), own).fixed().tolist() == [True] * 3 + [False] * 6


def test_log_prior_is_the_sum_of_log_densities() -> None:
    """Of the kernels' own, and, where a kernel has none, of elements that are alike."""
    own = kernels(amplitude_prior=LogNormalPrior(0.3, 0.5))
    values = torch.linspace(0.5, 3.0, 9, dtype=torch.float64)
    log_prior = Amplitudes(blocks(own), own).log_prior()
    assert log_prior is not None
    expected = lognorm(s=0.5, scale=np.exp(0.3)).logpdf(values[3:]).sum()
    assert float(log_prior({}, values)) == pytest.approx(expected + alike(values[:3]), rel=1e-6)
    own[0] = SOAPKernel(3, ELEMENTS, amplitude_prior=GammaPrior(2.0, 1.5))
    both = Amplitudes(blocks(own), own).log_prior()
    assert both is not None
    expected += gamma(2.0, scale=1 / 1.5).logpdf(values[:3]).sum()
    assert float(both({}, values)) == pytest.approx(expected, rel=1e-6)


def alike(amplitudes: torch.Tensor) -> float:
    logs = amplitudes.log()
    return -0.5 * float(((logs - logs.mean()) / 1.0).square().sum())


def test_elements_are_alike_function_by_function() -> None:
    own, values = kernels(), torch.linspace(0.5, 3.0, 9, dtype=torch.float64)
    log_prior = Amplitudes(blocks(own), own).log_prior()
    assert log_prior is not None
    expected = alike(values[:3]) + alike(values[3:6]) + alike(values[6:])
    assert float(log_prior({}, values)) == pytest.approx(expected, rel=1e-12)
    assert float(log_prior({}, 7.0 * values)) == pytest.approx(expected, rel=1e-9)  # how large all are is left open
    own[0].raw_amplitude.requires_grad_(False)
    fixed = Amplitudes(blocks(own), own).log_prior()
    assert fixed is not None
    assert float(fixed({}, values)) == pytest.approx(alike(values[3:6]) + alike(values[6:]), rel=1e-12)
    assert Amplitudes(blocks(own[:1]), own[:1]).log_prior() is None
    single = [SOAPKernel(2, (14,))]
    assert Amplitudes(blocks(single, (14,)), single).log_prior() is None


def test_an_element_seen_only_alone_is_not_certain() -> None:
    """Its one label is met with an amplitude of nothing: the std of a crystal of it was 0.2 meV."""
    alone = [labelled(Atoms(z, [[10, 10, 10]], cell=[20] * 3), ("energy", "forces")) for z in ("Cu", "Au")]
    gp = SparseGPPotential(soap(["Cu", "Au"]), n_inducing=40, random_state=0).fit([*crystals(12), *alone])
    copper, gold = gp.kernels_[0].amplitude.tolist()
    assert gold > 0.05 * copper
    atoms = bulk("Au", cubic=True)
    atoms.rattle(0.1, seed=1)
    found = gp.predict_full(atoms)[0]
    assert float(found.energy.std) > 1.0
