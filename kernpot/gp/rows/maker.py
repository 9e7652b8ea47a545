"""Rows of the labels of one structure: whitened, divided by the structure's own noise scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kernpot.calibration.surroundings import Surroundings
from kernpot.descriptors.features import Features
from kernpot.functionals.labels import FUNCTIONALS
from kernpot.functionals.state import Structure
from kernpot.gp.rows.whitening import Whitening
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel, kind_of


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
    components : Tensor of shape (n,)
        Which components of the whole label these are.
    """

    group: str
    rows: Tensor
    targets: Tensor
    prior: Tensor
    components: Tensor

    @property
    def kind(self) -> str:
        """Kind of label."""
        return kind_of(self.group)


@dataclass(frozen=True)
class KeptRows:
    """Rows of one structure, kept for leave-one-out.

    Attributes
    ----------
    parts : list of LabelRows
    surroundings : Surroundings
        What its force variances are pooled over.
    sizes : dict of str to int
        Components of the whole label of each kind, known or not.
    config_type : str
        Its group.
    place : int, optional
        Its place among the structures of a fit.
    numbers : ndarray of shape (n_atoms,), optional
        Atomic numbers, where they are to be told apart.
    """

    parts: list[LabelRows]
    surroundings: Surroundings
    sizes: dict[str, int]
    config_type: str = ""
    place: int | None = None
    numbers: NDArray[np.int64] | None = None


class RowMaker:
    """Turns labelled structures into whitened rows.

    Parameters
    ----------
    descriptors : sequence of Features
    whitening : Whitening
    noise : NoiseModel
    isolated : dict of int to float
        Isolated-atom energies, eV.
    """

    def __init__(
        self, descriptors: Sequence[Features], whitening: Whitening, noise: NoiseModel, isolated: dict[int, float]
    ) -> None:
        self.descriptors, self.whitening, self.noise, self.isolated = list(descriptors), whitening, noise, isolated

    def __getstate__(self) -> dict[str, Any]:
        """With the kinds of labels known here, which another process may never have heard of."""
        return self.__dict__ | {"known": [(KINDS[kind], functional) for kind, functional in FUNCTIONALS.items()]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for kind, functional in state.pop("known"):
            KINDS.setdefault(kind.name, kind)
            FUNCTIONALS.setdefault(kind.name, functional)
        self.__dict__.update(state)

    def __call__(self, labelled: LabelledStructure, structure: Structure) -> Iterator[LabelRows]:
        """Rows of every label of a structure."""
        for kind, functional in FUNCTIONALS.items():
            label = labelled.label(kind)
            if label is None:
                continue
            # The noise of an extensive label is given per atom: a structure and its supercell are then described alike.
            size = structure.n_atoms if KINDS[kind].extensive else 1
            scale = torch.from_numpy(size * labelled.scales(kind))
            known = torch.from_numpy(labelled.known(kind))
            targets = np.ravel(label) - functional.fixed(labelled.atoms.numbers, self.isolated)
            y = torch.from_numpy(np.asarray(targets, dtype=np.float64)) / scale
            group = self.noise.group(labelled, kind)
            place = torch.arange(len(y))
            for part, rows, prior in functional.rows(structure, self.whitening.blocks):
                here = known[part]
                if not here.all():
                    rows, prior = rows[here], prior[here]
                components = place[part][here]
                if not len(components):
                    continue
                by = scale[components, None]
                yield LabelRows(group, self.whitening(rows / by), y[components], prior / by**2, components)
