"""Force constants and phonon frequencies of crystals, by phonopy (``pip install 'kernpot[properties]'``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import ArrayLike

from kernpot.prediction import FloatArray, MeanPrediction
from kernpot.properties.checks import require_crystal
from kernpot.uncertainty.propagation import FixedGeometries

# Eigenvalues of dynamical matrices, eV/A^2/u, in THz^2.
_TO_THZ2 = units._e * 1e20 / units._amu / (2e12 * np.pi) ** 2


@dataclass(eq=False)
class ForceConstants(FixedGeometries):
    """Force constants (n_atoms, n_supercell, 3, 3) in eV/A^2 between the unit cell and a supercell.

    Phonopy displaces as few atoms as the symmetry of the crystal allows, the same for all draws.

    Parameters
    ----------
    atoms : Atoms
        Unit cell, relaxed with the mean potential.
    supercell : sequence of int
        Repetitions along the cell vectors.
    displacement : float, default=0.01
        A.

    Raises
    ------
    ModuleNotFoundError
        If phonopy is not installed.
    StructureError
        If `atoms` is not periodic in three directions.
    """

    atoms: Atoms
    supercell: Sequence[int]
    displacement: float = 0.01
    unit = "eV/Å²"
    needs = ("forces",)
    linear = True

    def __post_init__(self) -> None:
        require_crystal(self.atoms)
        self.phonopy = _phonopy(self.atoms, self.supercell, self.displacement)
        self.structures = [
            Atoms(s.symbols, s.positions, cell=s.cell, pbc=True) for s in self.phonopy.supercells_with_displacements
        ]

    def combine(self, answers: Sequence[MeanPrediction]) -> FloatArray:
        """Force constants that obey the crystal's symmetry and the sum rule."""
        self.phonopy.forces = np.array([a.forces for a in answers])
        self.phonopy.produce_force_constants(calculate_full_force_constants=False)
        self.phonopy.symmetrize_force_constants()
        return np.array(self.phonopy.force_constants)


@dataclass(eq=False)
class PhononModes(FixedGeometries):
    """Squared frequencies (n_q, 3 n_atoms) in THz^2, ascending; negative ones are unstable modes.

    Frequencies are not averaged through zero: take intervals of their squares, and :func:`signed_root` of those at the
    end (quantiles are the same either way).

    Parameters
    ----------
    atoms, supercell, displacement
        As for :class:`ForceConstants`.
    q_points : array-like of shape (n_q, 3)
        In units of the reciprocal cell vectors.
    """

    atoms: Atoms
    supercell: Sequence[int]
    q_points: ArrayLike = ((0.0, 0.0, 0.0),)
    displacement: float = 0.01
    unit = "THz²"
    needs = ("forces",)

    def __post_init__(self) -> None:
        self.force_constants = ForceConstants(self.atoms, self.supercell, self.displacement)
        self.structures = self.force_constants.structures
        q = np.asarray(self.q_points, dtype=np.float64)
        if q.ndim != 2 or q.shape[1] != 3:
            raise ValueError(f"q_points must have shape (n_q, 3), got {q.shape}")

    def combine(self, answers: Sequence[MeanPrediction]) -> FloatArray:
        """Eigenvalues of the dynamical matrices."""
        self.force_constants.combine(answers)
        matrices = self.force_constants.phonopy.dynamical_matrix
        squares = []
        for q in np.asarray(self.q_points, dtype=np.float64):
            matrices.run(q)
            squares.append(np.linalg.eigvalsh(matrices.dynamical_matrix))
        return np.array(squares) * _TO_THZ2


def signed_root(squares: ArrayLike) -> FloatArray:
    """Frequencies from their squares; unstable modes get a negative sign, as is the custom."""
    values = np.asarray(squares, dtype=np.float64)
    return np.sign(values) * np.sqrt(np.abs(values))


def _phonopy(atoms: Atoms, supercell: Sequence[int], displacement: float) -> Any:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "phonons need phonopy, which is not installed: pip install 'kernpot[properties]'"
        ) from error
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        positions=atoms.positions,
        masses=atoms.get_masses(),
    )
    found = Phonopy(cell, supercell_matrix=np.diag(supercell), primitive_matrix=np.eye(3))
    found.generate_displacements(distance=displacement)
    return found
