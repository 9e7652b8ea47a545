"""The first structures to label, when there is nothing but a geometry: it, and random changes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from kernpot.dynamics.electronic_state import forget_all_else
from kernpot.errors import KernpotError
from kernpot.parameters import is_real, is_whole
from kernpot.structures.checks import check_atoms


@dataclass(frozen=True)
class Bootstrap:
    """How the first frames are made.

    Attributes
    ----------
    number : int, default=10
        Frames in all. The structures given come first; changes of them follow in turn.
    rattle : float, default=0.05
        Largest standard deviation of random displacements, A; the frames have from a quarter of it to all of it.
    strain : float, default=0.03
        Largest component of random strains of cells that are periodic in three directions.
    """

    number: int = 10
    rattle: float = 0.05
    strain: float = 0.03

    def __post_init__(self) -> None:
        if not is_whole(self.number, 1):
            raise KernpotError(f"bootstrap number: expected a positive whole number, got {self.number!r}.")
        for name, value, unit in (("rattle", self.rattle, " in A"), ("strain", self.strain, "")):
            if not is_real(value, 0):
                raise KernpotError(f"bootstrap {name}: expected a number{unit}, not negative, got {value!r}.")

    def frames(self, structures: Sequence[Atoms], rng: np.random.Generator) -> list[Atoms]:
        """The frames.

        Raises
        ------
        StructureError
            When a change puts atoms on top of each other.
        """
        found = [bare(atoms) for atoms in structures]
        n_changed = max(self.number - len(found), 0)
        for k in range(n_changed):
            amplitude = 0.25 + 0.75 * (k + 1) / n_changed
            atoms = found[k % len(structures)].copy()
            if atoms.pbc.all() and self.strain > 0:
                change = rng.uniform(-1, 1, (3, 3)) * self.strain * amplitude
                atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (change + change.T)), scale_atoms=True)
            atoms.positions += rng.normal(0.0, self.rattle * amplitude, atoms.positions.shape)
            check_atoms(atoms, f"bootstrap frame {len(found)}")
            found.append(atoms)
        return found


def bare(atoms: Atoms) -> Atoms:
    """A copy without calculator, momenta and what was said of it, but for its electronic state."""
    copy = atoms.copy()
    forget_all_else(copy)
    copy.arrays.pop("momenta", None)
    return copy
