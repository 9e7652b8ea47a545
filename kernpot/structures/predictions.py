"""Predictions of a potential of kernpot are not labels: a fit would learn its own errors, and find none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.errors import StructureError

KERNPOT = "kernpot"
"""Name of kernpot's calculator, which ASE's formats keep."""

PREDICTED_ENERGY = "energy_predicted"
"""In ``info``: the energy that a potential of kernpot predicted, eV. Equal to the label, there is no label."""

PREDICTED_FORCES = "forces_predicted"
"""Among the arrays of structures with labels: what had been predicted for them."""


def is_predicted(atoms: Atoms, labels: Mapping[str, Any]) -> bool:
    """Whether the labels of a calculator are what kernpot predicted.

    Frames of simulations carry stds beside their energy and forces. So do frames that were labelled since: their energy
    is another one than was predicted, or what was predicted has a name of its own.

    Parameters
    ----------
    atoms : Atoms
    labels : mapping
        From the calculator, by kind.
    """
    name = getattr(atoms.calc, "name", None)
    if name == KERNPOT:
        return True
    computed_since = not isinstance(atoms.calc, SinglePointCalculator) or name != SinglePointCalculator.name
    if computed_since or PREDICTED_FORCES in atoms.arrays:
        return False
    predicted, energy = atoms.info.get(PREDICTED_ENERGY), labels.get("energy")
    if predicted is None:  # files from before it was marked
        return "energy_std" in atoms.info and {"forces_std", "energies_std"} <= atoms.arrays.keys()
    return energy is None or math.isclose(predicted, energy, rel_tol=1e-9, abs_tol=1e-9)


def refuse_predictions(sources: Sequence[str], n_structures: int) -> None:
    """Raise StructureError naming structures whose labels are predictions, if there are any."""
    if sources:
        raise StructureError(
            f"{sources[0]}: its energy and forces are what a potential of kernpot predicted, not labels ({len(sources)}"
            f" of {n_structures} structures are like that). Compute them with the reference method (any ASE calculator,"
            " or an oracle as kernpot learn uses it), and give the structures with those energies and forces."
        )
