"""What a training has found: networks with everything that predictions and further training need."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from kernpot.calibration.misfit import Misfit, draw_scale
from kernpot.calibration.predictions import Answers
from kernpot.calibration.spread import Spread
from kernpot.calibration.unseen_pairs import UnseenPairs
from kernpot.descriptors import Features
from kernpot.nnp.calibration import held_out_errors, levels_of_kinds, misfit_from, shares_missed
from kernpot.nnp.committee import Committee
from kernpot.nnp.inputs import Inputs
from kernpot.nnp.last_layer import Factors, LastLayer
from kernpot.nnp.networks import Networks
from kernpot.nnp.targets import Scales
from kernpot.regression.posterior import Posterior
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel, kind_of


@dataclass(frozen=True, eq=False)
class Trained:
    """Networks with everything that predictions and further training need.

    Attributes
    ----------
    features : Features
    inputs : dict of int to Inputs
        By atomic number.
    networks : dict of int to Networks
        Energies in eV.
    scales : Scales
    isolated : dict of int to float
        Isolated-atom energies, eV.
    noise : NoiseModel
    labelled : list of LabelledStructure
        All structures learnt from.
    held : ndarray of int64
        Those among them that no member trains on.
    weights : ndarray of shape (K, n_structures)
        How much each member trains on each of them.
    factors : dict of str to LabelFactor, optional
        Rows of the last layer, for ``uncertainty="last_layer"``.
    levels : dict of str to float
        Noise per group; of largest evidence for ``"last_layer"``.
    amplitude : float
        ``delta`` of the last layer, eV.
    """

    features: Features
    inputs: dict[int, Inputs]
    networks: dict[int, Networks]
    scales: Scales
    isolated: dict[int, float]
    noise: NoiseModel
    labelled: list[LabelledStructure]
    held: NDArray[np.int64]
    weights: NDArray[np.float64]
    factors: Factors | None
    levels: dict[str, float]
    amplitude: float

    @property
    def zero(self) -> dict[int, float]:
        """Energy of an atom that the networks' energies are added to, eV."""
        return {z: e + self.scales.offsets.get(z, 0.0) for z, e in self.isolated.items()}

    @property
    def held_out(self) -> list[LabelledStructure]:
        """Structures that no member trains on."""
        return [self.labelled[k] for k in self.held]

    def source(self) -> Committee | LastLayer:
        """What predicts."""
        if self.factors is None:
            return Committee(self.features, self.inputs, self.networks, self.zero)
        block = torch.zeros(next(iter(self.factors.values())).n_inducing, dtype=torch.int64)
        amplitude = torch.tensor([self.amplitude], dtype=torch.float64)
        posterior = Posterior(self.factors, block, self.levels, amplitude)
        return LastLayer(self.features, self.inputs, self.networks, self.zero, posterior)


@dataclass(frozen=True, eq=False)
class FittedNNP:
    """An ensemble after a fit. Nothing in it changes: learning more makes another one.

    Attributes
    ----------
    trained : Trained
    misfit : dict of str to Misfit
        Per kind of label.
    summary : dict
        What was seen and found, JSON-able.
    """

    trained: Trained
    misfit: dict[str, Misfit]
    summary: dict[str, Any]

    @classmethod
    def calibrated(cls, trained: Trained, summary: dict[str, Any]) -> Self:
        """With the misfit that the structures held out of the training tell."""
        source = trained.source()
        without = {kind: Misfit(0.0) for kind in LABEL_KINDS}
        spread = Spread(source, Answers(without), trained.features.cutoff)
        errors = held_out_errors(spread, trained.held_out)
        misfit = misfit_from(errors, levels_of_kinds(trained.levels))
        return cls(trained, misfit, summary | {"held_out_missed": shares_missed(errors, trained.held_out)})

    @cached_property
    def source(self) -> Committee | LastLayer:
        """Mean and deviations."""
        return self.trained.source()

    @cached_property
    def predictor(self) -> Spread:
        """What predicts."""
        return Spread(self.source, Answers(self.misfit), self.trained.features.cutoff, unseen_pairs=self.unseen_pairs)

    @cached_property
    def unseen_pairs(self) -> UnseenPairs:
        """How close atoms came in the structures learnt, or held out."""
        return UnseenPairs.of((s.atoms for s in self.trained.labelled), self.trained.features.cutoff)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers seen in training."""
        return tuple(sorted(self.trained.networks))

    @property
    def isolated(self) -> dict[int, float]:
        """Isolated-atom energies used, eV."""
        return self.trained.isolated

    @property
    def noise(self) -> dict[str, float]:
        """Noise level per group."""
        return self.trained.levels

    @property
    def draw_scale(self) -> float:
        """Factor on deviations from the mean of calibrated draws."""
        return draw_scale(self.misfit, {kind_of(group) for group in self.trained.levels})

    def updated(self, update: dict[str, Any]) -> dict[str, Any]:
        """The summary with one more update."""
        return self.summary | {"updates": [*self.summary["updates"], update]}
