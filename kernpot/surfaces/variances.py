"""Variances of sums of atomic energies over calibrated draws, as numbers that other engines can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from kernpot.functionals.state import InducingBlock
from kernpot.surfaces.draws import Draws
from kernpot.surfaces.potentials import Potentials, Term


@dataclass(frozen=True, eq=False)
class KernelVariance:
    """Those of a sparse Gaussian process, see :mod:`kernpot.gp.predicting.energy_std`.

    Attributes
    ----------
    blocks : sequence of InducingBlock
    factors : sequence of Tensor of shape (m, m)
        Cholesky factors of the inducing covariances of unit amplitude.
    amplitudes : sequence of float
        Of every block, eV.
    root : Tensor of shape (M, M)
        ``R`` of the posterior precision.
    scale : float
        Of the draws' parameter part.
    """

    blocks: Sequence[InducingBlock]
    factors: Sequence[Tensor]
    amplitudes: Sequence[float]
    root: Tensor
    scale: float


@dataclass(frozen=True, eq=False)
class TermVariance:
    """Sums of squares of deviations from the mean.

    Attributes
    ----------
    terms : sequence of Term
        Deviations of atomic energies, K for every element.
    scale : float
        Of the draws' deviations.
    """

    terms: Sequence[Term]
    scale: float


@runtime_checkable
class Collapsible(Protocol):
    """A potential whose mean is a sum of atomic energies that are functions of features."""

    def collapsed_mean(self) -> Potentials:
        """The mean, a single potential."""


@runtime_checkable
class Exportable(Protocol):
    """A potential that files of other engines can hold: sums of atomic energies that are functions of features."""

    def sample_potentials(self, n: int, random_state: int | None = None) -> Draws:
        """Draws whose ``potentials`` tell their terms."""

    def energy_variance(self) -> KernelVariance | TermVariance:
        """Variances of energies over calibrated draws."""
