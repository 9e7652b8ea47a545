"""Atomic energies that are linear in features: rows of labels, and potentials of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.calibration.misfit import Misfit, draw_scale
from kernpot.calibration.predictions import Answers
from kernpot.calibration.spread import Spread
from kernpot.descriptors import Features
from kernpot.kernels.forms import LinearForms
from kernpot.prediction import DrawPredictions, MeanPrediction
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.potentials import Potentials, Term


def potentials_of(features: Features, elements: Sequence[int], isolated: dict[int, float], w: Tensor) -> Potentials:
    """Potentials (K) of weights (K, n_elements * n_features)."""
    d = features.n_features
    terms = [Term(0, z, LinearForms(w[:, k * d : (k + 1) * d])) for k, z in enumerate(elements)]
    return Potentials([features], terms, isolated, len(w), unit=False)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit knows."""

    features: Features
    elements: tuple[int, ...]
    isolated: dict[int, float]
    factors: dict[str, LabelFactor]
    noise: dict[str, float]
    amplitude: float
    misfit: dict[str, Misfit]
    labelled: tuple[LabelledStructure, ...]
    held: tuple[LabelledStructure, ...]
    summary: dict[str, Any]

    @property
    def width(self) -> int:
        return len(self.elements) * self.features.n_features

    @cached_property
    def unit(self) -> Potentials:
        """One potential for each weight: its labels are the rows."""
        return potentials_of(
            self.features, self.elements, dict.fromkeys(self.elements, 0.0), torch.eye(self.width).double()
        )

    @cached_property
    def posterior(self) -> Posterior:
        block = torch.zeros(self.width, dtype=torch.int64)
        return Posterior(self.factors, block, self.noise, torch.tensor([self.amplitude], dtype=torch.float64))

    @cached_property
    def average(self) -> Potentials:
        return self.with_weights(self.posterior.whitened_weights[None])

    def with_weights(self, whitened: Tensor) -> Potentials:
        return potentials_of(self.features, self.elements, self.isolated, whitened * self.posterior.scale)

    # what kernpot.calibration.spread.Spread asks for

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        return self.average(atoms, pairs)[0]

    def deviations(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, DrawPredictions]:
        return self.mean(atoms, pairs), self.scatter(atoms, pairs)

    def scatter(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        rows = self.unit(atoms, pairs)

        def along(a: np.ndarray) -> np.ndarray:
            b = torch.from_numpy(a.reshape(len(a), -1)).T * self.posterior.scale
            return self.posterior.half(b).numpy().reshape(a.shape)

        parts = (along(a) for a in (rows.energies, rows.atomic_energies, rows.forces))
        return DrawPredictions(*parts, None if rows.stress is None else along(rows.stress))

    def atomic_deviations(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> Tensor:
        return self.posterior.half(self.unit.atomic_energies(numbers, pairs, n_centres).T * self.posterior.scale)

    def deviating_terms(self) -> list[Term]:
        axes = self.posterior.half(torch.eye(self.width).double() * self.posterior.scale)
        return potentials_of(self.features, self.elements, dict.fromkeys(self.elements, 0.0), axes).terms

    @cached_property
    def predictor(self) -> Spread:
        return Spread(self, Answers(self.misfit), self.features.cutoff)

    @property
    def draw_scale(self) -> float:
        return draw_scale(self.misfit, {group.split("[")[0] for group in self.factors})


def rows_of(unit: Potentials, s: LabelledStructure, isolated: dict[int, float]) -> dict[str, tuple[Tensor, Tensor]]:
    """Rows and targets of a structure's labels; those of energies per atom."""
    found = unit(s.atoms)
    parts = {"energy": found.energies[:, None], "forces": found.forces, "stress": found.stress}
    out = {}
    for kind in s.kinds:
        if kind not in parts or parts[kind] is None:
            continue
        target, size = s.label(kind), s.noise_scale[kind]
        if kind == "energy":
            target, size = target - sum(isolated[int(z)] for z in s.atoms.numbers), size * len(s.atoms)
        b = torch.from_numpy(np.ascontiguousarray(parts[kind].reshape(len(unit), -1).T)) / size
        out[kind] = b, torch.from_numpy(np.ravel(target).astype(np.float64)) / size
    return out
