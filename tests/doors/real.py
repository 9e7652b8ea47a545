"""Real data for the doors: what the repository carries, and EMT as a quantum-mechanical code's stand-in."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from dscribe.descriptors import SOAP

from kernpot import read_structures
from kernpot.uncertainty import evaluate
from kernpot.uncertainty.evaluation import ALL

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"


@cache
def _frames(name: str) -> list[Atoms]:
    return read_structures(DATA / name)


def ethanol(first: int, last: int) -> list[Atoms]:
    """GFN2-xTB ethanol at several temperatures."""
    return [_copied(atoms) for atoms in _frames("ethanol_gfn2.xyz.gz")[first:last]]


def _copied(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **atoms.calc.results)
    return copy


def copper(n: int, seed: int, rattle: float = 0.12) -> list[Atoms]:
    """Rattled, strained copper, with all that EMT tells: energy, energies of atoms, forces, stress."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.02, (3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(0, rattle, atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_potential_energies(), atoms.get_stress()
        frames.append(atoms)
    return frames


def soap(species: list[str], r_cut: float = 3.5) -> SOAP:
    """A small SOAP."""
    weighting = {"function": "poly", "r0": r_cut, "c": 1.0, "m": 2}
    return SOAP(species=species, r_cut=r_cut, n_max=4, l_max=3, sigma=0.4, periodic=True, weighting=weighting)


def coverage(potential: Any, held_out: list[Atoms], kind: str) -> tuple[float, float]:
    """Root mean square error, and the part of labels inside 90 % intervals."""
    row = next(m for m in evaluate(potential, held_out).metrics if m.kind == kind and m.config_type == ALL)
    return row.rmse, row.coverage[0.9]
