"""Noise and amplitudes: a maximum of the evidence, what is held, and errors told of structures left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
import torch
from gpytorch.priors import LogNormalPrior

from kernpot import SOAPKernel
from kernpot.gp.amplitudes import Amplitudes
from kernpot.gp.learning.hyperparameters import Learnt, learn_hyperparameters
from kernpot.gp.rows.compress import Compressor, compress
from kernpot.gp.rows.maker import RowMaker
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import label_structures
from tests.gp.small import bound, fitted
from tests.helpers.systems import crystals

FRAMES = crystals(6, symbols="Cu3Au")
START = {"energy": 0.0008, "forces": 0.3, "stress": 0.02}


@pytest.fixture(scope="module")
def maker() -> RowMaker:
    return fitted(FRAMES).fitted_.maker


@pytest.fixture(scope="module")
def rows(maker: RowMaker) -> Compressor:
    return compress(label_structures(FRAMES), maker, keep=range(len(FRAMES)))


def learn(
    maker: RowMaker,
    rows: Compressor,
    kernel: SOAPKernel | None = None,
    kept: Sequence | None = None,
    fixed: Collection[str] = (),
    optimize: bool = True,
) -> Learnt:
    kernel = SOAPKernel(2, (29, 79), 1.7) if kernel is None else kernel
    start, kept = Amplitudes(maker.whitening.blocks, [kernel]), rows.kept if kept is None else kept
    return learn_hyperparameters(rows.factors, maker.whitening.block, kept, start, START, fixed, optimize)


def test_nothing_moves_unless_it_is_asked_for(maker: RowMaker, rows: Compressor) -> None:
    found = learn(maker, rows, optimize=False)
    assert found.noise == START
    assert found.kernels[0].amplitude.tolist() == pytest.approx([1.7, 1.7], rel=1e-14)
    assert {kind: misfit.constant for kind, misfit in found.misfit.items()} == START


def test_what_is_found_is_a_maximum_of_the_dense_evidence(maker: RowMaker, rows: Compressor) -> None:
    """With no structure to leave out the weight of energies stays where it was."""
    found = learn(maker, rows, kept=[])
    noise, amplitudes = found.noise, found.kernels[0].amplitude.detach().numpy()
    best = bound(maker, FRAMES, amplitudes, noise)
    assert found.told["log_evidence"] == pytest.approx(best, rel=1e-6)
    assert found.told["converged"] and not found.told["at_bounds"]
    assert noise["energy"] == pytest.approx(START["energy"], rel=1e-12)
    for factor in (0.95, 1.05):
        for kind in ("forces", "stress"):
            assert bound(maker, FRAMES, amplitudes, noise | {kind: factor * noise[kind]}) < best
        for k in range(2):
            moved = amplitudes.copy()
            moved[k] *= factor
            assert bound(maker, FRAMES, moved, noise) < best


def test_what_the_user_fixed_stays(maker: RowMaker, rows: Compressor) -> None:
    kernel = SOAPKernel(2, (29, 79), 1.7)
    kernel.raw_amplitude.requires_grad_(False)
    found = learn(maker, rows, kernel, fixed=("forces", "energy"))
    assert found.kernels[0].amplitude.tolist() == pytest.approx([1.7, 1.7], rel=1e-13)
    assert [found.noise[kind] for kind in ("energy", "forces")] == pytest.approx([0.0008, 0.3], rel=1e-13)
    assert found.noise["stress"] != pytest.approx(START["stress"], rel=0.05)


def test_priors_of_amplitudes_pull(maker: RowMaker, rows: Compressor) -> None:
    kernel = SOAPKernel(2, (29, 79), 1.7, LogNormalPrior(float(np.log(0.05)), 4e-4))
    found = learn(maker, rows, kernel, kept=[])
    assert found.kernels[0].amplitude.tolist() == pytest.approx([0.05, 0.05], rel=0.01)


def test_errors_told_are_those_of_posteriors_without_each_structure(maker: RowMaker, rows: Compressor) -> None:
    found = learn(maker, rows)
    block, amplitudes = maker.whitening.block, found.kernels[0].amplitude.detach()
    errors: dict[str, list[np.ndarray]] = {kind: [] for kind in START}
    for k, left_out in enumerate(rows.kept):
        others = compress(label_structures(FRAMES[:k] + FRAMES[k + 1 :]), maker).factors
        posterior = Posterior(others, block, found.noise, amplitudes)
        for part in left_out.parts:
            errors[part.kind].append((part.targets - posterior.mean(part.rows * posterior.scale)).numpy())
    told = found.told["leave_one_out"]
    assert told["structures"] == len(FRAMES)
    for kind, e in errors.items():
        assert told["mae"][kind] == pytest.approx(np.abs(np.concatenate(e)).mean(), rel=1e-5)
    assert found.posterior is not None
    at_found = Posterior(rows.factors, block, found.noise, amplitudes)
    torch.testing.assert_close(found.posterior.whitened_weights, at_found.whitened_weights)
