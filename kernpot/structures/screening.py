"""What a list of structures with calculators must be before their results are taken for labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ase import Atoms

from kernpot.structures.energies import energy_of_forces, warn_of_mixed_energies
from kernpot.structures.occupancy import check_occupancy
from kernpot.structures.predictions import is_predicted, refuse_predictions
from kernpot.structures.stresses import has_stress, warn_of_left_out


def results_of(atoms: Atoms, kinds: Collection[str]) -> dict[str, Any]:
    """Results of a calculator that are labels of some kinds; the stress of a molecule, wire or slab is none."""
    results = getattr(atoms.calc, "results", None) or {}
    found = {kind: results.get(kind) for kind in kinds}
    if "energy" in found:
        found["energy"] = energy_of_forces(results)
    if "stress" in found and not has_stress(atoms):
        found["stress"] = None
    return {kind: value for kind, value in found.items() if value is not None}


def screen(structures: Sequence[tuple[str, Atoms]], kinds: Collection[str]) -> None:
    """Refuse predictions of kernpot and partly occupied sites; warn of a stress left out and of mixed energies.

    Parameters
    ----------
    structures : sequence of (str, Atoms)
        How messages name each structure, and the structure.
    kinds : collection of str
        Kinds of labels that are taken from calculators.

    Raises
    ------
    StructureError
        Results are predictions, or a structure is none that could be computed.
    """
    for source, atoms in structures:
        check_occupancy(atoms, source)
    held = [(source, atoms, results_of(atoms, kinds)) for source, atoms in structures]
    predicted = [source for source, atoms, labels in held if labels and is_predicted(atoms, labels)]
    refuse_predictions(predicted, len(structures))
    results = [(source, getattr(atoms.calc, "results", None) or {}) for source, atoms in structures]
    if "energy" in kinds:
        warn_of_mixed_energies(results)
    if "stress" in kinds:
        lost = [
            source
            for (source, atoms, found), (_, all_) in zip(held, results, strict=True)
            if all_.get("stress") is not None and not has_stress(atoms)
        ]
        warn_of_left_out(lost, len(structures))
