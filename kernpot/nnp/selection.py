"""Which structures to label: the D-optimal choice of the Gaussian process, for the last hidden layer of a network.

A network's labels are linear in its head, with the rows of :mod:`kernpot.nnp.last_layer`; these take the place of
kernel rows in :mod:`kernpot.backend.selection`. Of an ensemble the first member chooses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.backend.randomness import Drawing
from kernpot.backend.requirements import require_described
from kernpot.backend.selection import Selection, choose, distinct_candidates, expected_noise
from kernpot.descriptors import Features
from kernpot.nnp.calibration import levels_of_kinds
from kernpot.nnp.fitted import Trained
from kernpot.nnp.inputs import Inputs, fit_inputs
from kernpot.nnp.last_layer import HiddenRows
from kernpot.nnp.memory import require_memory_for
from kernpot.nnp.networks import Networks, random_networks
from kernpot.nnp.settings import check_settings, descriptor_for
from kernpot.progress import reporting
from kernpot.regression.factor import triangle_of
from kernpot.structures.checks import require_fitted
from kernpot.structures.kinds import LABEL_KINDS
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.noise import NoiseModel, kind_of


def select(
    trained: Trained | None, parameters: Mapping[str, Any], structures: Sequence[Atoms], k: int, random_part: float
) -> Selection:
    """Structures that would teach most; see :meth:`kernpot.NNPEnsemble.select`."""
    candidates = distinct_candidates(structures, () if trained is None else trained.labelled, k, random_part)
    pool = list(candidates.values())
    drawing = Drawing(parameters["random_state"])
    with reporting(parameters["progress"]) as report:
        known: list[LabelledStructure] = []
        if trained is None:
            check_settings(parameters)
            features, inputs, networks = _untrained(pool, parameters, drawing.rng)
            levels, amplitude, noise = expected_noise(), 1.0, NoiseModel.from_user(parameters["noise"])
        else:
            for s in pool:
                require_fitted(s.atoms, tuple(sorted(trained.networks)), s.source)
            require_described(pool, [trained.features])
            features, inputs, noise = trained.features, trained.inputs, trained.noise
            networks = {z: net.member(0) for z, net in trained.networks.items()}
            levels, amplitude = levels_of_kinds(trained.levels) | trained.levels, trained.amplitude
            known = [s for s, weights in zip(trained.labelled, trained.weights.T, strict=True) if weights.any()]
        kinds = set(LABEL_KINDS) & {kind_of(group) for group in levels}
        if features.knows == "energy":
            kinds = {"energy"}
        rows = _Rows(HiddenRows(features, inputs, networks), noise, levels, kinds, amplitude)
        root = torch.eye(rows.n, dtype=torch.float64)
        for done, s in enumerate(known, 1):
            root = triangle_of(torch.cat([root, rows(s, set(s.kinds))]))
            if report is not None:
                report("known structures", done, len(known))
        selection = choose(candidates, root, rows, k, random_part, drawing.rng, report)
    drawing.keep()
    return selection


class _Rows:
    """Rows of the labels that a structure has or would have, each divided by its noise level."""

    def __init__(
        self, hidden: HiddenRows, noise: NoiseModel, levels: Mapping[str, float], kinds: set[str], amplitude: float
    ) -> None:
        self._hidden, self._noise, self._levels = hidden, noise, levels
        self._kinds, self._amplitude, self.n = kinds, amplitude, hidden.n

    def __call__(self, structure: LabelledStructure, kinds: set[str] | None = None) -> Tensor:
        found = self._hidden(structure.atoms)
        parts: dict[str, Any] = {
            "energy": found.energies[:, None] / len(structure.atoms),
            "forces": found.forces,
            "stress": found.stress,
        }
        rows = [
            torch.from_numpy(parts[kind].reshape(self.n, -1).T / self._level(structure, kind))
            for kind in LABEL_KINDS
            if kind in (self._kinds if kinds is None else kinds) and parts[kind] is not None
        ]
        together = self._amplitude * torch.cat(rows)
        return together if len(together) <= self.n else triangle_of(together)

    def _level(self, structure: LabelledStructure, kind: str) -> float:
        level = self._levels.get(self._noise.group(structure, kind), self._levels[kind])
        return level * structure.noise_scale[kind]


def _untrained(
    candidates: Sequence[LabelledStructure], parameters: Mapping[str, Any], rng: np.random.RandomState
) -> tuple[Features, dict[int, Inputs], dict[int, Networks]]:
    """Networks that training would start from, were the candidates its structures."""
    elements = sorted({int(z) for s in candidates for z in s.atoms.numbers})
    features = descriptor_for(parameters["descriptor"], elements)
    require_described(candidates, [features])
    require_memory_for(candidates, features, parameters)
    described = [torch.from_numpy(features(s.atoms)) for s in candidates]
    inputs, networks = {}, {}
    generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
    for z in elements:
        own = [x[torch.from_numpy(s.atoms.numbers == z)] for x, s in zip(described, candidates, strict=True)]
        inputs[z] = fit_inputs([x for x in own if len(x)], int(parameters["n_components"]))
        n = inputs[z].projection.shape[1]
        networks[z] = random_networks(n, parameters["hidden"], 1, False, parameters["activation"], [generator])
    return features, inputs, networks
