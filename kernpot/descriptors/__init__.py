"""DScribe's SOAP and ACSF, differentiable: the features, their layout, and their derivatives."""

from kernpot.descriptors.acsf import ACSFFeatures
from kernpot.descriptors.default import default_acsf, default_descriptor
from kernpot.descriptors.features import Features
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.descriptors.twins import features_of

__all__ = ["ACSFFeatures", "Features", "SOAPFeatures", "default_acsf", "default_descriptor", "features_of"]
