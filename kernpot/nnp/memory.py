"""What a training of networks takes, estimated before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from kernpot.descriptors import Features
from kernpot.parallel.memory import require_memory
from kernpot.structures.labels import LabelledStructure

# Copies of the weights: in double and single precision, gradients, two moments, running averages, the best so far.
_COPIES = 8
# Square matrices of features, to find the directions that networks see.
_SQUARES = 4


def require_memory_for(
    labelled: Sequence[LabelledStructure], features: Features, parameters: Mapping[str, Any]
) -> None:
    """Refuse networks for which there is not enough memory.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    features : Features
    parameters : mapping
        Those of :class:`kernpot.NNPEnsemble`, checked.

    Raises
    ------
    MemoryLimitError
        With the estimate, the limit and the remedy.
    """
    single = parameters["uncertainty"] == "last_layer"
    n_members = 1 if single else int(parameters["n_members"])
    n_elements = len({int(z) for s in labelled for z in s.atoms.numbers})
    n_inputs = min(int(parameters["n_components"]), features.n_features)
    widths = [n_inputs, *(int(width) for width in parameters["hidden"]), 1]
    weights = sum(a * b + b for a, b in pairwise(widths)) * n_elements
    # The posterior over the last layer has matrices of it, as a fit of a Gaussian process has of its environments.
    last = 20 * (n_elements * (widths[-2] + 1)) ** 2 if single else 0
    numbers = weights * n_members * _COPIES + last + n_members * len(labelled) + _SQUARES * features.n_features**2
    require_memory(
        8.0 * numbers,
        f"a training of {n_members} networks with {weights} weights each on {features.n_features} features",
        "Take narrower hidden layers (hidden: widths of 16 to 256 are usual), fewer networks (n_members), or a "
        "descriptor with fewer features.",
    )
