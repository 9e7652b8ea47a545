"""Neural-network potentials: an ensemble on the same descriptors, with the contract of the Gaussian process."""

from kernpot.nnp.estimator import NNPEnsemble

__all__ = ["NNPEnsemble"]
