"""Rows and prior covariances by the definition: every label is a linear functional of total energies.

A derivative is, to sixth order, a fixed combination of the energies of displaced structures. The covariance of any two
labels, and of a label with an inducing environment, is therefore a combination of covariances of total energies, which
are plain double sums over environments. Nothing of the derivatives in kernpot is used in that reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms

from kernpot.descriptors import SOAPFeatures
from kernpot.functionals.rows import energy_rows, force_rows, n_columns, stress_rows
from kernpot.functionals.state import VOIGT, InducingBlock, Structure, normalise
from kernpot.kernels import Power
from tests.helpers.soaps import displaced

# Sixth-order central first derivative: offsets in steps, and weights times the step.
STEP = 4e-3
STENCIL = {-3: -1 / 60, -2: 3 / 20, -1: -3 / 4, 1: 3 / 4, 2: -3 / 20, 3: 1 / 60}


def unit_features(features: SOAPFeatures, atoms: Atoms) -> torch.Tensor:
    return normalise(torch.from_numpy(features(atoms)))[0]


def inducing_blocks(
    rng, descriptors: list[SOAPFeatures], zetas: list[int], atoms: Atoms, m: int = 3
) -> list[InducingBlock]:
    """Environments of a distorted copy of the structure, one block per (descriptor, element)."""
    other = displaced(atoms, rng.normal(scale=0.15, size=(len(atoms), 3)))
    blocks, column = [], 0
    for d, (features, zeta) in enumerate(zip(descriptors, zetas, strict=True)):
        u = unit_features(features, other)
        for element in sorted(set(atoms.numbers.tolist())):
            environments = u[torch.from_numpy(atoms.numbers == element)][:m]
            columns = slice(column, column + len(environments))
            blocks.append(InducingBlock(d, element, Power(zeta), environments, columns))
            column += len(environments)
    return blocks


@dataclass
class Reference:
    """Rows (K, M) and covariances per block (K, K) of energy, forces and stress, from energies alone."""

    rows: np.ndarray
    covariances: list[np.ndarray]


def reference(descriptors: list[SOAPFeatures], blocks: list[InducingBlock], atoms: Atoms) -> Reference:
    states, labels = [atoms], [{0: 1.0}]

    def differentiate(move, strain, factor: float) -> None:
        label = {}
        for k, weight in STENCIL.items():
            label[len(states)] = factor * weight / STEP
            states.append(
                displaced(
                    atoms, None if move is None else k * STEP * move, None if strain is None else k * STEP * strain
                )
            )
        labels.append(label)

    for component in np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3):
        differentiate(component, None, -1.0)
    if all(atoms.pbc):
        for a, b in VOIGT:
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5
            strain[b, a] += 0.5
            differentiate(None, strain, 1.0 / atoms.get_volume())
    combination = np.zeros((len(labels), len(states)))
    for row, label in zip(combination, labels, strict=True):
        row[list(label)] = list(label.values())

    u = [[unit_features(f, s).numpy() for s in states] for f in descriptors]
    out, covariances = np.zeros((len(labels), n_columns(blocks))), []
    for block in blocks:
        members = atoms.numbers == block.element
        stacked = np.array([x[members] for x in u[block.descriptor]])  # states, members, features
        local = (stacked @ block.environments.numpy().T) ** block.function.power
        out[:, block.columns] = combination @ local.sum(1)
        flat = stacked.reshape(-1, stacked.shape[2])
        energies = (
            ((flat @ flat.T) ** block.function.power).reshape(len(states), members.sum(), len(states), -1).sum((1, 3))
        )
        covariances.append(combination @ energies @ combination.T)
    return Reference(out, covariances)


@dataclass
class Labels:
    """What kernpot gives for energy, forces and stress together."""

    rows: np.ndarray
    prior: np.ndarray


def labels_of(structure: Structure, blocks: list[InducingBlock]) -> Labels:
    parts = [energy_rows(structure, blocks), *((r, p) for _, r, p in force_rows(structure, blocks))]
    if structure.volume is not None:
        parts.append(stress_rows(structure, blocks))
    return Labels(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def assert_matches(got: np.ndarray, expected: np.ndarray, kinds: np.ndarray, tolerance: float) -> None:
    """Compare label kinds separately: energies, forces and stress have sizes of their own."""
    for kind in np.unique(kinds):
        here = kinds == kind
        scale = np.abs(expected[here]).max() + 1e-12
        np.testing.assert_allclose(got[here], expected[here], rtol=0, atol=tolerance * scale)
