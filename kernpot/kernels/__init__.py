"""gpytorch kernels between atomic environments."""

from kernpot.kernels.soap_kernel import SOAPKernel

__all__ = ["SOAPKernel"]
