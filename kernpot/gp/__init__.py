"""The sparse Gaussian process: inducing environments, square-root solver, evidence, posterior, and the estimator."""

from kernpot.gp.estimator import SparseGPPotential

__all__ = ["SparseGPPotential"]
