"""Check the carried data: counts, labels recomputed, labels against finite differences, the crystal's energy curve.

`python examples/data/check.py` takes some seconds and prints what README.md beside this file reports.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from generate import DATA_SETS, HERE, calculator, dry_ice
from tblite.ase import TBLite

STEP = 2e-3  # Angstrom, or strain: truncation and convergence errors are then about equal


def slope(energy, step: float) -> float:
    """Return the derivative of `energy(x)` at 0 by the four-point central difference."""
    return (8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12 * step)


def energy_of(atoms: Atoms, method: str) -> float:
    """Return the energy in eV from a fresh calculator."""
    atoms.calc = calculator(method)
    return atoms.get_potential_energy()


def default_accuracy_forces(frame: Atoms, method: str) -> np.ndarray:
    """Return forces in eV/A at tblite's default accuracy, which is not good enough for labels."""
    atoms = frame.copy()
    atoms.calc = TBLite(method=method, verbosity=0)
    return atoms.get_forces()


def force_error(frame: Atoms, method: str, atom: int, axis: int) -> float:
    """Return the stored force component plus the finite-difference slope of the energy, eV/A."""

    def energy(x: float) -> float:
        moved = frame.copy()
        moved.positions[atom, axis] += x
        return energy_of(moved, method)

    return frame.get_forces()[atom, axis] + slope(energy, STEP)


def stress_error(frame: Atoms, method: str, i: int, j: int) -> float:
    """Return the stored stress component minus the finite-difference slope of the energy with strain, eV/A^3."""

    def energy(x: float) -> float:
        strain = np.eye(3)
        strain[i, j] += x / 2
        strain[j, i] += x / 2
        moved = frame.copy()
        moved.set_cell(frame.cell.array @ strain, scale_atoms=True)
        return energy_of(moved, method)

    return frame.get_stress(voigt=False)[i, j] - slope(energy, STEP) / frame.get_volume()


def check_file(path: Path, method: str) -> None:
    """Print the counts and the largest deviations of one file, over a few frames of every part."""
    frames = read(path, ":")
    print(f"\n{path.name}: {method}, {len(frames)} frames, {path.stat().st_size / 1000:.0f} kB")
    kinds = Counter((f.info["config_type"], f.info["split"]) for f in frames)
    for (config_type, split), n in kinds.items():
        print(f"  {config_type:14s}{split:6s}{n:4d}")
    shared = {f.info["trajectory"] for f in frames if f.info["split"] == "train"}
    shared &= {f.info["trajectory"] for f in frames if f.info["split"] == "test"}
    print(f"  trajectories in both splits: {len(shared)}")
    rng = np.random.default_rng(0)
    picked = [f for f in frames if len(f) > 1][:: len(frames) // 8]
    again = [abs(energy_of(f.copy(), method) - f.get_potential_energy()) for f in picked]
    print(f"  energy recomputed:              largest difference {max(again):.1e} eV ({len(picked)} frames)")
    loose = [abs(default_accuracy_forces(f, method) - f.get_forces()).max() for f in picked]
    print(f"  forces at default accuracy:     largest difference {max(loose):.1e} eV/A")
    forces = [abs(force_error(f, method, rng.integers(len(f)), rng.integers(3))) for f in picked]
    print(f"  forces - finite differences:    largest difference {max(forces):.1e} eV/A")
    if picked[0].pbc.all():
        stress = [abs(stress_error(f, method, i, j)) for f in picked for i, j in ((0, 0), (1, 2))]
        print(f"  stress - finite differences:    largest difference {max(stress):.1e} eV/A^3")


def check_crystal(method: str) -> None:
    """Print where the crystal's energy is lowest, how smooth the curve is, and what the missing k points cost."""
    crystal = dry_ice(np.random.default_rng(0))
    scales = np.linspace(0.96, 1.04, 41)
    energies = np.array([_scaled(crystal, scale, method) for scale in scales]) / len(crystal)
    fit = np.polynomial.Polynomial.fit(scales, energies, 7)
    fine = np.linspace(0.97, 1.03, 6001)
    minimum = fine[np.argmin(fit(fine))] * crystal.cell[0, 0]
    print(f"\nsolid CO2, {method}, molecules scaled with the cell:")
    print(f"  lattice constant of the energy minimum:  {minimum:.3f} A")
    print(f"  distance of the curve from a polynomial: {1000 * abs(fit(scales) - energies).max():.4f} meV/atom")
    doubled = energy_of(crystal * (2, 2, 2), method) / (8 * len(crystal))
    single = energy_of(crystal, method) / len(crystal)
    print(f"  cell minus 2x2x2 cell (Gamma only):      {1000 * (single - doubled):.2f} meV/atom")


def _scaled(crystal: Atoms, scale: float, method: str) -> float:
    atoms = crystal.copy()
    atoms.set_cell(crystal.cell * scale, scale_atoms=True)
    return energy_of(atoms, method)


def main() -> None:
    """Check both files and the crystal."""
    for name, data in DATA_SETS.items():
        check_file(HERE / f"{name}.xyz.gz", data.method)
    check_crystal(DATA_SETS["dry_ice_gfn1"].method)


if __name__ == "__main__":
    main()
