"""kernpot: potential-energy surfaces of atoms with error bars on every number."""

from kernpot.backend.baseline import OnTop
from kernpot.files.container import load
from kernpot.gp.estimator import SparseGPPotential
from kernpot.kernels import SOAPKernel
from kernpot.nnp import NNPEnsemble
from kernpot.structures import read_structures
from kernpot.tuning import tune

# pyproject.toml reads it here.
__version__ = "0.1.0"

__all__ = ["NNPEnsemble", "OnTop", "SOAPKernel", "SparseGPPotential", "load", "read_structures", "tune"]
