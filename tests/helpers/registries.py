"""Kinds that tests and documents define, kept apart: a name can be had once in a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kernpot.descriptors import features
from kernpot.functionals.labels import FUNCTIONALS
from kernpot.kernels import cosine_kernel
from kernpot.structures.kinds import KINDS, LABEL_KINDS

CLASSES: tuple[dict[str, Any], ...] = (features._KINDS, cosine_kernel._KINDS)
LABELS: tuple[dict[str, Any], ...] = (KINDS, FUNCTIONALS)


@contextmanager
def only_ours() -> Iterator[None]:
    """No kinds but kernpot's own; afterwards those of before."""
    before = [dict(registry) for registry in (*CLASSES, *LABELS)]
    for registry in CLASSES:
        for kind in [k for k, known in registry.items() if not known.__module__.startswith("kernpot.")]:
            del registry[kind]
    for registry in LABELS:
        for kind in set(registry) - set(LABEL_KINDS):
            del registry[kind]
    try:
        yield
    finally:
        for registry, known in zip((*CLASSES, *LABELS), before, strict=True):
            registry.clear()
            registry.update(known)
