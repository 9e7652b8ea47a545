"""From what a user gives for a descriptor to what is evaluated."""

from __future__ import annotations

import copy
from typing import Any

from dscribe.descriptors import ACSF, SOAP

from kernpot.descriptors.acsf import ACSFFeatures
from kernpot.descriptors.adjustable import Adjustable
from kernpot.descriptors.features import Features
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.errors import DescriptorError


def features_of(descriptor: Any) -> Features:
    """The differentiable twin of a DScribe descriptor; what is differentiable already stays as it is.

    Parameters
    ----------
    descriptor : dscribe.descriptors.SOAP, dscribe.descriptors.ACSF or Features
        A descriptor of one's own has all that :class:`Features` tells of, as what derives from
        :class:`kernpot.descriptors.PairwiseFeatures`; :class:`kernpot.descriptors.GivenFeatures` has it, too.

    Raises
    ------
    DescriptorError
        It is none of these, or one with settings that are not supported.
    """
    if isinstance(descriptor, Adjustable):
        # What a fit has used stays as it was when scikit-learn changes the user's.
        descriptor = copy.copy(descriptor)
    if isinstance(descriptor, Features):
        return descriptor
    if isinstance(descriptor, SOAP):
        return SOAPFeatures(descriptor)
    if isinstance(descriptor, ACSF):
        return ACSFFeatures(descriptor)
    got = repr(descriptor) if isinstance(descriptor, str) else type(descriptor).__name__
    raise DescriptorError(
        f"expected a dscribe.descriptors.SOAP or ACSF, got {got}; others have no derivatives. A descriptor of your own "
        "needs all of kernpot.descriptors.Features."
    )
