"""Elastic constants from the stress of strained crystals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.stress import voigt_6_to_full_3x3_strain
from numpy.typing import NDArray

from kernpot.errors import KernpotWarning, PropertyError
from kernpot.prediction import FloatArray, MeanPrediction
from kernpot.properties.checks import require_crystal
from kernpot.uncertainty.propagation import FixedGeometries, SinglePotential

# Stress of the cell, as a part of the largest constant, that is told of.
_STRESS = 0.005


@dataclass(eq=False)
class ElasticConstants(FixedGeometries):
    r"""Elastic constants ``C[i, j]`` (6, 6) in GPa, Voigt order xx, yy, zz, yz, xz, xy, of a crystal of any symmetry.

    The derivative of the stress with engineering strain, by central differences at the given cell,

        C = d sigma / d epsilon - V^-1 Lambda^T H^-1 Lambda,

    whose second term lets the ions follow the strain: ``Lambda`` the derivative of the forces with strain, ``H`` the
    Hessian, both by central differences too (Born and Huang, Dynamical Theory of Crystal Lattices (1954), section 11).
    Without it the constants are the clamped-ion ones, which are linear in the potential.

    Take the cell of zero stress (:class:`kernpot.properties.LatticeConstants`): under stress these are stress-strain
    coefficients. The ions should be relaxed: forces left by a draw enter in second order.

    Parameters
    ----------
    atoms : Atoms
    relax_ions : bool, default=True
    strain : float, default=0.005
    displacement : float, default=0.01
        Of single atoms for the Hessian, A.

    Raises
    ------
    StructureError
        If `atoms` is not periodic in three directions.
    PropertyError
        When called, if the ions are not at a minimum (the Hessian is not positive).

    Warns
    -----
    KernpotWarning
        When called, if the cell is under stress.
    """

    atoms: Atoms
    relax_ions: bool = True
    strain: float = 0.005
    displacement: float = 0.01
    unit = "GPa"

    def __post_init__(self) -> None:
        require_crystal(self.atoms)
        self.linear = not self.relax_ions
        self.needs = ("forces", "stress") if self.relax_ions else ("stress",)
        self.structures = [_strained(self.atoms, s * e) for e in self.strain * np.eye(6) for s in (1, -1)]
        if self.relax_ions:
            for k in range(3 * len(self.atoms)):
                for sign in (1, -1):
                    moved = self.atoms.copy()
                    moved.positions[k // 3, k % 3] += sign * self.displacement
                    self.structures.append(moved)

    def __call__(self, potential: SinglePotential) -> FloatArray:
        """Constants with one potential."""
        answers = [potential.mean(atoms) for atoms in self.structures]
        constants = self.combine(answers)
        stress = np.mean([a.stress for a in answers[:12] if a.stress is not None], axis=0) / units.GPa
        if np.abs(stress).max() > _STRESS * np.abs(constants).max():
            warnings.warn(
                f"elastic constants of {self.atoms.get_chemical_formula()} at a cell under a stress of "
                f"{np.abs(stress).max():.2g} GPa are stress-strain coefficients, not those of the crystal at rest; "
                "relax the cell first (LatticeConstants, or kernpot properties, which does)",
                KernpotWarning,
                stacklevel=2,
            )
        return constants

    def combine(self, answers: Sequence[MeanPrediction]) -> FloatArray:
        """Constants from the stress (and forces) of all strained (and displaced) structures."""
        stress = np.array([a.stress for a in answers[:12]])
        c = (stress[::2] - stress[1::2]).T / (2 * self.strain)
        if self.relax_ions:
            forces = np.array([a.forces.ravel() for a in answers])
            coupling = (forces[0:12:2] - forces[1:12:2]).T / (2 * self.strain)
            hessian = (forces[13::2] - forces[12::2]) / (2 * self.displacement)
            c = c - coupling.T @ _follow(0.5 * (hessian + hessian.T), coupling) / self.atoms.get_volume()
        return np.asarray(0.5 * (c + c.T) / units.GPa)


def cubic_constants(c: NDArray[np.float64]) -> FloatArray:
    """``[C11, C12, C44]`` of a cubic crystal along the axes, averaged over equivalent elements of the 6 x 6 matrix."""
    d = np.diagonal(c)
    return np.array([d[:3].mean(), (c[0, 1] + c[0, 2] + c[1, 2]) / 3, d[3:].mean()])


def bulk_modulus(c: NDArray[np.float64]) -> float:
    """Hill average of the bulk modulus of a polycrystal, from the 6 x 6 matrix (Proc. Phys. Soc. A 65, 349 (1952))."""
    s = np.linalg.inv(c)
    return float(0.5 * (c[:3, :3].sum() / 9 + 1 / s[:3, :3].sum()))


def shear_modulus(c: NDArray[np.float64]) -> float:
    """Hill average of the shear modulus of a polycrystal, from the 6 x 6 matrix."""
    s = np.linalg.inv(c)
    normal, off = np.trace(c[:3, :3]), c[0, 1] + c[0, 2] + c[1, 2]
    voigt = (normal - off + 3 * np.trace(c[3:, 3:])) / 15
    normal, off = np.trace(s[:3, :3]), s[0, 1] + s[0, 2] + s[1, 2]
    reuss = 15 / (4 * (normal - off) + 3 * np.trace(s[3:, 3:]))
    return float(0.5 * (voigt + reuss))


def _strained(atoms: Atoms, voigt: NDArray[np.float64]) -> Atoms:
    # ASE's "strain" is the deformation, identity included.
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ voigt_6_to_full_3x3_strain(voigt), scale_atoms=True)
    return strained


def _follow(hessian: NDArray[np.float64], coupling: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacements per strain that cancel the forces; rigid translations are left out."""
    n = len(hessian) // 3
    translations = np.tile(np.eye(3), (n, 1)) / np.sqrt(n)
    inside = np.eye(3 * n) - translations @ translations.T
    values, vectors = np.linalg.eigh(inside @ hessian @ inside)
    # The projector leaves three zeros: those are the translations, whatever else is small.
    moves = np.linalg.norm(translations.T @ vectors, axis=0) < 0.5
    if (values[moves] <= 0).any():
        raise PropertyError(
            f"the ions are not at a minimum: the Hessian has an eigenvalue of {values[moves].min():.3g} eV/A^2; relax "
            "the crystal in a larger cell, or ask for clamped ions with relax_ions=False"
        )
    kept = vectors[:, moves]
    return np.asarray(kept @ ((kept.T @ coupling) / values[moves][:, None]))
