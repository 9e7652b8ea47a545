"""Few directions for inducing environments: those in which environments, and forces on them, vary.

Features of a rich descriptor are nearly dependent: hundreds of them span a space whose variance decays exponentially.
Per element, inducing environments are put into the span of the leading eigenvectors of ``<u u^T> + <du du^T>``, ``u``
the unit features of the training environments, ``du`` their derivatives along random displacements of all atoms. The
mean is not subtracted: kernels see angles from the origin. The second term keeps directions that few environments show
in their values and forces feel all the same. Labels are not looked at.

Only inducing environments are projected, not the kernel: an environment with features outside the span keeps its full
prior variance there, so the model still knows that it does not know it. (A kernel of projected features would not.)
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from kernpot.descriptors.blocks import Block
from kernpot.functionals.descriptions import Descriptions
from kernpot.functionals.state import normalise

# Rows multiplied at once.
_ROWS = 512
# Part of an environment's length below which it does not count as lying in, or out of, a span.
_SEEN = 1e-2


Bases = dict[int, Tensor]
"""Orthonormal directions (n_features, r) by atomic number; empty where all features are kept."""


def learn_bases(structures: Descriptions, n_components: int | None, rng: np.random.RandomState) -> list[Bases]:
    """Directions for the inducing environments of every descriptor, at most ``n_components`` for each element.

    A descriptor that has no more features than that keeps them all, as all do for None.

    Parameters
    ----------
    structures : Descriptions
        Directions are learnt for the elements that occur here.
    rng : RandomState
        Draws the displacements.
    """
    return [
        principal_directions(structures, d, n_components, rng)
        if n_components is not None and n_components < features.n_features
        else {}
        for d, features in enumerate(structures.descriptors)
    ]


def coordinates(u: Tensor, basis: Tensor | None) -> Tensor:
    """Unit vectors (n, r) along the projections of environments ``u`` (n, n_features); those with none are left out."""
    if basis is None:
        return u
    projected, norm = normalise(u @ basis)
    return projected[norm > _SEEN]


def widen(basis: Tensor, u: Tensor) -> Tensor:
    """A basis with further directions, so that environments ``u`` (n, n_features) lie in its span."""
    for row in u:
        left = row - basis @ (basis.T @ row)
        left -= basis @ (basis.T @ left)  # once more, or cancellation would leave it short of orthogonal
        norm = float(left.norm())
        if norm > _SEEN:
            basis = torch.cat([basis, (left / norm)[:, None]], 1)
    return basis


def principal_directions(
    structures: Descriptions, descriptor: int, n_components: int, rng: np.random.RandomState
) -> Bases:
    """The leading directions of every element, as many as its environments span at most."""
    found = {}
    for z, moment in second_moments(structures, descriptor, rng).items():
        values, vectors = torch.linalg.eigh(moment)
        resolved = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
        found[z] = vectors.flip(1)[:, : min(n_components, max(1, int(resolved.sum())))].contiguous()
    return found


def second_moments(structures: Descriptions, descriptor: int, rng: np.random.RandomState) -> dict[int, Tensor]:
    """Sums ``u u^T + du du^T`` (n_features, n_features) over environments, by element."""
    moments: dict[int, _SecondMoment] = {}
    n_features = structures.descriptors[descriptor].n_features
    for k in range(len(structures)):
        structure = structures[k]
        described, numbers = structure.described[descriptor], structure.numbers
        displacement = torch.from_numpy(rng.normal(size=(structure.n_atoms, 3)))
        du = described.pushed(partial(_velocities, displacement), 1)[:, 0]
        for z in torch.unique(numbers).tolist():
            moment = moments.setdefault(z, _SecondMoment(n_features))
            moment.add(described.unit[numbers == z])
            moment.add(du[numbers == z])
    return {z: moment() for z, moment in sorted(moments.items())}


def _velocities(displacement: Tensor, block: Block) -> Tensor:
    return (displacement[block.neighbours] - displacement[block.centres])[:, None]


class _SecondMoment:
    """Sum of ``x x^T`` over rows, which are gathered so that small structures do not each touch the whole matrix."""

    def __init__(self, n_features: int) -> None:
        self._sum = torch.zeros((n_features, n_features), dtype=torch.float64)
        self._waiting: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _ROWS:
            self()

    def __call__(self) -> Tensor:
        if self._waiting:
            rows = torch.cat(self._waiting)
            self._waiting = []
            self._sum.addmm_(rows.T, rows)
        return self._sum
