"""What a training has found: networks with everything that predictions and further training need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from kernpot.descriptors import Features
from kernpot.nnp.committee import Committee
from kernpot.nnp.inputs import Inputs
from kernpot.nnp.last_layer import Factors, LastLayer
from kernpot.nnp.networks import Networks
from kernpot.nnp.targets import Scales
from kernpot.regression.posterior import Posterior
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel


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
