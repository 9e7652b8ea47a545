"""Labels as the training sees them: energies less those of isolated atoms, every label with its weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.nnp.derivatives import Batch
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel

FloatArray = NDArray[np.float64]

# Force components that weigh as much as one energy: those of one structure share their causes of misfit.
_COMPONENTS = 10.0
# Levels where none are given: forces to 5 % of their rms, energies per atom as forces over 0.05 A, stress as forces
# over 100 A^2; without forces, energies to 5 % of their spread.
_PART, _LENGTH, _PER_AREA = 0.05, 0.05, 0.01
# eV/atom, eV/A, eV/A^3: no quantum code converges better.
_LEAST = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-6}


@dataclass(frozen=True)
class Scales:
    """What energies are measured in and from during training.

    Attributes
    ----------
    unit : float
        eV: the rms force over 1 A, or the spread of energies per atom where there are no forces.
    offsets : dict of int to float
        Energy of an atom of each element less that of the isolated atom, eV: the least-squares fit to the energies.
    levels : dict of str to float
        Noise level of every group of labels, eV/atom, eV/A, eV/A^3.
    """

    unit: float
    offsets: dict[int, float]
    levels: dict[str, float]


def scales_of(
    labelled: Sequence[LabelledStructure], noise: NoiseModel, isolated: Mapping[int, float], elements: Sequence[int]
) -> Scales:
    """Scales of the labels of a training set."""
    with_energy = [s for s in labelled if s.energy is not None]
    parts = np.array([[np.mean(s.atoms.numbers == z) for z in elements] for s in with_energy]).reshape(
        -1, len(elements)
    )
    per_atom = np.array([(s.energy or 0.0) - sum(isolated[int(z)] for z in s.atoms.numbers) for s in with_energy])
    per_atom = per_atom / np.array([len(s.atoms) for s in with_energy])
    found = np.linalg.lstsq(parts, per_atom, rcond=1e-6)[0]
    components = [s.forces.ravel()[s.known("forces")] for s in labelled if s.forces is not None]
    rms = float(np.sqrt(np.mean(np.concatenate(components) ** 2))) if components else 0.0
    spread = float(np.std(per_atom - parts @ found)) if with_energy else 0.0
    level = {"forces": _PART * rms, "energy": _PART * _LENGTH * rms, "stress": _PART * _PER_AREA * rms}
    if rms == 0.0:
        level = {"forces": _PART * spread, "energy": _PART * spread, "stress": _PART * _PER_AREA * spread}
    fixed = noise.fixed
    groups = {noise.group(s, kind): kind for s in labelled for kind in s.kinds}
    levels = {group: fixed.get(group, max(level[kind], _LEAST[kind])) for group, kind in groups.items()}
    unit = max(rms if rms > 0 else spread, _LEAST["forces"])
    return Scales(unit, {z: float(e) for z, e in zip(elements, found, strict=True)}, levels)


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of structures in units of the scale, and one over their levels; zero where a label is missing.

    Attributes
    ----------
    energies, energy_weights : Tensor of shape (n_structures,)
        Energy per atom less those of isolated atoms and offsets.
    forces, force_weights : Tensor of shape (n_atoms, 3)
    stress, stress_weights : Tensor of shape (n_structures, 6)
    """

    energies: Tensor
    energy_weights: Tensor
    forces: Tensor
    force_weights: Tensor
    stress: Tensor
    stress_weights: Tensor


def targets_of(
    labelled: Sequence[LabelledStructure], noise: NoiseModel, scales: Scales, isolated: Mapping[int, float]
) -> Targets:
    """Labels with the weights that their noise levels and the structures' own ``noise_scale`` give them."""
    n, unit = len(labelled), scales.unit
    energies, energy_weights = torch.zeros(n), torch.zeros(n)
    forces: list[FloatArray] = []
    force_weights: list[FloatArray] = []
    stress: list[FloatArray] = []
    stress_weights: list[FloatArray] = []

    def components(s: LabelledStructure, kind: str, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """A label and its weights; both zero where it is not known."""
        if s.label(kind) is None:
            return np.zeros(shape), np.zeros(shape)
        weights = unit / (scales.levels[noise.group(s, kind)] * s.scales(kind) * _COMPONENTS**0.5)
        known = s.known(kind)
        return np.nan_to_num(s.label(kind) / unit), np.where(known, weights, 0.0).reshape(shape)

    for k, s in enumerate(labelled):
        if s.energy is not None:
            known = sum(isolated[int(z)] + scales.offsets[int(z)] for z in s.atoms.numbers)
            energies[k] = (s.energy - known) / (unit * len(s.atoms))
            energy_weights[k] = unit / (scales.levels[noise.group(s, "energy")] * s.noise_scale["energy"])
        for kind, shape, labels, weights in (
            ("forces", (len(s.atoms), 3), forces, force_weights),
            ("stress", (6,), stress, stress_weights),
        ):
            label, weight = components(s, kind, shape)
            labels.append(label)
            weights.append(weight)
    return Targets(
        energies,
        energy_weights,
        torch.from_numpy(np.concatenate(forces)).float(),
        torch.from_numpy(np.concatenate(force_weights)).float(),
        torch.from_numpy(np.stack(stress)).float(),
        torch.from_numpy(np.stack(stress_weights)).float(),
    )


def loss(targets: Targets, batch: Batch, energies: Tensor, forces: Tensor, stress: Tensor) -> Tensor:
    """Weighted squares of every structure's errors for every member, (K, n_structures).

    Parameters
    ----------
    energies : Tensor of shape (K, n_structures)
        Per atom.
    forces : Tensor of shape (n_atoms, 3, K)
    stress : Tensor of shape (n_structures, 6, K)
    """
    chosen = torch.from_numpy(batch.structures)
    sizes = torch.from_numpy(batch.sizes)
    total = ((energies - targets.energies[chosen]) * targets.energy_weights[chosen]).square()
    weights = targets.force_weights[batch.places, :, None]
    squares = ((forces - targets.forces[batch.places, :, None]) * weights).square().sum(1)
    owner = torch.arange(len(chosen)).repeat_interleave(sizes)
    total = total + squares.new_zeros((len(chosen), squares.shape[1])).index_add(0, owner, squares).T
    strained = (stress - targets.stress[chosen, :, None]) * targets.stress_weights[chosen, :, None]
    return total + strained.square().sum(1).T
