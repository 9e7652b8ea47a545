"""What a baseline leaves of labels, for a potential to learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers
from numpy.typing import NDArray

from kernpot.backend.requirements import without_other_kinds
from kernpot.errors import KernpotError
from kernpot.potential import Surface
from kernpot.structures.checks import require_elements
from kernpot.structures.labels import LabelledStructure
from kernpot.surfaces.adapter import surface_name

FloatArray = NDArray[np.float64]


def left_over(
    labelled: Sequence[LabelledStructure], surface: Surface
) -> tuple[list[Atoms], list[float | None], list[FloatArray | None], list[FloatArray | None]]:
    """Structures, and what the baseline leaves of their energies, forces and stress.

    Raises
    ------
    KernpotError
        The baseline fails, or has no stress where there are labels of it.
    """
    energies: list[float | None] = []
    forces: list[FloatArray | None] = []
    stress: list[FloatArray | None] = []
    for s in without_other_kinds(labelled, "a baseline gives"):
        require_elements(s.atoms.numbers, surface.elements_, f"{s.source} (baseline)")
        base = surface.mean(s.atoms)
        if s.stress is not None and base.stress is None:
            raise KernpotError(
                f"{s.source}: has a stress label, and the baseline {surface_name(surface)} has no stress to take from "
                "it; take a baseline that has, or leave stress out (fit(..., stress=[None] * n))."
            )
        energies.append(None if s.energy is None else s.energy - base.energy)
        forces.append(None if s.forces is None else s.forces - base.forces)
        stress.append(None if s.stress is None or base.stress is None else s.stress - base.stress)
    return [s.atoms for s in labelled], energies, forces, stress


def relabelled(
    structures: Sequence[Atoms],
    energies: Sequence[float | None],
    forces: Sequence[FloatArray | None],
    stress: Sequence[FloatArray | None],
) -> list[Atoms]:
    """Structures with these labels in their calculators."""
    out = []
    for atoms, energy, force, strain in zip(structures, energies, forces, stress, strict=True):
        copy = atoms.copy()
        results = {"energy": energy, "forces": force, "stress": strain}
        copy.calc = Calculator()
        copy.calc.atoms = copy.copy()
        copy.calc.results = {name: value for name, value in results.items() if value is not None}
        out.append(copy)
    return out


def isolated_atom(element: int | str, surface: Surface) -> float:
    """Energy of an isolated atom of the baseline, eV."""
    z = atomic_numbers.get(element) if isinstance(element, str) else element
    return surface.mean(Atoms([z], [[0.0, 0.0, 0.0]])).energy if z in surface.elements_ else 0.0
