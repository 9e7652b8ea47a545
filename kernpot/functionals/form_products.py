"""Labels of energies that are quadratic forms of the unit features, and sums over labels: products without rows.

For ``zeta = 2`` an energy of the model is ``u^T A u`` with a symmetric ``A`` for every descriptor and element, and its
prior is that of independent entries: ``|A|^2``, the sum of the squares of all entries, is the norm of the kernel's
function space. Labels are linear in ``A``; what is here multiplies with that linear map ``X`` and with its transpose,
at the cost of one evaluation and one derivative of every environment, whatever the number of labels.

Most of that cost are products of matrices, whose precision is that of the directions: single precision
(:meth:`FormSpace.single`) does where a product is one step of many on the way to something, in half the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from kernpot.descriptors.blocks import Block
from kernpot.functionals.state import VOIGT, Structure

KINDS_OF_FORMS = ("energy", "forces", "stress")
"""Kinds of labels that can be multiplied with."""


class FormBlock(NamedTuple):
    """Forms of one descriptor and element, in the span of orthonormal directions (n_features, r)."""

    descriptor: int
    element: int
    basis: Tensor

    @property
    def size(self) -> int:
        """Number of directions."""
        return self.basis.shape[1]

    def coordinates(self, features: Tensor) -> Tensor:
        """Of feature vectors (..., n_features), in the directions and in their precision."""
        return features.to(self.basis.dtype) @ self.basis

    def features(self, coordinates: Tensor) -> Tensor:
        """The other way, in double precision."""
        return (coordinates @ self.basis.T).double()


class FormSpace:
    """The forms of all blocks as vectors.

    Parameters
    ----------
    blocks : sequence of FormBlock

    Attributes
    ----------
    blocks
        As given.
    n : int
        Numbers in a vector.
    """

    def __init__(self, blocks: Sequence[FormBlock]) -> None:
        self.blocks = list(blocks)
        ends = list(accumulate((b.size**2 for b in blocks), initial=0))
        self._places = [slice(*ends) for ends in pairwise(ends)]
        self.n = ends[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the directions, and of forms in products."""
        return self.blocks[0].basis.dtype

    def single(self) -> FormSpace:
        """The same in single precision."""
        return FormSpace([b._replace(basis=b.basis.float()) for b in self.blocks])

    def forms(self, vectors: Tensor) -> list[Tensor]:
        """By block, (K, r, r), of vectors (K, n); shares memory."""
        return [vectors[:, place].view(-1, b.size, b.size) for b, place in zip(self.blocks, self._places, strict=True)]


class FormProducts:
    """Products with the labels of some structures at once: matrices of few rows take nearly as long as larger ones.

    Parameters
    ----------
    structures : sequence of Structure
    space : FormSpace

    Attributes
    ----------
    structures
        As given.
    """

    def __init__(self, structures: Sequence[Structure], space: FormSpace) -> None:
        self.structures, self._space = list(structures), space
        ends = list(accumulate((s.n_atoms for s in structures), initial=0))
        self._atoms = [slice(*both) for both in pairwise(ends)]
        self._of = torch.repeat_interleave(torch.tensor([s.n_atoms for s in structures]))
        numbers = torch.cat([s.numbers for s in structures])
        self._members = [torch.nonzero(numbers == b.element).squeeze(1) for b in space.blocks]
        self._unit = [torch.cat([s.described[d].unit for s in structures]) for d in range(len(structures[0].described))]
        self._own = [
            b.coordinates(self._unit[b.descriptor][m]) for b, m in zip(space.blocks, self._members, strict=True)
        ]

    def labels(self, forms: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """``X A`` of K forms for every structure: energy (K, 1), forces (K, 3 n), stress (K, 6) where it is defined.

        Parameters
        ----------
        forms : sequence of Tensor of shape (K, r, r)
            By block, symmetric, of the precision of the space.
        """
        k = len(forms[0])
        energy = torch.zeros((len(self.structures), k), dtype=torch.float64)
        gradients = [torch.zeros((s.n_atoms, 3, k), dtype=torch.float64) for s in self.structures]
        strains = torch.zeros((len(self.structures), 3, 3, k), dtype=torch.float64)
        for d, unit in enumerate(self._unit):
            slope = unit.new_zeros((len(unit), k, unit.shape[1]))
            for b, block in enumerate(self._space.blocks):
                members = self._members[b]
                if block.descriptor != d or not len(members):
                    continue
                own = self._own[b]
                half = torch.stack([own @ form for form in forms[b]], 1)
                energy.index_add_(0, self._of[members], (half * own[:, None]).sum(2, dtype=torch.float64))
                slope[members] += block.features(half.mul_(2.0))
            slope -= (slope @ unit[:, :, None]) * unit[:, None, :]
            for s, (structure, atoms) in enumerate(zip(self.structures, self._atoms, strict=True)):
                described = structure.described[d]
                along = slope[atoms] * described.inverse_norm[:, None, None]
                described.block.pull(along).add_to(gradients[s], strains[s])
        out = []
        for s, structure in enumerate(self.structures):
            found = {"energy": energy[s][:, None], "forces": -gradients[s].flatten(0, 1).T}
            if structure.volume is not None:
                symmetric = 0.5 * (strains[s] + strains[s].transpose(0, 1)) / structure.volume
                found["stress"] = torch.stack([symmetric[a, b] for a, b in VOIGT], 1)
            out.append(found)
        return out

    def add_sums(self, weights: Sequence[Mapping[str, Tensor]], sums: Sequence[Tensor]) -> None:
        """Add ``Y`` with ``Y + Y^T = X^T w`` for K weights of every label of every structure, as of :meth:`labels`.

        Parameters
        ----------
        weights : sequence of mapping of str to Tensor of shape (K, n)
            By structure.
        sums : sequence of Tensor of shape (K, r, r)
            By block, of the precision of the space; changed.
        """
        k = len(sums[0])
        energy = torch.stack([w["energy"][:, 0] if "energy" in w else torch.zeros(k).double() for w in weights])
        for d in range(len(self._unit)):
            slope = torch.cat([_slope(s, d, w, k) for s, w in zip(self.structures, weights, strict=True)])
            for b, block in enumerate(self._space.blocks):
                members, own = self._members[b], self._own[b]
                if block.descriptor != d or not len(members):
                    continue
                along = (0.5 * energy[self._of[members]]).to(own.dtype)[:, :, None] * own[:, None]
                along += block.coordinates(slope[members])
                for one, total in enumerate(sums[b]):
                    total.addmm_(own.mT, along[:, one])


def _slope(structure: Structure, descriptor: int, weights: Mapping[str, Tensor], k: int) -> Tensor:
    """Of unit features (n, K, n_features) along weights of forces and stress."""
    displaced = -weights["forces"].view(k, -1, 3) if "forces" in weights else None
    volume, described = structure.volume, structure.described[descriptor]
    strained = None if volume is None or "stress" not in weights else _strains(weights["stress"]) / volume
    if displaced is None and strained is None:
        return described.unit.new_zeros((structure.n_atoms, k, described.unit.shape[1]))
    return described.pushed(partial(_velocities, displaced, strained), k)


def _strains(stress: Tensor) -> Tensor:
    """Symmetric strains (K, 3, 3) along weights (K, 6) of the components of the stress."""
    strain = stress.new_zeros((len(stress), 3, 3))
    for component, (a, b) in enumerate(VOIGT):
        strain[:, a, b] += 0.5 * stress[:, component]
        strain[:, b, a] += 0.5 * stress[:, component]
    return strain


def _velocities(displaced: Tensor | None, strained: Tensor | None, block: Block) -> Tensor:
    """Of the pairs of a block, (p, K, 3)."""
    velocity = torch.zeros((), dtype=torch.float64)
    if displaced is not None:
        velocity = (displaced[:, block.neighbours] - displaced[:, block.centres]).transpose(0, 1)
    if strained is not None:
        velocity = velocity + torch.einsum("pb,kab->pka", block.vectors, strained)
    return velocity.contiguous()
