"""Relaxation that says when it has not converged."""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from kernpot.errors import PropertyError
from kernpot.uncertainty.propagation import SinglePotential


def relaxed(atoms: Atoms, potential: SinglePotential, fmax: float, max_steps: int, cell: bool = False) -> Atoms:
    """A copy of `atoms` at the nearest minimum, its calculator attached.

    Parameters
    ----------
    atoms : Atoms
    potential : SinglePotential
    fmax : float
        Largest force left, eV/A (on the cell: ASE's ``FrechetCellFilter``).
    max_steps : int
    cell : bool
        Relax the cell as well.

    Raises
    ------
    PropertyError
        If the steps do not suffice.
    """
    atoms = atoms.copy()
    atoms.calc = potential.calculator()
    target: Any = FrechetCellFilter(atoms) if cell else atoms
    optimiser = LBFGS(target, logfile=None)  # type: ignore[arg-type]
    if not optimiser.run(fmax=fmax, steps=max_steps):
        raise PropertyError(
            f"the relaxation of {atoms.get_chemical_formula()} has forces above {fmax} eV/A after {max_steps} steps; "
            "start nearer to the minimum, or allow more steps"
        )
    return atoms
