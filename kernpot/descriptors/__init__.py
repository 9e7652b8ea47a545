"""DScribe's SOAP and ACSF with exact derivatives, in any periodicity; descriptors of one's own, and given features."""

from kernpot.descriptors.acsf import ACSFFeatures
from kernpot.descriptors.default import default_acsf, default_descriptor
from kernpot.descriptors.features import Features, PairwiseFeatures, features_from_dict
from kernpot.descriptors.given import GivenFeatures
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.descriptors.twins import features_of

__all__ = [
    "ACSFFeatures",
    "Features",
    "GivenFeatures",
    "PairwiseFeatures",
    "SOAPFeatures",
    "default_acsf",
    "default_descriptor",
    "features_from_dict",
    "features_of",
]
