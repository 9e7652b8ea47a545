"""What an oracle answers: the labels of one frame, validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from kernpot.errors import OracleFailure, StructureError
from kernpot.structures.checks import check_atoms, check_energy, check_forces, check_stress


@dataclass(frozen=True, eq=False)
class Labels:
    """Energy, forces and stress of one frame.

    Attributes
    ----------
    energy : float
        Total energy that the forces are the derivative of, eV (with smeared occupations the free energy).
    forces : ndarray of shape (n_atoms, 3)
        eV/Angstrom.
    stress : ndarray of shape (6,) or None
        eV/Angstrom^3, ASE sign, order xx, yy, zz, yz, xz, xy; None unless periodic in three directions.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None = None


def checked_labels(atoms: Atoms, energy: Any, forces: Any, stress: Any = None) -> Labels:
    """Labels that fit the frame: finite, of the right shapes; a stress of a frame that has none is left out.

    Parameters
    ----------
    atoms : ase.Atoms
    energy : float
        eV.
    forces : array of shape (n_atoms, 3)
        eV/Angstrom.
    stress : array of shape (6,), (3, 3) or (9,), optional
        eV/Angstrom^3. Codes give one for molecules and slabs too, where it means nothing.

    Raises
    ------
    OracleFailure
        A number is missing, not finite, or of another shape.
    """
    try:
        labels = Labels(
            check_energy(energy, "answer"),
            check_forces(forces, len(atoms), "answer"),
            None if stress is None or not all(atoms.pbc) else check_stress(stress, atoms, "answer"),
        )
    except StructureError as error:
        raise OracleFailure(str(error)) from error
    # in a file NaN stands for a label that is not known; of a calculation it says that it failed
    for kind, label in (("forces", labels.forces), ("stress", labels.stress)):
        if label is not None and np.isnan(label).any():
            raise OracleFailure(f"answer: {kind} has {int(np.isnan(label).sum())} NaN of {label.size} numbers")
    return labels


def labelled(atoms: Atoms, labels: Labels) -> Atoms:
    """A copy of a frame that carries labels where ASE and kernpot look for them.

    Parameters
    ----------
    atoms : ase.Atoms
        Not changed.
    labels : Labels

    Returns
    -------
    ase.Atoms
        With a ``SinglePointCalculator`` that holds the labels; info, arrays and momenta are kept.
    """
    frame = atoms.copy()
    results: dict[str, Any] = {"energy": labels.energy, "free_energy": labels.energy, "forces": labels.forces}
    if labels.stress is not None:
        results["stress"] = labels.stress
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def prepared(atoms: Atoms) -> Atoms | OracleFailure:
    """A frame as calculators get it, or why none should.

    Calculators see elements, positions, cell, pbc, initial charges and magnetic moments, and those entries of info that
    are text or numbers; never constraints.

    Raises
    ------
    StructureError
        Not an ``ase.Atoms``.
    """
    if not isinstance(atoms, Atoms):
        raise StructureError(f"expected frames that are ase.Atoms, got {type(atoms).__name__}.")
    try:
        check_atoms(atoms, "frame")
    except StructureError as error:
        return OracleFailure(str(error))
    frame = atoms.copy()
    frame.set_constraint()
    frame.info = {key: value for key, value in frame.info.items() if isinstance(value, (str, int, float))}
    return frame
