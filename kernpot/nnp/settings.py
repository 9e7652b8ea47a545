"""Before any work starts: parameters of the ensemble checked, a descriptor that suits the structures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kernpot.descriptors import Features, default_descriptor, features_of
from kernpot.errors import DescriptorError, KernpotError
from kernpot.nnp.networks import check_activation
from kernpot.nnp.splits import RESAMPLINGS
from kernpot.nnp.training import SCHEDULES
from kernpot.parameters import is_real, is_whole
from kernpot.structures.reference import checked_energies

# Of anything that is counted; far less than that is refused for lack of memory.
_MOST = 10**12
UNCERTAINTIES = ("ensemble", "shallow", "last_layer")


def check_settings(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that have the wrong type or are out of range.

    Raises
    ------
    KernpotError
        Naming the parameter, what was expected and what was got.
    """
    check_activation(parameters["activation"])
    hidden = parameters["hidden"]
    listed = isinstance(hidden, Sequence | np.ndarray) and not isinstance(hidden, str) and len(hidden) > 0
    if not listed or not all(is_whole(width, 1, _MOST) for width in hidden):
        raise KernpotError(f"hidden must be the widths of one or more hidden layers such as (32, 32), got {hidden!r}.")
    for name, least in (("n_members", 2), ("n_components", 1), ("batch_size", 1)):
        if not is_whole(parameters[name], least, _MOST):
            raise KernpotError(f"{name} must be a whole number, {least} or more, got {parameters[name]!r}.")
    for name in ("max_epochs", "patience"):
        if parameters[name] is not None and not is_whole(parameters[name], 1, _MOST):
            raise KernpotError(f"{name} must be None or a positive whole number, got {parameters[name]!r}.")
    for name, choices in (("uncertainty", UNCERTAINTIES), ("resample", RESAMPLINGS), ("schedule", SCHEDULES)):
        if parameters[name] not in choices:
            raise KernpotError(f"{name} must be one of {', '.join(map(repr, choices))}, got {parameters[name]!r}.")
    rate, part = parameters["learning_rate"], parameters["validation"]
    if not (is_real(rate) and 0 < rate < 1):
        raise KernpotError(f"learning_rate must lie between 0 and 1 (0.01, say), got {rate!r}.")
    if not (is_real(part) and 0 <= part <= 0.5):
        raise KernpotError(f"validation must be a part of the structures, 0 to 0.5, got {part!r}.")
    if not isinstance(parameters["trust_labels"], bool | np.bool_):
        raise KernpotError(f"trust_labels must be True or False, got {parameters['trust_labels']!r}.")
    checkpoint, seed = parameters["checkpoint"], parameters["random_state"]
    if checkpoint is not None:
        if not isinstance(seed, int | np.integer):
            raise KernpotError(
                f"a checkpoint can only be taken up with a fixed seed: give random_state a whole number, got {seed!r}."
            )
        if not isinstance(checkpoint, str | os.PathLike):
            raise KernpotError(f"checkpoint must be None or the path of a file, got {checkpoint!r}.")
        if Path(checkpoint).is_dir() or not Path(checkpoint).parent.is_dir():
            raise KernpotError(f"checkpoint must be a file in a folder that exists, got {str(checkpoint)!r}.")
    progress = parameters["progress"]
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise KernpotError(f"progress must be True, False or a callable, got {progress!r}.")
    checked_energies(parameters["isolated_atoms"])


def descriptor_for(descriptor: Any, elements: Sequence[int]) -> Features:
    """The differentiable descriptor of what the user gave; None is the default one for these elements.

    Raises
    ------
    DescriptorError
        Not a SOAP or an ACSF, or one that is not smooth.
    """
    if isinstance(descriptor, Sequence) and not isinstance(descriptor, str):
        raise DescriptorError("expected one descriptor, got a list: networks see the features of a single one.")
    features = features_of(default_descriptor(elements) if descriptor is None else descriptor)
    features.require_smooth()
    return features
