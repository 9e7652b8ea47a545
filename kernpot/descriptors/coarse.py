"""A coarse version of a descriptor, for what needs no more: how uncertain a potential is, not what it says."""

from __future__ import annotations

import copy

from kernpot.descriptors.features import Features
from kernpot.descriptors.soap import SOAPFeatures

# (n_max, l_max) at most, by number of elements. How draws on such features rank errors of a model on all features,
# beside its whole posterior: python -m benchmarks accuracy defaults, error_bars coverage.
_BASIS = {1: (5, 3), 2: (4, 3)}
_OTHERS = (3, 3)
# Elements from which on features are compressed.
_COMPRESSED = 3


def coarser(features: Features) -> Features:
    """The same descriptor with fewer radial functions and degrees; itself where it has no basis to make smaller.

    Parameters
    ----------
    features : Features
    """
    if not isinstance(features, SOAPFeatures):
        return features
    settings = features.get_params()
    n = len(features.species)
    n_max, l_max = _BASIS.get(n, _OTHERS)
    changed = {"n_max": min(settings["n_max"], n_max), "l_max": min(settings["l_max"], l_max)}
    if n >= _COMPRESSED and features.spectrum.mode == "off":
        changed["compression"] = settings["compression"] | {"mode": "mu1nu1"}
    if all(settings[name] == value for name, value in changed.items()):
        return features
    return copy.deepcopy(features).set_params(**changed)
