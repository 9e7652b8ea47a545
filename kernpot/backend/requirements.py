"""Before any work starts: structures that descriptors fit, or an error that names the one that does not."""

from __future__ import annotations

from collections.abc import Sequence

from kernpot.descriptors import Features
from kernpot.errors import DescriptorError
from kernpot.structures.labels import LabelledStructure


def require_described(labelled: Sequence[LabelledStructure], features: Sequence[Features]) -> None:
    """Raise DescriptorError, naming the frame, when a descriptor does not fit a structure."""
    for f in features:
        for s in labelled:
            try:
                f.check(s.atoms)
            except DescriptorError as error:
                raise DescriptorError(f"{s.source}: {error}") from None
