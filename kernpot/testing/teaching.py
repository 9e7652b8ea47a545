"""Labelled structures for checks of learning: what a potential says itself, and a smooth force field on top."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from kernpot.potential import Potential
from kernpot.prediction import MeanPrediction
from kernpot.structures.neighbours import find_pairs
from kernpot.testing.comparison import full

# Size of what is to be learnt, in root mean square stds of forces and of energies per atom; at least (eV/A, eV).
_STRENGTH, _LEAST = 3.0, 1e-3


def lessons(potential: Potential, structures: Sequence[Atoms], kinds: Sequence[str]) -> list[Atoms]:
    """Displaced copies with labels that ask the potential to change, in a way that a potential can.

    Forces are the potential's own and those of a pair repulsion that vanishes smoothly at the cutoff. Beside them
    energies have what the repulsion does between the structure and its displaced copy; without them, a shift per atom.
    Labels of structures without any pair are the potential's own.

    Parameters
    ----------
    potential : Potential
    structures : sequence of ase.Atoms
    kinds : sequence of {"energy", "forces"}
        Kinds of labels.
    """
    frames = displaced(structures)
    predictions = [full(potential, atoms) for atoms in frames]
    started = [_repulsion(atoms, potential.cutoff) for atoms in structures]
    added = [_repulsion(atoms, potential.cutoff) for atoms in frames]
    size = _rms([forces for _, forces in added])
    factor = _to_learn([p.forces.std for p in predictions]) / size if size > 0 else 0.0
    shift = _to_learn([p.energy.std / len(atoms) for p, atoms in zip(predictions, frames, strict=True)])
    found = []
    for atoms, p, (energy, forces), (before, _) in zip(frames, predictions, added, started, strict=True):
        more = factor * (energy - before) if "forces" in kinds else shift * len(atoms) * (energy > 0)
        found.append(labelled(atoms, p.mean, more, factor * forces, kinds))
    return found


def displaced(structures: Sequence[Atoms], random_state: int = 0, std: float = 0.03) -> list[Atoms]:
    """Copies with every atom displaced (Angstrom): structures that no fit has seen."""
    rng = np.random.default_rng(random_state)
    moved = [atoms.copy() for atoms in structures]
    for atoms in moved:
        atoms.positions += rng.normal(0.0, std, atoms.positions.shape)
    return moved


def labelled(
    atoms: Atoms,
    mean: MeanPrediction,
    energy: float,
    forces: NDArray[np.float64],
    kinds: Sequence[str] = ("energy", "forces"),
) -> Atoms:
    """A copy with labels: a prediction and what is added to it (eV, eV/A)."""
    new = atoms.copy()
    labels = {"energy": mean.energy + energy, "forces": mean.forces + forces}
    new.calc = SinglePointCalculator(new, **{kind: labels[kind] for kind in kinds})
    return new


def squared_error(potential: Potential, frames: Sequence[Atoms], kind: str) -> float:
    """Sum of squared errors of forces, or of energies per atom."""
    total = 0.0
    for atoms in frames:
        error = getattr(potential.mean(bare(atoms)), kind) - atoms.calc.results[kind]
        total += float(np.square(error / (len(atoms) if kind == "energy" else 1)).sum())
    return total


def bare(atoms: Atoms) -> Atoms:
    """A copy without labels."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _repulsion(atoms: Atoms, cutoff: float) -> tuple[float, NDArray[np.float64]]:
    """Energy and forces of ``(1 - r / cutoff)^3`` between atoms."""
    pairs = find_pairs(atoms, cutoff)
    distance = np.linalg.norm(pairs.vectors, axis=1)
    left = 1.0 - distance / cutoff
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, pairs.centres, (-3.0 * left**2 / cutoff / distance)[:, None] * pairs.vectors)
    return 0.5 * float((left**3).sum()), forces


def _to_learn(stds: Sequence[NDArray[np.float64]]) -> float:
    return max(_STRENGTH * _rms(stds), _LEAST)


def _rms(arrays: Sequence[NDArray[np.float64]]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([np.ravel(a) for a in arrays]) ** 2)))
