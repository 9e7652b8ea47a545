"""Neural-network potentials: an ensemble on the same descriptors, with the contract of the Gaussian process."""

from kernpot.nnp.estimator import NNPEnsemble
from kernpot.nnp.fitted import FittedNNP

__all__ = ["FittedNNP", "NNPEnsemble"]
