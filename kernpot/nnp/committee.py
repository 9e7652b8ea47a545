"""Members as a committee: their average, their deviations from it, and random combinations that scatter alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors import Features
from kernpot.nnp.inputs import Inputs
from kernpot.nnp.members import potentials_of
from kernpot.nnp.networks import Networks
from kernpot.prediction import DrawPredictions, FloatArray, MeanPrediction
from kernpot.structures.neighbours import Pairs
from kernpot.surfaces.potentials import Potentials, Term


class Committee:
    """Deviations of K members from their average, divided by ``sqrt(K - 1)``.

    Parameters
    ----------
    features : Features
    inputs : mapping of int to Inputs
        By atomic number.
    networks : mapping of int to Networks
        Energies in eV.
    zero : mapping of int to float
        Energy of an atom that the networks' energies are added to, eV.
    """

    def __init__(
        self,
        features: Features,
        inputs: Mapping[int, Inputs],
        networks: Mapping[int, Networks],
        zero: Mapping[int, float],
    ) -> None:
        self._parts = features, inputs, networks, zero
        self.members = potentials_of(*self._parts)
        n = len(self.members)
        self.average = self.combined(torch.full((1, n), 1.0 / n, dtype=torch.float64))

    def combined(self, mixing: Tensor) -> Potentials:
        """Combinations of the members, as potentials."""
        return potentials_of(*self._parts, mixing)

    def mean(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, forces and stress of the average."""
        return self.average(atoms, pairs)[0]

    def deviations(self, atoms: Atoms, pairs: Pairs | None = None) -> tuple[MeanPrediction, DrawPredictions]:
        """The average, and the members' deviations from it."""
        found = self.members(atoms, pairs)
        root = np.sqrt(len(found) - 1)

        def apart(values: FloatArray) -> FloatArray:
            scatter: FloatArray = (values - values.mean(0)) / root
            return scatter

        stress = found.stress
        mean = MeanPrediction(
            float(found.energies.mean()),
            found.atomic_energies.mean(0),
            found.forces.mean(0),
            None if stress is None else stress.mean(0),
        )
        return mean, DrawPredictions(
            apart(found.energies),
            apart(found.atomic_energies),
            apart(found.forces),
            None if stress is None else apart(stress),
        )

    def scatter(self, atoms: Atoms, pairs: Pairs | None = None) -> DrawPredictions:
        """The members' deviations."""
        return self.deviations(atoms, pairs)[1]

    def atomic_deviations(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> Tensor:
        """The members' deviations (K, n_centres) of the energies of centres."""
        found = self.members.atomic_energies(numbers, pairs, n_centres)
        return (found - found.mean(0)) / (len(found) - 1) ** 0.5

    @cached_property
    def deviating(self) -> Potentials:
        """The members' deviations as potentials."""
        n = len(self.members)
        return self.combined((torch.eye(n, dtype=torch.float64) - 1.0 / n) / (n - 1) ** 0.5)

    def deviating_terms(self) -> list[Term]:
        """The members' deviations as functions of environments: K for every element."""
        return self.deviating.terms

    def draws(self, generators: Sequence[torch.Generator], scale: float) -> Potentials:
        """Random combinations with the members' mean, and ``scale^2`` times their covariance.

        Their weights are ``1 / K + s (z_k - z) / sqrt(K - 1)`` with independent standard normal ``z_k``; they sum to
        one, so that a combination of potentials is one.
        """
        n = len(self.members)
        z = torch.stack([torch.randn(n, generator=g, dtype=torch.float64) for g in generators])
        return self.combined(1.0 / n + scale * (z - z.mean(1, keepdim=True)) / (n - 1) ** 0.5)
