"""Formation energy of a vacancy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from kernpot.prediction import ENERGY_UNIT, FloatArray
from kernpot.properties.checks import require_crystal
from kernpot.properties.relax import relaxed
from kernpot.uncertainty.propagation import SinglePotential


@dataclass(eq=False)
class VacancyFormationEnergy:
    """``E(vacancy) + mu - E(perfect)`` in eV, positions relaxed around the vacancy at the cell of the perfect crystal.

    Parameters
    ----------
    atoms : Atoms
        Perfect supercell.
    index : int, default=0
        The atom that is taken out.
    reservoir : Atoms, optional
        Crystal (or molecule, or atom) whose energy per atom is the chemical potential ``mu`` of the atom taken out;
        the perfect crystal itself when not given, which is right for elements only.
    fmax : float, default=0.01
        Largest force left, eV/A.
    max_steps : int, default=200

    Raises
    ------
    StructureError
        If `atoms` is not periodic in three directions.
    ValueError
        If there is no atom `index`, or a compound comes without `reservoir`.
    """

    atoms: Atoms
    index: int = 0
    reservoir: Atoms | None = None
    fmax: float = 0.01
    max_steps: int = 200
    unit = ENERGY_UNIT

    def __post_init__(self) -> None:
        require_crystal(self.atoms)
        if not -len(self.atoms) <= self.index < len(self.atoms):
            raise ValueError(f"there is no atom {self.index} in a cell of {len(self.atoms)}")
        if self.reservoir is None and len(set(self.atoms.numbers)) > 1:
            raise ValueError(
                f"the chemical potential of {self.atoms.symbols[self.index]} in {self.atoms.get_chemical_formula()} "
                "depends on where the atom goes; give that as reservoir=..."
            )

    def __call__(self, potential: SinglePotential) -> FloatArray:
        """Formation energy with one potential."""
        reservoir = self.atoms if self.reservoir is None else self.reservoir
        chemical_potential = potential.mean(reservoir).energy / len(reservoir)
        defective = relaxed(self.defective, potential, self.fmax, self.max_steps)
        return np.asarray(defective.get_potential_energy() + chemical_potential - potential.mean(self.atoms).energy)

    @property
    def defective(self) -> Atoms:
        """The supercell without the atom, not relaxed."""
        defective = self.atoms.copy()
        del defective[self.index]
        return defective
