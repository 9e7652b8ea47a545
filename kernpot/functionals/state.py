"""What the labels of one structure need: unit features of its environments and their derivatives, per descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors.soap import Block, SOAPFeatures
from kernpot.structures.neighbours import Pairs

# Voigt order of ASE: xx, yy, zz, yz, xz, xy.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class InducingBlock:
    """Inducing environments of one (descriptor, element); its kernel has an amplitude of its own.

    Attributes
    ----------
    descriptor : int
        Index of the descriptor.
    element : int
        Atomic number.
    zeta : int
        Power of the kernel.
    environments : Tensor of shape (m, n_features)
        Unit-normalised features.
    columns : slice
        Their place among all inducing environments.
    """

    descriptor: int
    element: int
    zeta: int
    environments: Tensor
    columns: slice


def normalise(p: Tensor) -> tuple[Tensor, Tensor]:
    """Unit features and norms; an environment without any density stays zero and carries no energy."""
    norm = torch.linalg.vector_norm(p, dim=-1)
    return p / torch.where(norm > 0, norm, 1.0)[..., None], norm


class DescribedStructure:
    """Environments of a structure under one descriptor.

    Parameters
    ----------
    features : SOAPFeatures
    numbers : Tensor of shape (n_atoms,)
    pairs : Pairs
        All pairs within the cutoff (more do no harm).

    Attributes
    ----------
    unit : Tensor of shape (n_atoms, n_features)
        Unit-normalised features ``u``.
    inverse_norm : Tensor of shape (n_atoms,)
    """

    def __init__(self, features: SOAPFeatures, numbers: Tensor, pairs: Pairs) -> None:
        self.features = features
        self.numbers = numbers
        self.block: Block = features.environments(numbers, pairs)
        self.unit, norm = normalise(self.block.environments.features())
        self.inverse_norm = torch.where(norm > 0, 1.0 / norm, 0.0)

    def _project(self, dp: Tensor) -> Tensor:
        """Derivatives of unit features from derivatives of features: ``(dp - (dp . u) u) / |p|``."""
        along = torch.einsum("nxd,nd->nx", dp, self.unit)
        dp -= along[:, :, None] * self.unit[:, None, :]
        return dp.mul_(self.inverse_norm[:, None, None])

    @cached_property
    def own_tangent(self) -> Tensor:
        """Derivative of each atom's unit features with respect to its own position, shape (n_atoms, 3, n_features)."""
        velocity = -torch.eye(3, dtype=torch.float64).expand(len(self.block.vectors), 3, 3)
        return self._project(self.block.environments.push(velocity))

    @cached_property
    def strain_tangent(self) -> Tensor:
        """Derivative of each atom's unit features with respect to Voigt strains, shape (n_atoms, 6, n_features)."""
        velocity = self.block.vectors.new_zeros((len(self.block.vectors), 6, 3))
        for k, (a, b) in enumerate(VOIGT):
            velocity[:, k, a] += 0.5 * self.block.vectors[:, b]
            velocity[:, k, b] += 0.5 * self.block.vectors[:, a]
        return self._project(self.block.environments.push(velocity))

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


class Structure:
    """A structure ready for its labels' rows.

    Parameters
    ----------
    descriptors : sequence of SOAPFeatures
    atoms : ase.Atoms
    pairs : sequence of Pairs, optional
        One per descriptor; found when not given.

    Attributes
    ----------
    numbers : Tensor of shape (n_atoms,)
    volume : float or None
        In A^3; None unless periodic in all three directions, which is where stress is defined.
    described : list of DescribedStructure
        One per descriptor.

    Raises
    ------
    DescriptorError
        An element is not known to a descriptor.
    """

    def __init__(self, descriptors: Sequence[SOAPFeatures], atoms: Atoms, pairs: Sequence[Pairs] | None = None) -> None:
        self.numbers = torch.from_numpy(np.asarray(atoms.numbers, dtype=np.int64))
        self.n_atoms = len(atoms)
        for f in descriptors:
            f.check(atoms)
        self.volume = float(atoms.get_volume()) if all(atoms.pbc) else None
        found = [f.pairs(atoms) for f in descriptors] if pairs is None else pairs
        self.described = [DescribedStructure(f, self.numbers, p) for f, p in zip(descriptors, found, strict=True)]

    def members(self, block: InducingBlock) -> Tensor:
        """Indices of the atoms whose energies an inducing block carries."""
        return torch.nonzero(self.numbers == block.element).squeeze(1)
