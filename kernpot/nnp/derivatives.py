"""From slopes of atomic energies to forces and stress, and back: the linear map that training repeats.

Training does not move atoms, so the derivatives of the networks' inputs along every pair vector are computed once,

    J_p = dz_i / dr_ij      (3, P) for every pair p = (i, j),

and with the slopes ``g_i = de_i/dz_i`` of K members the derivative of the energy along a pair is ``J_p g_i``, folded
onto the two atoms and, for the stress, onto the cell. All members share each ``J_p`` while it is in the cache.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernpot.compilation import compiled
from kernpot.nnp.descriptions import Descriptions
from kernpot.nnp.inputs import Inputs
from kernpot.parallel.threads import in_threads
from kernpot.progress import Report

Single = NDArray[np.float32]
Index = NDArray[np.int64]

# Pairs whose derivatives along all features are in memory at a time.
_PAIRS = 256
# Structures described between two reports.
_STRUCTURES = 8
# Bytes of derivatives that are kept in memory; more go to a temporary file, which the system caches as far as it can.
_IN_MEMORY = 4e9


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Inputs and their derivatives of many structures, one after the other.

    Attributes
    ----------
    numbers : Tensor of shape (n_atoms,)
        Atomic numbers.
    inputs : Tensor of shape (n_atoms, P), float32
    along : ndarray of shape (n_pairs, 3, P), float32
        ``J``.
    centres, neighbours : ndarray of shape (n_pairs,)
        Atoms, counted from the first of their structure.
    vectors : ndarray of shape (n_pairs, 3), float32
        Angstrom.
    atoms, pairs : ndarray of shape (n_structures + 1,)
        Where each structure's atoms and pairs begin.
    volumes : ndarray of shape (n_structures,)
        A^3; infinite where there is no stress.
    """

    numbers: Tensor
    inputs: Tensor
    along: Single
    centres: Index
    neighbours: Index
    vectors: Single
    atoms: Index
    pairs: Index
    volumes: NDArray[np.float64]


def describe(
    structures: Descriptions,
    inputs: dict[int, Inputs],
    report: Report | None = None,
    n_threads: int = 1,
) -> Derivatives:
    """Inputs and derivatives of structures.

    Parameters
    ----------
    structures : Descriptions
        Taken.
    inputs : dict of int to Inputs
        By atomic number.
    report : callable, optional
        ``(stage, done, total)``.
    n_threads : int
        Each describes a structure at a time.
    """
    width = max(i.projection.shape[1] for i in inputs.values())
    pairs = np.concatenate([[0], np.cumsum([len(p) for p in structures.pairs])])
    atoms = np.concatenate([[0], np.cumsum([len(a) for a in structures.atoms])])
    along = _storage((int(pairs[-1]), 3, width))
    z = torch.zeros((int(atoms[-1]), width))
    centres, neighbours = np.empty(pairs[-1], dtype=np.int64), np.empty(pairs[-1], dtype=np.int64)
    vectors = np.empty((pairs[-1], 3), dtype=np.float32)

    def describe_one(s: int) -> None:
        numbers = structures.numbers(s)
        at = int(pairs[s])
        for block in structures.take(s):
            n = len(block.vectors)
            here, own = slice(at, at + n), numbers[block.first : block.last]
            x = block.environments.features()
            for element, given in inputs.items():
                members = torch.nonzero(own == element).squeeze(1)
                if len(members):
                    z[int(atoms[s]) + block.first + members, : given.projection.shape[1]] = given(x[members]).float()
            along[here] = _along(block, own, inputs, width)
            centres[here], neighbours[here] = block.centres.numpy(), block.neighbours.numpy()
            vectors[here] = block.vectors.numpy()
            at += n
        # A descriptor drops pairs beyond its own cutoff.
        along[at : pairs[s + 1]], vectors[at : pairs[s + 1]] = 0.0, 0.0
        centres[at : pairs[s + 1]] = neighbours[at : pairs[s + 1]] = 0

    for first in range(0, len(structures), _STRUCTURES):
        last = min(first + _STRUCTURES, len(structures))
        in_threads(describe_one, range(first, last), n_threads)
        if report is not None:
            report("derivatives", last, len(structures))
    volumes = np.array([a.get_volume() if all(a.pbc) else np.inf for a in structures.atoms])
    numbers = torch.cat([structures.numbers(s) for s in range(len(structures))])
    return Derivatives(numbers, z, along, centres, neighbours, vectors, atoms, pairs, volumes)


def _storage(shape: tuple[int, ...]) -> Single:
    if 4.0 * np.prod(shape) < _IN_MEMORY:
        return np.empty(shape, dtype=np.float32)
    # The file has no name and is gone with the process, however it ends.
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)


def _along(block: Any, own: Tensor, inputs: dict[int, Inputs], width: int) -> Single:
    """``J`` (p, 3, width) of the pairs of one block."""
    out = torch.zeros((len(block.vectors), 3, width))
    element = own[block.centres - block.first]
    for slot in torch.unique(block.slots).tolist():
        moving = block.environments.slot_features(slot)
        for z, given in inputs.items():
            chosen = torch.nonzero((block.slots == slot) & (element == z)).squeeze(1)
            projection = given.projection[moving]
            for pairs in chosen.split(_PAIRS):
                tangent = block.environments.pair_tangent(pairs, slot)
                out[pairs, :, : projection.shape[1]] = (tangent @ projection).float()
    return out.numpy()


@dataclass(frozen=True, eq=False)
class Batch:
    """Some structures of `Derivatives`.

    Attributes
    ----------
    of : Derivatives
    structures : ndarray of int64
    n_threads : int
        On which its structures are folded.
    """

    of: Derivatives
    structures: Index
    n_threads: int = 1

    @property
    def sizes(self) -> Index:
        """Number of atoms of every structure."""
        return self.of.atoms[self.structures + 1] - self.of.atoms[self.structures]

    @property
    def places(self) -> Tensor:
        """Where the batch's atoms are among all."""
        spans = zip(self.of.atoms[self.structures], self.of.atoms[self.structures + 1], strict=True)
        return torch.from_numpy(np.concatenate([np.arange(a, b) for a, b in spans]))


def forces_and_stress(slopes: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Forces and stress of K members.

    Parameters
    ----------
    slopes : Tensor of shape (n_atoms, K, P), float32
        ``g``, for the atoms of the batch.
    batch : Batch

    Returns
    -------
    forces : Tensor of shape (n_atoms, 3, K)
        eV/A.
    stress : Tensor of shape (n_structures, 6, K)
        eV/A^3, ASE's sign and Voigt order; zero where there is none.
    """
    found: tuple[Tensor, Tensor] = _Fold.apply(slopes, batch)
    return found


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, slopes: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        ctx.batch, ctx.shape = batch, slopes.shape
        g = slopes.contiguous().numpy()
        forces = np.zeros((g.shape[0], 3, g.shape[1]), dtype=np.float32)
        stress = np.zeros((len(batch.structures), 6, g.shape[1]), dtype=np.float32)
        _each(_fold, batch, g, forces, stress)
        return torch.from_numpy(forces), torch.from_numpy(stress)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, forces: Tensor, stress: Tensor) -> tuple[Tensor, None]:
        out = np.zeros(ctx.shape, dtype=np.float32)
        _each(_unfold, ctx.batch, forces.contiguous().numpy(), stress.contiguous().numpy(), out)
        return torch.from_numpy(out), None


def _each(loop: Any, batch: Batch, *arrays: Single) -> None:
    """Run a loop over the structures of a batch, in shares for its threads."""
    of, n = batch.of, len(batch.structures)
    start = np.concatenate([[0], np.cumsum(batch.sizes)])
    edges = np.unique(np.linspace(0, n, min(batch.n_threads, n) + 1).round().astype(np.int64))

    def share(span: tuple[int, int]) -> None:
        loop(
            batch.structures, span[0], span[1], start, of.along, of.centres, of.neighbours, of.vectors, of.pairs,
            of.volumes, *arrays,
        )  # fmt: skip

    in_threads(share, list(pairwise(edges.tolist())), batch.n_threads)


@compiled
def _fold(
    structures: Index,
    first: int,
    last: int,
    start: Index,
    along: Single,
    centres: Index,
    neighbours: Index,
    vectors: Single,
    pairs: Index,
    volumes: NDArray[np.float64],
    slopes: Single,
    forces: Single,
    stress: Single,
) -> None:
    n_members = slopes.shape[1]
    f = np.empty((3, n_members), dtype=np.float32)
    for s in range(first, last):
        structure = structures[s]
        per_volume = np.float32(1.0 / volumes[structure])
        for p in range(pairs[structure], pairs[structure + 1]):
            i, j = start[s] + centres[p], start[s] + neighbours[p]
            x, y, z = along[p, 0], along[p, 1], along[p, 2]
            _products(x, y, z, slopes[i], f)
            for a in range(3):
                for k in range(n_members):
                    forces[j, a, k] -= f[a, k]
                    forces[i, a, k] += f[a, k]
            v0, v1, v2 = per_volume * vectors[p, 0], per_volume * vectors[p, 1], per_volume * vectors[p, 2]
            half = np.float32(0.5)
            for k in range(n_members):
                # Voigt order xx, yy, zz, yz, xz, xy.
                stress[s, 0, k] += f[0, k] * v0
                stress[s, 1, k] += f[1, k] * v1
                stress[s, 2, k] += f[2, k] * v2
                stress[s, 3, k] += half * (f[1, k] * v2 + f[2, k] * v1)
                stress[s, 4, k] += half * (f[0, k] * v2 + f[2, k] * v0)
                stress[s, 5, k] += half * (f[0, k] * v1 + f[1, k] * v0)


@compiled
def _unfold(
    structures: Index,
    first: int,
    last: int,
    start: Index,
    along: Single,
    centres: Index,
    neighbours: Index,
    vectors: Single,
    pairs: Index,
    volumes: NDArray[np.float64],
    forces: Single,
    stress: Single,
    slopes: Single,
) -> None:
    n_members = slopes.shape[1]
    f = np.empty((3, n_members), dtype=np.float32)
    for s in range(first, last):
        structure = structures[s]
        per_volume = np.float32(1.0 / volumes[structure])
        for p in range(pairs[structure], pairs[structure + 1]):
            i, j = start[s] + centres[p], start[s] + neighbours[p]
            x, y, z = along[p, 0], along[p, 1], along[p, 2]
            v0, v1, v2 = per_volume * vectors[p, 0], per_volume * vectors[p, 1], per_volume * vectors[p, 2]
            half = np.float32(0.5)
            for k in range(n_members):
                yz, xz, xy = half * stress[s, 3, k], half * stress[s, 4, k], half * stress[s, 5, k]
                f[0, k] = stress[s, 0, k] * v0 + xy * v1 + xz * v2 + forces[i, 0, k] - forces[j, 0, k]
                f[1, k] = stress[s, 1, k] * v1 + xy * v0 + yz * v2 + forces[i, 1, k] - forces[j, 1, k]
                f[2, k] = stress[s, 2, k] * v2 + xz * v0 + yz * v1 + forces[i, 2, k] - forces[j, 2, k]
            _add_products(x, y, z, f, slopes[i])


@compiled
def _products(x: Single, y: Single, z: Single, g: Single, f: Single) -> None:
    """Write ``f[:, k] = (x . g_k, y . g_k, z . g_k)``; four members at a time share what is read of x, y and z."""
    n, width = g.shape
    zero = np.float32(0.0)
    for k in range(0, n - 3, 4):
        g0, g1, g2, g3 = g[k], g[k + 1], g[k + 2], g[k + 3]
        x0, x1, x2, x3, y0, y1, y2, y3 = zero, zero, zero, zero, zero, zero, zero, zero
        z0, z1, z2, z3 = zero, zero, zero, zero
        for d in range(width):
            x0 += x[d] * g0[d]
            x1 += x[d] * g1[d]
            x2 += x[d] * g2[d]
            x3 += x[d] * g3[d]
            y0 += y[d] * g0[d]
            y1 += y[d] * g1[d]
            y2 += y[d] * g2[d]
            y3 += y[d] * g3[d]
            z0 += z[d] * g0[d]
            z1 += z[d] * g1[d]
            z2 += z[d] * g2[d]
            z3 += z[d] * g3[d]
        f[0, k], f[0, k + 1], f[0, k + 2], f[0, k + 3] = x0, x1, x2, x3
        f[1, k], f[1, k + 1], f[1, k + 2], f[1, k + 3] = y0, y1, y2, y3
        f[2, k], f[2, k + 1], f[2, k + 2], f[2, k + 3] = z0, z1, z2, z3
    for k in range(n - n % 4, n):
        x0, y0, z0 = zero, zero, zero
        for d in range(width):
            x0 += x[d] * g[k, d]
            y0 += y[d] * g[k, d]
            z0 += z[d] * g[k, d]
        f[0, k], f[1, k], f[2, k] = x0, y0, z0


@compiled
def _add_products(x: Single, y: Single, z: Single, f: Single, g: Single) -> None:
    """Add ``f[0, k] x + f[1, k] y + f[2, k] z`` to ``g_k``, two members at a time."""
    n, width = g.shape
    for k in range(0, n - 1, 2):
        g0, g1 = g[k], g[k + 1]
        x0, y0, z0, x1, y1, z1 = f[0, k], f[1, k], f[2, k], f[0, k + 1], f[1, k + 1], f[2, k + 1]
        for d in range(width):
            g0[d] += x0 * x[d] + y0 * y[d] + z0 * z[d]
            g1[d] += x1 * x[d] + y1 * y[d] + z1 * z[d]
    if n % 2:
        last = g[n - 1]
        x0, y0, z0 = f[0, n - 1], f[1, n - 1], f[2, n - 1]
        for d in range(width):
            last[d] += x0 * x[d] + y0 * y[d] + z0 * z[d]
