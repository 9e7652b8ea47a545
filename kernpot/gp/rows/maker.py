"""Rows of the labels of one structure: whitened, divided by the structure's own noise scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kernpot.calibration.surroundings import Surroundings
from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.rows.whitening import Whitening
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel


@dataclass(frozen=True)
class LabelRows:
    """Rows of some labels of one structure and one kind, each divided by its relative noise scale.

    Attributes
    ----------
    group : str
        Noise group.
    rows : Tensor of shape (n, M)
        Whitened, unit amplitude.
    targets : Tensor of shape (n,)
        Labels less the isolated atoms.
    prior : Tensor of shape (n, n_blocks)
        Prior variances from each inducing block, unit amplitude.
    """

    group: str
    rows: Tensor
    targets: Tensor
    prior: Tensor

    @property
    def kind(self) -> str:
        """Label kind: energy, forces or stress."""
        return self.group.split("[")[0]


@dataclass(frozen=True)
class KeptRows:
    """Rows of one structure, kept for leave-one-out, and the surroundings its force variances are pooled over."""

    parts: list[LabelRows]
    surroundings: Surroundings


class RowMaker:
    """Turns labelled structures into whitened rows.

    Parameters
    ----------
    descriptors : sequence of SOAPFeatures
    whitening : Whitening
    noise : NoiseModel
    isolated : dict of int to float
        Isolated-atom energies, eV.
    """

    def __init__(
        self, descriptors: Sequence[SOAPFeatures], whitening: Whitening, noise: NoiseModel, isolated: dict[int, float]
    ) -> None:
        self.descriptors, self.whitening, self.noise, self.isolated = list(descriptors), whitening, noise, isolated

    def __call__(self, labelled: LabelledStructure, structure: Structure) -> Iterator[LabelRows]:
        """Rows of every label of a structure."""
        blocks = self.whitening.blocks
        if labelled.energy is not None:
            rows, prior = energy_rows(structure, blocks)
            target = labelled.energy - sum(self.isolated[int(z)] for z in structure.numbers)
            # The noise of an energy is given per atom: a structure and its supercell are then described alike.
            yield self._scaled("energy", labelled, rows, np.array([target]), prior, structure.n_atoms)
        if labelled.stress is not None:
            rows, prior = stress_rows(structure, blocks)
            yield self._scaled("stress", labelled, rows, labelled.stress, prior)
        if labelled.forces is not None:
            for atoms, rows, prior in force_rows(structure, blocks):
                yield self._scaled("forces", labelled, rows, labelled.forces[atoms].ravel(), prior)

    def _scaled(
        self, kind: str, labelled: LabelledStructure, rows: Tensor, targets: np.ndarray, prior: Tensor, size: int = 1
    ) -> LabelRows:
        scale = size * labelled.noise_scale[kind]
        y = torch.from_numpy(np.array(targets, dtype=np.float64)) / scale
        return LabelRows(self.noise.group(labelled, kind), self.whitening(rows / scale), y, prior / scale**2)
