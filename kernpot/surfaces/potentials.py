"""Potentials that are sums of atomic energies: energies, forces and stress in one pass, without rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.descriptors.blocks import PairGradient, PairGradients
from kernpot.descriptors.features import Features
from kernpot.functionals.state import VOIGT, InducingBlock, Structure, has_stress, normalise
from kernpot.kernels.forms import LocalEnergies, Sum
from kernpot.parallel.threads import in_threads
from kernpot.prediction import DrawPredictions, FloatArray, MeanPrediction
from kernpot.structures.neighbours import Pairs, find_pairs

# Is shown a block of atoms: descriptor, place of the atoms, their numbers, unit features (n, n_features).
Watch = Callable[[int, slice, Tensor, Tensor], None]


class Term(NamedTuple):
    """Energies that the atoms of one element have under one descriptor."""

    descriptor: int
    element: int
    energies: LocalEnergies


def weighted(block: InducingBlock, weights: Tensor) -> LocalEnergies:
    """Functions ``sum_m w_km k(u, u_m)`` of one inducing block.

    Parameters
    ----------
    block : InducingBlock
    weights : Tensor of shape (K, m)
        Weights of the block's (unwhitened, unit-amplitude) rows, eV.
    """
    return block.function.energies(block.environments, weights, block.basis)


def summed(terms: Sequence[Term]) -> list[Term]:
    """One term for every descriptor and element, the sum of those there are: a kernel may have several functions."""
    found: dict[tuple[int, int], LocalEnergies] = {}
    for descriptor, element, energies in terms:
        key = descriptor, element
        found[key] = Sum(found[key], energies) if key in found else energies
    return [Term(*key, energies) for key, energies in found.items()]


class Potentials:
    """K potentials of one form, evaluated together: neighbours, descriptors and their derivatives are shared.

    Parameters
    ----------
    descriptors : sequence of Features
    terms : sequence of Term
        Of K functions each, one for every descriptor and element.
    isolated : mapping of int to float
        Isolated-atom energies in eV.
    n : int
        Number of potentials, ``K``.
    unit : bool, default=True
        Whether energies are functions of the features scaled to unit length, or of the features themselves.

    Attributes
    ----------
    descriptors, terms, isolated, unit
        As given.
    """

    def __init__(
        self,
        descriptors: Sequence[Features],
        terms: Sequence[Term],
        isolated: Mapping[int, float],
        n: int,
        unit: bool = True,
    ) -> None:
        self.descriptors, self.terms, self.isolated, self._n = list(descriptors), list(terms), dict(isolated), n
        self.unit = unit
        self._offsets = torch.zeros(120, dtype=torch.float64)
        for z, energy in isolated.items():
            self._offsets[z] = energy

    def chosen(self, which: slice) -> Potentials:
        """Some of the potentials; shares memory."""
        terms = [t._replace(energies=t.energies.chosen(which)) for t in self.terms]
        n = len(range(*which.indices(self._n)))
        return Potentials(self.descriptors, terms, self.isolated, n, self.unit)

    def __len__(self) -> int:
        return self._n

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None, watch: Watch | None = None) -> DrawPredictions:
        """Energies, atomic energies, forces and (for three periodic directions) stress of every potential.

        Parameters
        ----------
        pairs : Pairs, optional
            All pairs within the largest cutoff; found when not given.
        watch : callable, optional
            Is shown the features of every block of atoms, which it must not change; from several threads.
        """
        numbers = torch.from_numpy(np.asarray(atoms.numbers, dtype=np.int64))
        for features in self.descriptors:
            features.check(atoms)
        gradient = torch.zeros((len(numbers), 3, self._n), dtype=torch.float64)
        strain = torch.zeros((3, 3, self._n), dtype=torch.float64)
        found = find_pairs(atoms, max(f.cutoff for f in self.descriptors)) if pairs is None else pairs
        located = [f.located(atoms, found) for f in self.descriptors]
        energies, slopes = self._along(numbers, located, len(numbers), watch)
        for block in slopes:
            block.add_to(gradient, strain)
        volume = float(atoms.get_volume()) if has_stress(atoms, self.descriptors) else None
        return _answers(energies, gradient, strain, volume)

    def of_described(self, structure: Structure) -> DrawPredictions:
        """The same for a structure that is described already."""
        gradient = torch.zeros((structure.n_atoms, 3, self._n), dtype=torch.float64)
        strain = torch.zeros((3, 3, self._n), dtype=torch.float64)
        energies = self._offsets[structure.numbers].repeat(self._n, 1)
        for d, described in enumerate(structure.described):
            e, v = self._local(d, structure.numbers, described.unit)
            energies += e.T
            v -= (v * described.unit[:, None]).sum(2, keepdim=True) * described.unit[:, None]
            v *= described.inverse_norm[:, None, None]
            described.block.pull(v).add_to(gradient, strain)
        return _answers(energies, gradient, strain, structure.volume)

    def energies_of_described(self, structure: Structure) -> FloatArray:
        """Total energies (K,) of a structure that is described already."""
        energies = self._offsets[structure.numbers].repeat(self._n, 1)
        for d, described in enumerate(structure.described):
            energies += self._local(d, structure.numbers, described.unit)[0].T
        return energies.sum(1).numpy()

    def along_pairs(
        self, numbers: Tensor, pairs: Pairs, n_centres: int, watch: Watch | None = None
    ) -> tuple[Tensor, list[PairGradients]]:
        """Atomic energies (K, n_centres), and of every block of centres the K gradients along its pairs.

        Parameters
        ----------
        numbers : Tensor of shape (n_atoms,)
            Atomic numbers; those of the centres come first.
        pairs : Pairs
            All pairs of centres within the largest cutoff, sorted by centre.
        n_centres : int
        watch : callable, optional
            See above.
        """
        return self._along(numbers, [pairs] * len(self.descriptors), n_centres, watch)

    def _along(
        self, numbers: Tensor, located: Sequence[Pairs], n_centres: int, watch: Watch | None
    ) -> tuple[Tensor, list[PairGradients]]:
        energies = self._offsets[numbers[:n_centres]].repeat(self._n, 1)
        slopes: list[PairGradients] = []
        if not n_centres:
            return energies, slopes
        for d, (features, pairs) in enumerate(zip(self.descriptors, located, strict=True)):
            evaluate = partial(self._evaluate, d, features, numbers, pairs, watch)
            bounds = features.bounds(n_centres, pairs)
            for (first, last), (e, along) in zip(bounds, in_threads(evaluate, bounds), strict=True):
                energies[:, first:last] += e.T
                slopes.append(along)
        return energies, slopes

    def atomic_energies(self, numbers: Tensor, pairs: Pairs, n_centres: int) -> Tensor:
        """Atomic energies (K, n_centres) alone; parameters as of :meth:`along_pairs`."""
        return self._atomic(numbers, [pairs] * len(self.descriptors), n_centres)

    def energies(self, atoms: Atoms) -> FloatArray:
        """Total energies (K,) of a structure, eV, and no more."""
        numbers = torch.from_numpy(np.asarray(atoms.numbers, dtype=np.int64))
        for features in self.descriptors:
            features.check(atoms)
        pairs = find_pairs(atoms, max(f.cutoff for f in self.descriptors))
        located = [f.located(atoms, pairs) for f in self.descriptors]
        return self._atomic(numbers, located, len(numbers)).sum(1).numpy()

    def _atomic(self, numbers: Tensor, located: Sequence[Pairs], n_centres: int) -> Tensor:
        energies = self._offsets[numbers[:n_centres]].repeat(self._n, 1)
        if not n_centres:
            return energies
        for d, (features, pairs) in enumerate(zip(self.descriptors, located, strict=True)):
            for first, last in features.bounds(n_centres, pairs):
                p = features.environments(numbers, pairs, first, last).environments.features()
                energies[:, first:last] += self._local(d, numbers[first:last], normalise(p)[0] if self.unit else p)[0].T
        return energies

    def _evaluate(
        self,
        descriptor: int,
        features: Features,
        numbers: Tensor,
        pairs: Pairs,
        watch: Watch | None,
        bounds: tuple[int, int],
    ) -> tuple[Tensor, PairGradients]:
        """Energies (n, K) of a block of atoms and their gradients."""
        block = features.environments(numbers, pairs, *bounds)
        own = numbers[block.first : block.last]
        if not self.unit:
            energies, v = self._local(descriptor, own, block.environments.features())
            return energies, block.pull(v)
        u, norm = normalise(block.environments.features())
        if watch is not None:
            watch(descriptor, slice(block.first, block.last), own, u)
        energies, v = self._local(descriptor, own, u)
        u, inverse = u.to(v.dtype), torch.where(norm > 0, 1.0 / norm, 0.0).to(v.dtype)
        v -= (v @ u[:, :, None]) * u[:, None]
        v *= inverse[:, None, None]
        return energies, block.pull(v)

    def _local(self, descriptor: int, numbers: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (n, K) of features and their gradients (n, K, n_features)."""
        terms = [(numbers == t.element, t.energies) for t in self.terms if t.descriptor == descriptor]
        if len(terms) == 1 and bool(terms[0][0].all()):
            return terms[0][1](u)
        found = [(members, term(u[members])) for here, term in terms if len(members := torch.nonzero(here).squeeze(1))]
        precision = found[0][1][1].dtype if found else torch.float64
        energies = torch.zeros((len(u), self._n), dtype=precision)
        v = torch.zeros((len(u), self._n, u.shape[1]), dtype=precision)
        for members, (e, slope) in found:
            energies[members], v[members] = e, slope
        return energies, v


def _answers(energies: Tensor, gradient: Tensor, strain: Tensor, volume: float | None) -> DrawPredictions:
    """Answers of K potentials from atomic energies (K, n), derivatives by positions (n, 3, K) and strain (3, 3, K)."""
    stress = None
    if volume is not None:
        symmetric = 0.5 * (strain + strain.transpose(0, 1)) / volume
        stress = np.stack([symmetric[a, b].numpy() for a, b in VOIGT], axis=1)
    forces = -gradient.permute(2, 0, 1).contiguous()
    return DrawPredictions(energies.sum(1).numpy(), energies.numpy(), forces.numpy(), stress)


def folded_slopes(pairs: Pairs, slopes: Sequence[PairGradient]) -> FloatArray:
    """Gradient (n_pairs, 3) along all pairs, from gradients along some of them each; they add up."""
    gradient = np.zeros((len(pairs), 3))
    for slope in slopes:
        here = slope.places if isinstance(slope.places, slice) else slope.places.numpy()
        gradient[here] += slope.values.numpy()
    return gradient


class MeanPotential:
    """Posterior mean (or a posterior draw of the weights) as a function of a structure.

    Parameters
    ----------
    descriptors : sequence of Features
    blocks : sequence of InducingBlock
    weights : Tensor of shape (M,)
        Weights of unit-amplitude rows, eV.
    isolated : dict of int to float
        Isolated-atom energies in eV.
    """

    def __init__(
        self,
        descriptors: Sequence[Features],
        blocks: Sequence[InducingBlock],
        weights: Tensor,
        isolated: dict[int, float],
    ) -> None:
        terms = [Term(b.descriptor, b.element, weighted(b, weights[None, b.columns])) for b in blocks]
        self.potentials = Potentials(descriptors, summed(terms), isolated, 1)

    def __call__(self, atoms: Atoms, pairs: Pairs | None = None, watch: Watch | None = None) -> MeanPrediction:
        """Energy, atomic energies, forces and (for three periodic directions) stress; parameters as of `Potentials`."""
        return self.potentials(atoms, pairs, watch)[0]
