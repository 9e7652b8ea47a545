"""Bayesian linear regression on the last hidden layer: the posterior of the Gaussian process, with other features.

The energy of an atom is linear in its network's last hidden layer ``h``, so labels are linear functionals of the head's
weights, with rows ``sum_i h(x_i)``, ``-d/dr sum_i h(x_i)`` and so on. A prior ``N(0, delta^2)`` on each weight's
deviation from what training found, the labels' noise and these rows give a posterior in the square-root form of
:mod:`kernpot.regression.posterior`; ``delta`` and the noise maximise the evidence (:mod:`kernpot.regression.evidence`).
Its covariance is the last-layer prediction rigidity of Bigi, Chong, Ceriotti and Grasselli, Mach. Learn.: Sci. Technol.
5, 045018 (2024), and more labels are learnt exactly, by adding rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors import Features
from kernpot.errors import KernpotWarning
from kernpot.nnp.inputs import Inputs
from kernpot.nnp.members import hidden_potentials, potentials_of
from kernpot.nnp.networks import Networks
from kernpot.prediction import DrawPredictions, MeanPrediction
from kernpot.progress import Report
from kernpot.regression.evidence import NOISE_BOUNDS
from kernpot.regression.factor import LabelFactor
from kernpot.regression.posterior import Posterior
from kernpot.regression.search import search_hyperparameters
from kernpot.structures.labels import LabelledStructure
from kernpot.structures.neighbours import Pairs, find_pairs
from kernpot.structures.noise import NoiseModel
from kernpot.surfaces.potentials import Potentials, Term

Factors = dict[str, LabelFactor]


class HiddenRows:
    """Rows of a structure's labels against the heads of all elements.

    Parameters
    ----------
    features : Features
    inputs : mapping of int to Inputs
    networks : mapping of int to Networks
        A single member.
    """

    def __init__(self, features: Features, inputs: Mapping[int, Inputs], networks: Mapping[int, Networks]) -> None:
        self._hidden = hidden_potentials(features, inputs, networks)
        self.n = sum(len(h) for h in self._hidden)
        self.cutoff = features.cutoff

    def atomic(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> Tensor:
        """Hidden features (n, n_centres) of the energies of centres."""
        return torch.cat([h.atomic_energies(numbers, pairs, n_centres) for h in self._hidden])

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """What every hidden feature would contribute with a weight of one."""
        found = [h(atoms, pairs) for h in self._hidden]
        stress = [f.stress for f in found if f.stress is not None]
        return DrawPredictions(
            np.concatenate([f.energies for f in found]),
            np.concatenate([f.atomic_energies for f in found]),
            np.concatenate([f.forces for f in found]),
            np.concatenate(stress) if stress else None,
        )


def compress(
    labelled: Sequence[LabelledStructure],
    rows: HiddenRows,
    network: Potentials,
    noise: NoiseModel,
    report: Report | None,
) -> Factors:
    """Rows of all labels in square-root form, and what the network has left of the labels as their targets.

    Rows are divided by the structures' own ``noise_scale``; those of energies are per atom.
    """
    factors: Factors = {}
    for done, s in enumerate(labelled, 1):
        pairs = find_pairs(s.atoms, rows.cutoff)
        found, mean = rows(s.atoms, pairs), network(s.atoms, pairs)[0]
        for kind in s.kinds:
            n = len(s.atoms) if kind == "energy" else 1
            part = {"energy": found.energies[:, None], "forces": found.forces, "stress": found.stress}[kind]
            predicted = getattr(mean, kind)
            if part is None or predicted is None:
                continue
            known, scale = s.known(kind), n * s.scales(kind)
            left = torch.from_numpy((np.ravel(getattr(s, kind) - predicted) / scale)[known])
            b = torch.from_numpy((part.reshape(len(part), -1) / scale).T[known])
            group = noise.group(s, kind)
            factors.setdefault(group, LabelFactor.empty(rows.n, 1)).add(b, left, b.square().sum(1, keepdim=True))
        if report is not None:
            report("last layer", done, len(labelled))
    return factors


def learn(
    factors: Factors, noise: Mapping[str, float], fixed: set[str], amplitude: float
) -> tuple[dict[str, float], float]:
    """Noise and ``delta`` (eV) of largest evidence, from where they start."""
    block = torch.zeros(next(iter(factors.values())).n_inducing, dtype=torch.int64)
    start = torch.tensor([amplitude], dtype=torch.float64)
    low, high = NOISE_BOUNDS
    levels = {group: noise[group] if group in fixed else min(max(noise[group], low), high) for group in factors}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KernpotWarning)  # it speaks of kernels
        found, held = search_hyperparameters(factors, block, levels, fixed, start, torch.zeros(1, dtype=torch.bool))
    if bool(held.all()):
        n_labels = sum(factor.n_rows for factor in factors.values())
        warnings.warn(
            f"the training has left nothing of the {n_labels} labels that the last layer explains, so they do not tell "
            f"how far its weights may be off: their prior std stays at {amplitude:.3g} eV, error bars away from these "
            "structures are a guess. Add structures that differ, or take uncertainty='ensemble'.",
            KernpotWarning,
            stacklevel=3,
        )
    return found.noise, float(found.amplitudes[0])


class LastLayer:
    """The network with the posterior mean of its heads, and deviations along the axes of the posterior.

    Parameters
    ----------
    features : Features
    inputs : mapping of int to Inputs
    networks : mapping of int to Networks
        A single member, as trained; energies in eV.
    zero : mapping of int to float
    posterior : Posterior
        Over the heads' deviations from training, in units of ``delta``.
    """

    def __init__(
        self,
        features: Features,
        inputs: Mapping[int, Inputs],
        networks: Mapping[int, Networks],
        zero: Mapping[int, float],
        posterior: Posterior,
    ) -> None:
        self._features, self._inputs, self._networks, self._zero = features, inputs, networks, zero
        self._rows, self._posterior = HiddenRows(features, inputs, networks), posterior
        self.average = self._with_heads(posterior.whitened_weights[None])

    def _with_heads(self, whitened: Tensor) -> Potentials:
        """Potentials (K) whose heads deviate by whitened weights (K, M) from those of the training."""
        return self._with_weights(whitened * self._posterior.scale, trained=True)

    def _with_weights(self, weights: Tensor, trained: bool) -> Potentials:
        """Potentials (K) whose heads are weights (K, M), added to those of the training or alone."""
        at, changed = 0, {}
        for z, net in self._networks.items():
            width = net.head.shape[1]
            head, offset = weights[:, at : at + width, None], weights[:, at + width : at + width + 1, None]
            if trained:
                head, offset = net.head + head, net.offset + offset
            changed[z], at = replace(net, head=head, offset=offset), at + width + 1
        return potentials_of(self._features, self._inputs, changed, self._zero)

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress of the posterior mean."""
        return self.average(atoms, pairs)[0]

    def deviations(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, DrawPredictions]:
        """The mean, and ``R^-T b`` of every label's row ``b``."""
        return self.mean(atoms, pairs), self.scatter(atoms, pairs)

    def scatter(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """``R^-T b`` of every label's row ``b``."""
        rows = self._rows(atoms, pairs)

        def along(a: np.ndarray) -> np.ndarray:
            b = torch.from_numpy(a.reshape(len(a), -1)).T * self._posterior.scale
            return self._posterior.half(b).numpy().reshape(a.shape)

        stress = None if rows.stress is None else along(rows.stress)
        energies, atomic, forces = (along(a) for a in (rows.energies, rows.atomic_energies, rows.forces))
        return DrawPredictions(energies, atomic, forces, stress)

    def atomic_deviations(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> Tensor:
        """``R^-T b`` (K, n_centres) of the energies of centres."""
        return self._posterior.half(self._rows.atomic(numbers, pairs, n_centres).T * self._posterior.scale)

    @cached_property
    def deviating(self) -> Potentials:
        """``R^-T b`` of energies as potentials: as many networks as there are axes."""
        width = len(self._posterior.root)
        axes = self._posterior.half(torch.eye(width, dtype=torch.float64) * self._posterior.scale)
        return self._with_weights(axes, trained=False)

    def deviating_terms(self) -> list[Term]:
        """The same of atomic energies as functions of environments."""
        return self.deviating.terms

    def draws(self, generators: Sequence[torch.Generator], scale: float) -> Potentials:
        """Draws from the posterior, their deviations scaled."""
        return self._with_heads(torch.cat([self._posterior.sample(1, g, scale) for g in generators]))
