"""What the labels of one structure need: unit features of its environments and their derivatives, per descriptor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors.blocks import Block
from kernpot.descriptors.features import Features
from kernpot.kernels.functions import CosineFunction
from kernpot.structures.neighbours import Pairs, find_pairs

# Voigt order of ASE: xx, yy, zz, yz, xz, xy.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class InducingBlock:
    """Inducing environments of one (descriptor, element); its kernel has an amplitude of its own.

    Attributes
    ----------
    descriptor : int
        Index of the descriptor.
    element : int
        Atomic number.
    function : CosineFunction
        The kernel for unit amplitude.
    environments : Tensor of shape (m, r)
        Unit features ``u_m``: themselves, or their coordinates in ``basis``.
    columns : slice
        Their place among all inducing environments.
    basis : Tensor of shape (n_features, r), optional
        Orthonormal directions. Inducing environments need not be environments of atoms: any unit features serve. In few
        directions they cost less, while the kernel, and with it the prior variance of what they do not represent,
        remains that of all features.
    term : int
        Which of its kernel's functions this is of.
    """

    descriptor: int
    element: int
    function: CosineFunction
    environments: Tensor
    columns: slice
    basis: Tensor | None = None
    term: int = 0

    def times(self, features: Tensor) -> Tensor:
        """Inner products ``x . u_m`` (..., m) of feature vectors (..., n_features)."""
        return (features if self.basis is None else features @ self.basis) @ self.environments.T

    def combined(self, weights: Tensor) -> Tensor:
        """Combinations ``sum_m w_m u_m`` (..., n_features) with weights (..., m)."""
        found = weights @ self.environments
        return found if self.basis is None else found @ self.basis.T

    def restricted(self, features: Tensor) -> InducingBlock:
        """The same for feature vectors of which only some components are given."""
        if self.basis is None:
            whole = len(features) == self.environments.shape[1]
            return self if whole else replace(self, environments=self.environments[:, features])
        return self if len(features) == len(self.basis) else replace(self, basis=self.basis[features])


def normalise(p: Tensor) -> tuple[Tensor, Tensor]:
    """Unit features and norms; an environment without any density stays zero and carries no energy."""
    norm = torch.linalg.vector_norm(p, dim=-1)
    return p / torch.where(norm > 0, norm, 1.0)[..., None], norm


class DescribedStructure:
    """Environments of a structure under one descriptor.

    Parameters
    ----------
    features : Features
    numbers : Tensor of shape (n_atoms,)
    pairs : Pairs
        All pairs within the cutoff (more do no harm).

    Attributes
    ----------
    unit : Tensor of shape (n_atoms, n_features)
        Unit-normalised features ``u``.
    inverse_norm : Tensor of shape (n_atoms,)
    """

    def __init__(self, features: Features, numbers: Tensor, pairs: Pairs) -> None:
        self.features = features
        self.numbers = numbers
        self._pairs = pairs
        self.block: Block = features.environments(numbers, pairs)
        self.unit, norm = normalise(self.block.environments.features())
        self.inverse_norm = torch.where(norm > 0, 1.0 / norm, 0.0)

    def pushed(self, velocities: Callable[[Block], Tensor], n_directions: int) -> Tensor:
        """Derivatives of unit features, ``(dp - (dp . u) u) / |p|``, when pair vectors move; few pairs at a time.

        Parameters
        ----------
        velocities : callable
            Of the pairs of a block, (p, n_directions, 3).
        n_directions : int

        Returns
        -------
        Tensor of shape (n_atoms, n_directions, n_features)
        """
        out = self.unit.new_empty((len(self.numbers), n_directions, self.unit.shape[1]))
        bounds = self.features.bounds(len(self.numbers), self._pairs)
        for first, last in bounds:
            # Expanding anew costs less than what a push of all pairs at once would keep in memory.
            block = (
                self.block if len(bounds) == 1 else self.features.environments(self.numbers, self._pairs, first, last)
            )
            u, dp = self.unit[first:last], block.environments.push(velocities(block))
            dp -= (dp @ u[:, :, None]) * u[:, None, :]
            torch.mul(dp, self.inverse_norm[first:last, None, None], out=out[first:last])
        return out

    @cached_property
    def own_tangent(self) -> Tensor:
        """Derivative of each atom's unit features with respect to its own position, shape (n_atoms, 3, n_features)."""
        minus = -torch.eye(3, dtype=torch.float64)
        return self.pushed(lambda block: minus.expand(len(block.vectors), 3, 3), 3)

    @cached_property
    def strain_tangent(self) -> Tensor:
        """Derivative of each atom's unit features with respect to Voigt strains, shape (n_atoms, 6, n_features)."""
        return self.pushed(_strain_velocities, 6)

    @cached_property
    def _by_target(self) -> tuple[Tensor, Tensor]:
        """Pairs sorted by the atom that moves (the neighbour), and where each atom's pairs start."""
        order = torch.argsort(self.block.neighbours, stable=True)
        count = torch.bincount(self.block.neighbours, minlength=len(self.numbers))
        return order, torch.cat([count.new_zeros(1), torch.cumsum(count, 0)])

    def targets(self, first: int, last: int) -> Tensor:
        """Pairs whose neighbour is one of the atoms ``first`` to ``last``."""
        order, start = self._by_target
        return order[start[first] : start[last]]

    def target_counts(self) -> Tensor:
        """Number of environments each atom takes part in."""
        _, start = self._by_target
        return start[1:] - start[:-1]


def _strain_velocities(block: Block) -> Tensor:
    velocity = block.vectors.new_zeros((len(block.vectors), 6, 3))
    for k, (a, b) in enumerate(VOIGT):
        velocity[:, k, a] += 0.5 * block.vectors[:, b]
        velocity[:, k, b] += 0.5 * block.vectors[:, a]
    return velocity


def has_stress(atoms: Atoms, descriptors: Sequence[Features]) -> bool:
    """Whether a structure is periodic in all three directions, and the descriptors know what strain does."""
    return all(atoms.pbc) and all(f.knows == "stress" for f in descriptors)


class Structure:
    """A structure ready for its labels' rows.

    Parameters
    ----------
    descriptors : sequence of Features
    atoms : ase.Atoms
    pairs : Pairs, optional
        All pairs within the largest cutoff; found when not given.

    Attributes
    ----------
    numbers : Tensor of shape (n_atoms,)
    volume : float or None
        In A^3; None unless periodic in all three directions, which is where stress is defined, under descriptors that
        know strain.
    described : list of DescribedStructure
        One per descriptor.
    pairs : Pairs
        All within the largest cutoff.

    Raises
    ------
    DescriptorError
        An element is not known to a descriptor.
    """

    def __init__(self, descriptors: Sequence[Features], atoms: Atoms, pairs: Pairs | None = None) -> None:
        self.numbers = torch.from_numpy(np.asarray(atoms.numbers, dtype=np.int64))
        self.n_atoms = len(atoms)
        for f in descriptors:
            f.check(atoms)
        self.volume = float(atoms.get_volume()) if has_stress(atoms, descriptors) else None
        self.pairs = find_pairs(atoms, max(f.cutoff for f in descriptors)) if pairs is None else pairs
        self.described = [DescribedStructure(f, self.numbers, f.located(atoms, self.pairs)) for f in descriptors]
        self._cosines: dict[InducingBlock, Tensor] = {}

    def members(self, block: InducingBlock) -> Tensor:
        """Indices of the atoms whose energies an inducing block carries."""
        return torch.nonzero(self.numbers == block.element).squeeze(1)

    def cosines(self, block: InducingBlock) -> Tensor:
        """``u_i . u_m`` of every atom with every inducing environment of a block, shape (n_atoms, m)."""
        if block not in self._cosines:
            self._cosines[block] = block.times(self.described[block.descriptor].unit)
        return self._cosines[block]
