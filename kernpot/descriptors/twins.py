"""From a DScribe descriptor to its differentiable twin."""

from __future__ import annotations

from dscribe.descriptors import ACSF, SOAP

from kernpot.descriptors.acsf import ACSFFeatures
from kernpot.descriptors.features import Features
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.errors import DescriptorError


def features_of(descriptor: SOAP | ACSF) -> Features:
    """The differentiable twin of a DScribe descriptor.

    Raises
    ------
    DescriptorError
        It is neither a SOAP nor an ACSF, or one with settings that are not supported.
    """
    if isinstance(descriptor, SOAP):
        return SOAPFeatures(descriptor)
    if isinstance(descriptor, ACSF):
        return ACSFFeatures(descriptor)
    raise DescriptorError(
        f"expected a dscribe.descriptors.SOAP or ACSF, got {type(descriptor).__name__}; others have no derivatives."
    )
