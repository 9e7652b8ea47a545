"""Before any work starts: structures that descriptors fit, or an error that names the one that does not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from kernpot.descriptors import Features
from kernpot.errors import DescriptorError, KernpotWarning
from kernpot.structures.labels import LabelledStructure

# Kinds of labels beside energies that features can learn, by how far their derivatives go.
_LEARNT = {"energy": (), "forces": ("forces",), "stress": ("forces", "stress")}


def learnable(features: Sequence[Features]) -> tuple[str, ...]:
    """Kinds of labels beside energies that a potential on these features can learn."""
    return tuple(kind for kind in ("forces", "stress") if all(kind in _LEARNT[f.knows] for f in features))


def without_other_kinds(labelled: Sequence[LabelledStructure], who: str) -> list[LabelledStructure]:
    """Structures with labels of energies, forces and stress alone; a warning says which others there were.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    who : str
        Begins the sentence: who takes these three kinds only.
    """
    others = sorted({kind for s in labelled for kind in s.others})
    if not others:
        return list(labelled)
    warnings.warn(
        f"{who} energies, forces and stress; the labels {', '.join(others)} of these structures are left out.",
        KernpotWarning,
        stacklevel=3,
    )
    return [s.without(*s.others) for s in labelled]


def require_described(labelled: Sequence[LabelledStructure], features: Sequence[Features]) -> None:
    """Raise DescriptorError, naming the frame, when a descriptor does not fit a structure or its labels."""
    for f in features:
        missing = [kind for kind in ("forces", "stress") if kind not in learnable([f])]
        for s in labelled:
            try:
                f.check(s.atoms)
            except DescriptorError as error:
                raise DescriptorError(f"{s.source}: {error}") from None
            held = [kind for kind in missing if s.label(kind) is not None]
            if held:
                without = "without Jacobians" if "forces" in missing else "without derivatives with respect to strain"
                raise DescriptorError(
                    f"{s.source}: has {' and '.join(held)}, which features {without} cannot learn. Leave them out "
                    "(of the structures' calculators; fit and partial_fit take forces=[None] * n and stress=[None] * "
                    "n), or take a descriptor that knows them."
                )
