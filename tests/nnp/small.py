"""Small ensembles, networks and trainings that the tests of the room share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from dscribe.descriptors import ACSF

from kernpot import NNPEnsemble
from kernpot.descriptors import Features, features_of
from kernpot.nnp.derivatives import Derivatives, describe
from kernpot.nnp.descriptions import Descriptions
from kernpot.nnp.inputs import Inputs, fit_inputs
from kernpot.nnp.networks import Networks, random_networks
from kernpot.nnp.targets import Scales, Targets, scales_of, targets_of
from kernpot.nnp.training import Settings, Trainer
from kernpot.structures.labels import LabelledStructure, label_structures
from kernpot.structures.noise import NoiseModel
from kernpot.structures.reference import isolated_atom_energies
from tests.helpers.systems import soap

UNCERTAINTIES = ("ensemble", "shallow", "last_layer")
# Where training costs a second: one of them by default, the others in the slow tests.
ONE_OF = ["ensemble", *(pytest.param(name, marks=pytest.mark.slow) for name in ("shallow", "last_layer"))]
LAST_LAYER_OF = ["last_layer", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ensemble", "shallow"))]
SMALL: dict[str, Any] = {"hidden": (6,), "n_members": 3, "max_epochs": 10, "random_state": 0}


def estimator(*species: str, **changes: Any) -> NNPEnsemble:
    return NNPEnsemble(**({"descriptor": soap(species or ["Cu"])} | SMALL | changes))


def acsf(species: Sequence[str] = ("Cu", "Au")) -> ACSF:
    return ACSF(
        r_cut=4.0,
        g2_params=[[0.1, 0.0], [1.0, 0.0], [1.0, 2.5]],
        g4_params=[[0.05, 1.0, 1.0], [0.05, 1.0, -1.0]],
        species=list(species),
        periodic=True,
    )


def relabelled(atoms: Atoms, **labels: Any) -> Atoms:
    """A copy with these labels and no others."""
    new = atoms.copy()
    new.calc = SinglePointCalculator(new, **labels)
    return new


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + k) for k in range(n)]


class Parts:
    """Features, inputs and untrained networks of some structures."""

    def __init__(
        self,
        structures: Sequence[Atoms],
        descriptor: Any,
        n_members: int = 3,
        shared: bool = False,
        n_components: int = 20,
        hidden: Sequence[int] = (6, 5),
        seed: int = 0,
    ) -> None:
        self.structures = list(structures)
        self.features: Features = features_of(descriptor)
        self.elements = tuple(sorted({int(z) for a in structures for z in a.numbers}))
        x = [torch.from_numpy(self.features(a)) for a in structures]
        self.inputs: dict[int, Inputs] = {
            z: fit_inputs(
                [f[torch.from_numpy(a.numbers == z)] for f, a in zip(x, structures, strict=True)], n_components
            )
            for z in self.elements
        }
        self.networks: dict[int, Networks] = {
            z: random_networks(
                i.projection.shape[1], hidden, n_members, shared, "silu", generators(n_members, seed + 100 * z)
            )
            for z, i in self.inputs.items()
        }

    def describe(self) -> Derivatives:
        return describe(Descriptions(self.features, self.structures), self.inputs)

    def slopes(self, data: Derivatives) -> torch.Tensor:
        """Slopes (n_atoms, K, P), float32, of all atoms' energies."""
        n_members = next(iter(self.networks.values())).n_members
        out = torch.zeros((len(data.numbers), n_members, data.inputs.shape[1]))
        for z, net in self.networks.items():
            here = torch.nonzero(data.numbers == z).squeeze(1)
            width = net.weights[0].shape[1]
            single = net.like([t.float() for t in net.tensors])
            out[here, :, :width] = single(data.inputs[here, :width])[1].transpose(0, 1)
        return out


class Training:
    """A trainer with all it was made of."""

    def __init__(
        self,
        structures: Sequence[Atoms],
        descriptor: Any = None,
        n_members: int = 3,
        held_out: Sequence[int] = (),
        noise: Any = None,
        shared: bool = False,
        weights: Any = None,
        hidden: Sequence[int] = (6,),
        networks: dict[int, Networks] | None = None,
        **settings: Any,
    ) -> None:
        self.labelled: list[LabelledStructure] = label_structures(structures)
        atoms = [s.atoms for s in self.labelled]
        self.parts = Parts(atoms, soap() if descriptor is None else descriptor, n_members, shared, hidden=hidden)
        model = NoiseModel.from_user(noise)
        isolated = isolated_atom_energies(self.labelled, None)
        self.scales: Scales = scales_of(self.labelled, model, isolated, self.parts.elements)
        self.targets: Targets = targets_of(self.labelled, model, self.scales, isolated)
        self.data = self.parts.describe()
        held = np.array(held_out, dtype=np.int64)
        given = np.ones((n_members, len(atoms))) if weights is None else np.array(weights, dtype=np.float64)
        given[:, held] = 0.0
        chosen = {
            "max_epochs": 10,
            "batch_size": 4,
            "learning_rate": 0.01,
            "schedule": "cosine",
            "patience": 1000,
            "seed": 0,
        } | settings
        self.trainer = Trainer(
            networks or self.parts.networks, self.data, self.targets, given, held, Settings(**chosen)
        )

    def run(self, epochs: int | None = None) -> Trainer:
        while not self.trainer.done and (epochs is None or self.trainer.progress.epoch < epochs):
            self.trainer.epoch()
        return self.trainer


def tensors_of(trainer: Trainer) -> list[torch.Tensor]:
    """Everything kept, as one list."""
    return [t for net in trainer.networks().values() for t in net.tensors]
