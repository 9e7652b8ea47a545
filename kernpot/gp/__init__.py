"""The sparse Gaussian process: inducing environments, square-root solver, evidence, posterior, and the estimator."""

from kernpot.gp.estimator import SparseGPPotential
from kernpot.gp.fitted import FittedGP
from kernpot.gp.predicting.novelty import Novelty

__all__ = ["FittedGP", "Novelty", "SparseGPPotential"]
