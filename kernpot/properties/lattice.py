"""Equation of state and lattice constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState as Fit
from ase.lattice import identify_lattice
from numpy.typing import NDArray

from kernpot.errors import PropertyError
from kernpot.prediction import FloatArray, MeanPrediction
from kernpot.properties.checks import require_crystal
from kernpot.properties.relax import relaxed
from kernpot.uncertainty.propagation import FixedGeometries, SinglePotential

# Cells whose lengths and angles agree to this part have one lattice: relaxation leaves as much.
_SAME_LATTICE = 2e-3


@dataclass(eq=False)
class EquationOfState(FixedGeometries):
    """Birch-Murnaghan equation of state at fixed fractional positions and shape: V0, E0, B0 and B0'.

    The value is ``[V0, E0, B0, B0']``: volume (A^3/atom) and energy (eV/atom) of the minimum, bulk modulus (GPa) and
    its pressure derivative. Fitted by :class:`ase.eos.EquationOfState`.

    Parameters
    ----------
    atoms : Atoms
        A crystal; its volume is the middle of the range.
    strain : float, default=0.03
        Lengths run from ``1 - strain`` to ``1 + strain``.
    n_volumes : int, default=9

    Raises
    ------
    StructureError
        If `atoms` is not periodic in three directions.
    ValueError
        For fewer than 5 volumes.
    PropertyError
        When called, if the minimum is outside the range.
    """

    atoms: Atoms
    strain: float = 0.03
    n_volumes: int = 9
    unit = "Å³/atom, eV/atom, GPa, 1"
    names = ("V0", "E0", "B0", "B0'")

    def __post_init__(self) -> None:
        require_crystal(self.atoms)
        if self.n_volumes < 5 or not 0 < self.strain < 0.3:
            raise ValueError(
                f"expected at least 5 volumes and a strain between 0 and 0.3, got {self.n_volumes} and {self.strain}"
            )
        self.structures = []
        for scale in np.linspace(1 - self.strain, 1 + self.strain, self.n_volumes):
            scaled = self.atoms.copy()
            scaled.set_cell(scaled.cell.array * scale, scale_atoms=True)
            self.structures.append(scaled)

    def combine(self, answers: Sequence[MeanPrediction]) -> FloatArray:
        """Fit one curve."""
        n = len(self.atoms)
        volumes = np.array([a.get_volume() for a in self.structures]) / n
        fit = Fit(volumes, np.array([a.energy for a in answers]) / n, eos="birchmurnaghan")
        try:
            v0, e0, b0 = fit.fit(warn=False)
        except (RuntimeError, ValueError) as error:
            raise PropertyError(f"no equation of state fits the energies: {error}") from error
        if not volumes[0] <= v0 <= volumes[-1]:
            raise PropertyError(
                f"the energy has its minimum at {v0:.2f} A^3/atom, outside {volumes[0]:.2f} to {volumes[-1]:.2f}; "
                "give a crystal nearer to equilibrium"
            )
        return np.array([v0, e0, b0 / units.GPa, fit.eos_parameters[2]])


@dataclass(eq=False)
class RelaxedCell:
    """Cell vectors (3, 3) in A, in rows, at zero stress, cell and positions relaxed.

    Parameters
    ----------
    atoms : Atoms
        A crystal near its minimum.
    fmax : float, default=0.002
        Largest force left, eV/A.
    max_steps : int, default=300
    """

    atoms: Atoms
    fmax: float = 0.002
    max_steps: int = 300
    unit = "Å"

    def __post_init__(self) -> None:
        require_crystal(self.atoms)

    def __call__(self, potential: SinglePotential) -> FloatArray:
        """The vectors with one potential."""
        found = relaxed(self.atoms, potential, self.fmax, self.max_steps, cell=True)
        return np.array(found.cell.array)


class LatticeConstants(RelaxedCell):
    """Lengths ``[a, b, c]`` (A) of the cell vectors of :class:`RelaxedCell`.

    Those are of the cell that is given: of a primitive one, the primitive lengths (:func:`conventional_cell`).
    """

    def __call__(self, potential: SinglePotential) -> FloatArray:
        """``[a, b, c]``."""
        return np.asarray(np.linalg.norm(super().__call__(potential), axis=1))


def conventional_cell(atoms: Atoms) -> NDArray[np.int64]:
    """What makes the conventional cell of the Bravais lattice of a cell, such as the cube of a face-centred lattice.

    Parameters
    ----------
    atoms : Atoms
        Only the cell is looked at; that of a supercell is taken for a lattice of its own.

    Returns
    -------
    ndarray of int64, shape (3, 3)
        ``conventional_cell(atoms) @ atoms.cell.array`` are the conventional vectors, in rows.
    """
    lattice, reduced = identify_lattice(atoms.cell, eps=_SAME_LATTICE)
    primitive, conventional = lattice.tocell().array, lattice.conventional().tocell().array
    return np.asarray(np.rint(conventional @ np.linalg.inv(primitive)) @ np.asarray(reduced)).astype(np.int64)
