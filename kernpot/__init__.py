"""kernpot: potential-energy surfaces of atoms with error bars on every number."""

from importlib.metadata import PackageNotFoundError, version

from kernpot.backend.baseline import OnTop
from kernpot.files.container import load
from kernpot.gp.estimator import SparseGPPotential
from kernpot.kernels import SOAPKernel
from kernpot.nnp import NNPEnsemble
from kernpot.structures import read_structures

try:
    __version__ = version("kernpot")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["NNPEnsemble", "OnTop", "SOAPKernel", "SparseGPPotential", "load", "read_structures"]
