"""The posterior mean as a potential: energies, forces and stress in one pass, without rows.

For ``zeta = 2`` the mean of an atomic energy is a quadratic form ``u^T A u``, ``A = sum_m w_m u_m u_m^T``, whatever the
number of inducing environments. The weights of nearly dependent environments are large and of both signs (1e6 eV and
more for energies of 1 eV); in the form they cancel once and for all, instead of anew, and with another rounding error,
for every environment: energies are then smooth to 1e-13 eV rather than 1e-9.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors.soap import PairGradient, SOAPFeatures
from kernpot.functionals.rows import power_slope
from kernpot.functionals.state import VOIGT, InducingBlock, normalise
from kernpot.gp.threads import in_threads
from kernpot.prediction import MeanPrediction
from kernpot.structures.neighbours import Pairs


class LocalEnergy:
    """Mean energy of environments of one inducing block and its gradient with respect to their unit features.

    Parameters
    ----------
    block : InducingBlock
    weights : Tensor of shape (m,)
        Weights of the block's (unwhitened, unit-amplitude) rows.
    """

    def __init__(self, block: InducingBlock, weights: Tensor) -> None:
        self._zeta, self._weights = block.zeta, weights
        self._basis, self._environments = block.basis, block.environments
        if self._basis is None and 2 * len(block.environments) < block.environments.shape[1]:
            # Few environments span few directions.
            self._basis, triangle = torch.linalg.qr(block.environments.T)
            self._environments = triangle.T.contiguous()
        self._form: Tensor | None = None
        if block.zeta == 2:
            self._form = self._environments.T @ (weights[:, None] * self._environments)

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n,) and gradients (n, n_features) at unit features ``u``."""
        v = u if self._basis is None else u @ self._basis
        if self._form is not None:
            slope = 2.0 * (v @ self._form)
            energies = 0.5 * (slope * v).sum(1)
        else:
            s = v @ self._environments.T
            slope = power_slope(s, self._zeta) * self._weights
            energies = (slope * s).sum(1) / self._zeta
            slope = slope @ self._environments
        return energies, slope if self._basis is None else slope @ self._basis.T


class MeanPotential:
    """Posterior mean (or a posterior draw of the weights) as a function of a structure.

    Parameters
    ----------
    descriptors : sequence of SOAPFeatures
    blocks : sequence of InducingBlock
    weights : Tensor of shape (M,)
        Weights of unit-amplitude rows, eV.
    isolated : dict of int to float
        Isolated-atom energies in eV.
    """

    def __init__(
        self,
        descriptors: Sequence[SOAPFeatures],
        blocks: Sequence[InducingBlock],
        weights: Tensor,
        isolated: dict[int, float],
    ) -> None:
        self._descriptors = list(descriptors)
        self._terms = [(b.descriptor, b.element, LocalEnergy(b, weights[b.columns])) for b in blocks]
        self._isolated = torch.zeros(120, dtype=torch.float64)
        for z, energy in isolated.items():
            self._isolated[z] = energy

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None) -> MeanPrediction:
        """Energy, atomic energies, forces and (for three periodic directions) stress.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within the largest cutoff; found when not given.
        """
        numbers = torch.from_numpy(np.asarray(atoms.numbers, dtype=np.int64))
        energies = self._isolated[numbers].clone()
        gradient = torch.zeros((len(numbers), 3), dtype=torch.float64)
        strain = torch.zeros((3, 3), dtype=torch.float64)
        for d, features in enumerate(self._descriptors):
            features.check(atoms)
            found = features.pairs(atoms) if pairs is None else pairs
            evaluate = partial(self._evaluate, d, features, numbers, found)
            bounds = features.bounds(len(numbers), found)
            for (first, last), (e, along_pairs) in zip(bounds, in_threads(evaluate, bounds), strict=True):
                energies[first:last] += e
                along_pairs.add_to(gradient, strain)
        stress = None
        if all(atoms.pbc):
            symmetric = 0.5 * (strain + strain.T) / atoms.get_volume()
            stress = np.array([float(symmetric[a, b]) for a, b in VOIGT])
        return MeanPrediction(float(energies.sum()), energies.numpy(), -gradient.numpy(), stress)

    def _evaluate(
        self, descriptor: int, features: SOAPFeatures, numbers: Tensor, pairs: Pairs, bounds: tuple[int, int]
    ) -> tuple[Tensor, PairGradient]:
        """Energies of a block of atoms and their gradient."""
        block = features.environments(numbers, pairs, *bounds)
        u, norm = normalise(block.environments.features())
        own = numbers[block.first : block.last]
        energies, v = self._local(descriptor, own, u)
        v -= (v * u).sum(1, keepdim=True) * u
        v *= torch.where(norm > 0, 1.0 / norm, 0.0)[:, None]
        return energies, block.gradient(block.environments.pull(v))

    def _local(self, descriptor: int, numbers: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n,) of unit features and their gradients (n, n_features)."""
        terms = [(numbers == z, term) for k, z, term in self._terms if k == descriptor]
        if len(terms) == 1 and bool(terms[0][0].all()):
            return terms[0][1](u)
        energies, v = torch.zeros(len(u), dtype=torch.float64), torch.zeros_like(u)
        for here, term in terms:
            members = torch.nonzero(here).squeeze(1)
            if len(members):
                energies[members], v[members] = term(u[members])
        return energies, v
