"""How far structures lie from what a fitted model knows: numbers without unit, per atom, from features alone.

For an atom with unit features ``u`` and amplitude-scaled whitened row ``b`` of its energy (see
:class:`kernpot.regression.posterior.Posterior`):

    distance      min_m |u - u_m|                                 to the inducing environments of its element
    mahalanobis   sqrt((u - <u>)^T (C + eps)^-1 (u - <u>))        with their mean <u> and covariance C
    leverage      h = |R^-T b|^2 / sigma^2                        with the noise sigma of energies per atom
    gain          log(1 + h)

``h`` is the leverage a label of the atom's energy has if the model has learnt it (then it is at most one, and the
leverages of all labels add up to the number of parameters the data determine), and what it would add if not (Cook and
Weisberg, Residuals and Influence in Regression, 1982). ``log(1 + h)`` is by how much the log determinant of the
posterior precision would grow (D-optimality), for all atoms of a structure together ``log det(I + H)``.

No derivative of a feature is needed, so this costs a small part of a prediction with error bars of forces. None of it
is an error in any unit: use standard deviations for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from kernpot.functionals.rows import local_energy_rows
from kernpot.functionals.state import InducingBlock, Structure
from kernpot.gp.fitted import FittedGP
from kernpot.regression.gain import log_det

# Mean square along a direction of unit features below which inducing environments do not resolve it, as in
# kernpot.gp.inducing.sampling.
_RESOLVED_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Novelty:
    """How new the environments of a structure are to a model. No number has a unit, and none is a standard deviation.

    Attributes
    ----------
    leverage : ndarray of shape (n_atoms,)
        How much a label of the atom's energy would weigh among the training data; beyond 1 it would teach more than all
        of them have taught about it. Training data tell total energies, not those of atoms, so that their own atoms may
        lie far beyond 1, too: compare with them.
    mahalanobis : ndarray of shape (n_atoms,)
        Distance to the mean of the inducing environments in units of their spread. Of several descriptors the largest.
    distance : ndarray of shape (n_atoms,)
        Euclidean distance between unit features to the nearest inducing environment, 0 to the root of 2. Of several
        descriptors the largest.
    gain : ndarray of shape (n_atoms,)
        D-optimal gain of learning the atom's energy: growth of the log determinant of the posterior precision.
    structure_gain : float
        The same for all atoms of the structure together: what two atoms would both teach counts once.
    """

    leverage: NDArray[np.float64]
    mahalanobis: NDArray[np.float64]
    distance: NDArray[np.float64]
    gain: NDArray[np.float64]
    structure_gain: float

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.leverage)

    def __repr__(self) -> str:
        if not len(self):
            return "Novelty(0 atoms)"
        largest = ", ".join(f"{n} up to {getattr(self, n).max():.3g}" for n in ("leverage", "mahalanobis", "distance"))
        return f"Novelty({len(self)} atoms: {largest}; structure_gain {self.structure_gain:.3g})"


class NoveltyMeter:
    """Measures the novelty of structures.

    Parameters
    ----------
    fitted : FittedGP
        Of the noise levels of energies (eV/atom) the smallest counts.
    """

    def __init__(self, fitted: FittedGP) -> None:
        self._descriptors, self._whitening, self._posterior = fitted.features, fitted.whitening, fitted.posterior
        self._energy_noise = fitted.energy_noise

    def __call__(self, atoms: Atoms) -> Novelty:
        """Novelty of one structure."""
        structure = Structure(self._descriptors, atoms)
        rows, _ = local_energy_rows(structure, self._whitening.blocks)
        half = self._posterior.half(self._whitening(rows) * self._posterior.scale) / self._energy_noise
        leverage = half.square().sum(0)
        distance = torch.zeros(structure.n_atoms, dtype=torch.float64)
        mahalanobis = torch.zeros_like(distance)
        for block, spread in zip(self._whitening.blocks, self._spreads, strict=True):
            members = structure.members(block)
            u = structure.described[block.descriptor].unit[members]
            distance[members] = torch.maximum(distance[members], nearest_distance(u, block))
            mahalanobis[members] = torch.maximum(mahalanobis[members], spread(u))
        return Novelty(leverage.numpy(), mahalanobis.numpy(), distance.numpy(), leverage.log1p().numpy(), log_det(half))

    @cached_property
    def _spreads(self) -> list[Spread]:
        return [Spread(block) for block in self._whitening.blocks]


def novelty_meter(fitted: FittedGP) -> NoveltyMeter:
    """The meter of a fitted model; ask for it by ``fitted.once(novelty_meter)``."""
    return NoveltyMeter(fitted)


class Spread:
    """Mean and covariance of the inducing environments of a block, and Mahalanobis distances from them.

    Parameters
    ----------
    block : InducingBlock
        In directions that its environments do not resolve, or that lie outside its basis, the standard deviation is
        taken as 1e-3.
    """

    def __init__(self, block: InducingBlock) -> None:
        self._basis, self._mean = block.basis, block.environments.mean(0)
        centred = block.environments - self._mean
        covariance = centred.T @ centred / len(centred)
        covariance.diagonal().add_(_RESOLVED_VARIANCE)
        self._root = torch.linalg.cholesky(covariance)

    def __call__(self, u: Tensor) -> Tensor:
        """Distances (n,) of unit features ``u`` (n, n_features)."""
        v = u if self._basis is None else u @ self._basis
        squared = torch.linalg.solve_triangular(self._root, (v - self._mean).mT, upper=False).square().sum(0)
        if self._basis is not None:
            squared += (u - v @ self._basis.mT).square().sum(1) / _RESOLVED_VARIANCE
        return squared.sqrt()


def nearest_distance(u: Tensor, block: InducingBlock) -> Tensor:
    """Euclidean distances (n,) of unit features ``u`` (n, n_features) to the nearest inducing environments."""
    nearest = block.environments[block.times(u).argmax(1)]
    # Not from the inner product, which knows distances of alike environments to no better than 1e-8.
    return torch.linalg.vector_norm(u - (nearest if block.basis is None else nearest @ block.basis.mT), dim=1)
