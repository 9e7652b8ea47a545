"""Kinds of labels: what a structure may be labelled with, beside the three that every potential predicts.

A kind is one file here: its name, unit and checks, and the numbers that its noise and its error bars begin with. What a
label is as a functional of the local energy stands in :mod:`kernpot.functionals.labels`, in a file of its own as well.
Both are known from their registration on.
"""

from kernpot.structures.kinds.energy import ENERGY
from kernpot.structures.kinds.forces import FORCES
from kernpot.structures.kinds.kind import LabelKind
from kernpot.structures.kinds.stress import STRESS

LABEL_KINDS = ("energy", "forces", "stress")
"""Names of the kinds that every potential predicts."""

KINDS: dict[str, LabelKind] = {kind.name: kind for kind in (ENERGY, FORCES, STRESS)}
"""All kinds that are known, by name."""


def register(kind: LabelKind) -> LabelKind:
    """Let structures have labels of a kind, from now on; gives it back.

    Raises
    ------
    ValueError
        There is another kind of that name.
    """
    if KINDS.setdefault(kind.name, kind) is not kind:
        raise ValueError(f"there is a kind of label named {kind.name!r} already; give yours another name")
    return kind


def other_kinds() -> list[LabelKind]:
    """Kinds beside the three that every potential predicts."""
    return [kind for name, kind in KINDS.items() if name not in LABEL_KINDS]


__all__ = ["KINDS", "LABEL_KINDS", "LabelKind", "other_kinds", "register"]
