"""Forces and stress of one potential-energy surface against central differences of its energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from kernpot.potential import Draw, Potential

DERIVATIVE_TOLERANCE = 1e-6
"""Largest error of forces and stress against central differences, relative to their norm."""

STENCIL = (4 / 5, -1 / 5, 4 / 105, -1 / 280)  # eighth order, for steps 1 to 4
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

# Angstrom or strain. Long steps drown the rounding of energies; a neighbour crossing the cutoff needs a shorter one.
_STEPS = (1e-2, 5e-3, 1e-3, 1e-4)


def require_forces(
    surface: Potential | Draw,
    atoms: Atoms,
    rng: np.random.Generator,
    directions: int,
    what: str = "forces",
    tolerance: float = DERIVATIVE_TOLERANCE,
) -> None:
    """Require forces to be minus the derivative of the energy, along random displacements of all atoms."""
    forces = surface.mean(atoms).forces
    for _ in range(directions):
        along = rng.normal(size=forces.shape)

        def moved(t: float, along: NDArray[np.float64] = along) -> Atoms:
            new = atoms.copy()
            new.positions += t * along
            return new

        limit = tolerance * float(np.linalg.norm(forces))
        _require_derivative(-float((forces * along).sum()), surface, moved, limit, what)


def require_stress(
    surface: Potential | Draw,
    atoms: Atoms,
    components: Iterable[int],
    what: str = "stress component",
    tolerance: float = DERIVATIVE_TOLERANCE,
) -> None:
    """Require components of the stress, if there is one, to be derivatives with respect to strain over the volume."""
    stress = surface.mean(atoms).stress
    if stress is None:
        return
    volume = atoms.get_volume()
    for k in components:
        a, b = VOIGT[k]

        def strained(t: float, a: int = a, b: int = b) -> Atoms:
            new, deformation = atoms.copy(), np.eye(3)
            deformation[a, b] += t / 2
            deformation[b, a] += t / 2
            new.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            return new

        limit = tolerance * float(np.linalg.norm(stress)) * volume
        _require_derivative(float(stress[k]) * volume, surface, strained, limit, f"{what} {k} x volume")


def _require_derivative(
    found: float, surface: Potential | Draw, path: Callable[[float], Atoms], limit: float, what: str
) -> None:
    """Require the derivative of the energy along a path, by a central difference of one of the steps."""
    reference = surface.mean(path(0.0)).energies

    def rise(t: float) -> float:
        # atom by atom, lest the small difference be lost in a large sum
        return float((surface.mean(path(t)).energies - reference).sum())

    differences = []
    for h in _STEPS:
        differences.append(sum(c * (rise(k * h) - rise(-k * h)) for k, c in enumerate(STENCIL, 1)) / h)
        if abs(differences[-1] - found) <= limit + 1e-9:
            return
    nearest = min(differences, key=lambda d: abs(d - found))
    raise AssertionError(
        f"{what}: dE/dt is {found:.9g} according to the potential and {nearest:.9g} by central differences; they may "
        f"differ by {limit:.1e}"
    )
