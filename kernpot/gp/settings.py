"""Before any work starts: descriptors and kernels that suit the structures, or an error that says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from kernpot.descriptors import Features, default_descriptor, features_of
from kernpot.errors import DescriptorError, KernpotError
from kernpot.gp.inducing.sampling import METHODS
from kernpot.kernels import CosineKernel, SOAPKernel
from kernpot.parameters import is_whole
from kernpot.potential import require_error_bars
from kernpot.structures.reference import checked_energies

AUTO = "auto"
"""Stands for what a fit finds itself: the number of inducing environments, and the way they are chosen."""

# Processes, more than any machine has cores; a cluster's workers are not counted by it.
_MOST_JOBS = 4096
MOST_DRAWS = 1024
"""Shared draws at most."""


def descriptors_for(descriptor: Any, elements: Sequence[int]) -> tuple[Features, ...]:
    """Differentiable descriptors from what the user gave; None is the default one for these elements.

    Raises
    ------
    DescriptorError
        Not a descriptor or a list of them, or one that is not smooth.
    """
    if descriptor is None:
        given: list[Any] = [default_descriptor(elements)]
    elif isinstance(descriptor, Sequence) and not isinstance(descriptor, str):
        given = list(descriptor)
    else:
        given = [descriptor]
    if not given:
        raise DescriptorError("expected at least one descriptor, got an empty list; None chooses a default.")
    features = tuple(features_of(d) for d in given)
    for f in features:
        f.require_smooth()
        if f.vanishes:
            raise DescriptorError(
                f"expected a descriptor that the central atom takes part in, such as SOAP, got "
                f"{type(f.descriptor).__name__}: kernels compare features scaled to unit length, and its jump where "
                "an atom meets its first neighbour. Use a SOAP, or an NNPEnsemble, which takes features as they are."
            )
    return features


def kernels_for(
    kernel: CosineKernel | Sequence[CosineKernel] | None, n_descriptors: int, elements: Sequence[int]
) -> list[CosineKernel]:
    """One kernel per descriptor with an amplitude per element; those of the user stay as they are.

    Raises
    ------
    KernpotError
        Not a kernel of the cosine, or not as many as there are descriptors.
    """
    if kernel is None or isinstance(kernel, CosineKernel):
        kernels: list[CosineKernel] = [SOAPKernel() if kernel is None else kernel] * n_descriptors
    elif isinstance(kernel, Sequence) and all(isinstance(k, CosineKernel) for k in kernel):
        kernels = list(kernel)
    else:
        raise KernpotError(f"expected a SOAPKernel, or another CosineKernel, or a list of them, got {kernel!r}.")
    if len(kernels) != n_descriptors:
        raise KernpotError(f"expected one kernel, or one per descriptor ({n_descriptors}), got {len(kernels)}.")
    return [k.for_elements(elements) for k in kernels]


def check_settings(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters of an estimator that have the wrong type or are out of range.

    Raises
    ------
    KernpotError
        Naming the parameter, what was expected and what was got.
    """
    n_inducing, n_components, inducing, n_jobs, progress, isolated = (
        parameters[name] for name in ("n_inducing", "n_components", "inducing", "n_jobs", "progress", "isolated_atoms")
    )
    if n_inducing != AUTO and not is_whole(n_inducing, 1):
        raise KernpotError(f"n_inducing must be {AUTO!r} or a positive integer, got {n_inducing!r}.")
    if n_components is not None and not is_whole(n_components, 1):
        raise KernpotError(f"n_components must be None (no projection) or a positive integer, got {n_components!r}.")
    require_error_bars(parameters["error_bars"])
    if not is_whole(parameters["n_draws"], 0, MOST_DRAWS):
        raise KernpotError(
            f"n_draws must be a whole number from 0 (no fast error bars) to {MOST_DRAWS}, got "
            f"{parameters['n_draws']!r}."
        )
    for name in ("optimize", "trust_labels"):
        if not isinstance(parameters[name], bool | np.bool_):
            raise KernpotError(f"{name} must be True or False, got {parameters[name]!r}.")
    if n_jobs is not None and not (is_whole(n_jobs, -_MOST_JOBS, _MOST_JOBS) and n_jobs != 0):
        raise KernpotError(f"n_jobs must be None or a number of processes (-1: all cores), got {n_jobs!r}.")
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise KernpotError(f"progress must be True, False or a callable, got {progress!r}.")
    listed = isinstance(inducing, Sequence) and not isinstance(inducing, str | Atoms) and len(inducing) > 0
    if inducing not in (AUTO, *METHODS) if isinstance(inducing, str) else not listed:
        raise KernpotError(
            f"inducing must be one of {', '.join((AUTO, *METHODS))}, or a non-empty list of structures such as "
            f"[atoms], got {inducing!r}."
        )
    checked_energies(isolated)
