"""Kinds of labels that a model has never seen: a stated guess, told."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

from kernpot.errors import KernpotWarning
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure


def warn_unseen(labelled: Sequence[LabelledStructure], learnable: Collection[str]) -> None:
    """Warn when forces, or the stress of periodic structures, will have error bars that rest on a guess.

    Parameters
    ----------
    labelled : sequence of LabelledStructure
    learnable : collection of str
        Kinds beside energies that the potential can learn, and will predict.
    """
    missing = []
    if all(s.forces is None for s in labelled):
        missing.append(("forces", "eV/A"))
    if all(s.stress is None for s in labelled) and any(all(s.atoms.pbc) for s in labelled):
        missing.append(("stress", "eV/A^3"))
    for kind, unit in missing:
        if kind not in learnable:
            continue
        warnings.warn(
            f"no structure has {kind} labels, so their misfit is unknown; the std of predicted {kind} takes "
            f"{KINDS[kind].unseen} {unit} for it.",
            KernpotWarning,
            stacklevel=4,  # whoever called the estimator's fit
        )
