"""Kernels between atomic environments, and the functions of the cosine that they are made of."""

from kernpot.kernels.cosine_kernel import CosineKernel
from kernpot.kernels.functions import CosineFunction, Power
from kernpot.kernels.polynomial import PolynomialKernel
from kernpot.kernels.soap_kernel import SOAPKernel

__all__ = ["CosineFunction", "CosineKernel", "PolynomialKernel", "Power", "SOAPKernel"]
