"""DScribe SOAP, differentiable: radial part, layout of the power spectrum, and their derivatives."""

from kernpot.descriptors.default import default_descriptor
from kernpot.descriptors.soap import SOAPFeatures

__all__ = ["SOAPFeatures", "default_descriptor"]
