"""Whether labels can be right, from the labels alone: the energy along trajectories against the work of the forces.

Between two frames that differ by small displacements ``d`` of their atoms, at the same cell, the energy changes by
``-d . (F_1 + F_2) / 2`` up to the third order in ``d``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from ase.geometry import find_mic
from numpy.typing import NDArray

from kernpot.errors import KernpotWarning, StructureError
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.slips import mistake, right

FARTHEST = 0.35
"""Displacements between frames that are compared, in Angstrom."""

# A straight line through so many pairs tells a factor, where they lie on one as closely as that.
_FEWEST_PAIRS = 5
_CORRELATED = 0.97
# Where both are smaller than this, in eV, energies are not converged well enough to compare.
_LEAST = 1e-4

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LabelFinding:
    """What is, or may be, wrong with labels.

    Attributes
    ----------
    severity : {"refused", "warned"}
        Whether they cannot be right, or may be wrong.
    message : str
        With the structures, and the likely cause.
    """

    severity: Literal["refused", "warned"]
    message: str


def findings(labelled: Sequence[LabelledStructure]) -> list[LabelFinding]:
    """What is wrong with energies and forces of frames that follow one another; nothing where no frames do."""
    works, changes, sources = _along_trajectories(labelled)
    if len(works) < _FEWEST_PAIRS:
        return []
    factor, correlation = line(changes, works)
    if not abs(correlation) > _CORRELATED or right(factor):
        return []
    # Of forces that are c times too large the work is, too.
    causes = [text for text in (mistake("energy", factor), mistake("forces", 1 / factor)) if text]
    return [
        LabelFinding(
            "refused",
            f"energies and forces contradict each other: between {len(works)} pairs of successive structures (from "
            f"{sources[0]} on) the energy changes by {factor:.3g} times the work of the forces, expected 1"
            + (f"; {', or '.join(causes)}." if causes else "; check units and signs of both."),
        )
    ]


def line(labels: FloatArray, predicted: FloatArray, beside: float = 0.0) -> tuple[float, float]:
    """Slope of labels on predictions through the origin, and their correlation.

    Parameters
    ----------
    labels, predicted : ndarray of shape (n,)
    beside : float
        Squares of labels that nothing can predict.
    """
    crossed, squares = float(labels @ predicted), float(predicted @ predicted)
    total = float(labels @ labels) + beside
    if squares == 0 or total == 0:
        return 1.0, 0.0
    return crossed / squares, crossed / float(np.sqrt(squares * total))


def act_on(found: Iterable[LabelFinding], trusted: bool) -> None:
    """Warn of what may be wrong, and refuse what cannot be right unless the labels are trusted.

    Raises
    ------
    StructureError
        With all that cannot be right.
    """
    refused = [f.message for f in found if f.severity == "refused"]
    for f in found:
        if f.severity == "warned" or trusted:
            warnings.warn(f.message, KernpotWarning, stacklevel=3)
    if refused and not trusted:
        raise StructureError(
            " ".join(refused) + " Correct the labels; where they are right all the same, say so by trust_labels=True "
            "(on the command line --trust-labels)."
        )


def _along_trajectories(labelled: Sequence[LabelledStructure]) -> tuple[FloatArray, FloatArray, list[str]]:
    """Work of the forces and change of the energy between successive frames, eV, and the names of the first of both."""
    works, changes, sources = [], [], []
    for a, b in pairwise(labelled):
        if a.energy is None or b.energy is None or a.forces is None or b.forces is None or len(a.atoms) != len(b.atoms):
            continue
        same = (a.atoms.numbers == b.atoms.numbers).all() and (a.atoms.pbc == b.atoms.pbc).all()
        if not same or np.abs(a.atoms.cell.array - b.atoms.cell.array).max() > 1e-6:
            continue
        moved, distances = find_mic(b.atoms.positions - a.atoms.positions, a.atoms.cell, a.atoms.pbc)
        work = -0.5 * float(np.sum((a.forces + b.forces) * moved))
        if distances.max() < FARTHEST and max(abs(work), abs(b.energy - a.energy)) > _LEAST:
            works.append(work)
            changes.append(b.energy - a.energy)
            sources.append(a.source)
    return np.array(works), np.array(changes), sources
