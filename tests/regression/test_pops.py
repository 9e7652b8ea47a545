"""Pointwise optimal weights meet their labels, and stay spread out where the Bayesian posterior shrinks."""

from __future__ import annotations

import numpy as np
import torch

from kernpot.regression.factor import LabelFactor
from kernpot.regression.pops import PointwisePosterior, pointwise_corrections
from kernpot.regression.posterior import Posterior

SIGMA = 0.1


def misspecified(n: int) -> tuple[Posterior, torch.Tensor, torch.Tensor]:
    """A straight line fitted to a parabola: posterior, rows and targets, both divided by the noise."""
    x = torch.linspace(-1, 1, n, dtype=torch.float64)
    rows, targets = torch.stack([torch.ones(n), x], dim=1).double(), x**2
    factor = LabelFactor.empty(2, 1)
    factor.add(rows, targets, 2 * torch.ones((n, 1), dtype=torch.float64))
    posterior = Posterior({"energy": factor}, torch.tensor([0, 0]), {"energy": SIGMA}, torch.ones(1).double())
    return posterior, rows / SIGMA, targets / SIGMA


def test_every_correction_meets_its_label() -> None:
    posterior, rows, targets = misspecified(40)
    corrections = pointwise_corrections(posterior, rows, targets)
    meets = ((posterior.whitened_weights + corrections.T) * rows).sum(1)
    torch.testing.assert_close(meets, targets)
    # None of the same size in the metric of the posterior meets it better: the correction is along Sigma b.
    covariance = torch.linalg.inv(posterior.root.T @ posterior.root)
    along = covariance @ rows.T
    cosine = torch.nn.functional.cosine_similarity(corrections, along, dim=0).abs()
    torch.testing.assert_close(cosine, torch.ones_like(cosine))


def spreads(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of the line at its ends and middle: Bayesian, pointwise."""
    posterior, rows, targets = misspecified(n)
    ends = torch.tensor([[1.0, -1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    pointwise = PointwisePosterior(posterior, rows, targets)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([pointwise.sample(generator) for _ in range(500)])
    return posterior.variance(ends).sqrt().numpy(), (draws @ ends.T).std(0).numpy()


def test_more_data_leaves_the_misfit() -> None:
    few_bayes, few = spreads(50)
    many_bayes, many = spreads(5000)
    assert (many_bayes < 0.15 * few_bayes).all()
    assert (many > 0.8 * few).all()
    # The line misses the parabola by up to 2/3 at the ends, which have the leverage.
    assert ((many[[0, 2]] > 0.2) & (many[[0, 2]] < 2 / 3)).all()
