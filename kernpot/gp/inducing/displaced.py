"""Environments of slightly displaced copies of structures: inducing where structures hold fewer than a fit asks for.

Few structures hold hundreds of environments, while the forces on their atoms say thousands of things. A posterior mean
made of the kernels of these environments alone cannot follow them; that of a Gaussian process on all labels is made of
derivatives of kernels too. The difference of the kernels of two close environments is such a derivative, and
displacements of all atoms at random make them along every direction that forces have.

Of the copies those are taken that the environments chosen before represent worst, given the others taken (pivoted
Cholesky decomposition of the unrepresented covariance; Fine and Scheinberg, J. Mach. Learn. Res. 2, 243 (2001)). What
moves nothing, an isolated atom or a single one in its cell, is represented entirely, and so are copies beyond what the
features can tell apart: there are then fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf
from torch import Tensor

from kernpot.functionals.state import InducingBlock
from kernpot.gp.rows.whitening import Whitening

# Standard deviation of a coordinate, Angstrom.
_DISPLACEMENT = 0.02
MOST_COPIES = 50
"""Displaced copies that become inducing for each environment at most: one for every direction in which an atom and some
sixteen neighbours move. More of them say nothing new, while choosing among them takes the square in memory."""

# Environments to choose from, for each one wanted.
_POOL = 1.5
# Unrepresented variance, of one, below which an environment says nothing; a hundred jitters of the covariance.
_LEAST = 1e-8


def displaced_copies(structures: Sequence[Atoms], n_wanted: int, rng: np.random.RandomState) -> list[Atoms]:
    """Copies with all atoms displaced, of one structure after the other and again, cells as they are.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        Those of a single atom, which displacements do not change, are passed over.
    n_wanted : int
        Environments to choose; half as many again are made, or a few more.
    rng : RandomState
    """
    several = [a for a in structures if len(a) > 1]
    copies: list[Atoms] = []
    n_made = 0
    for atoms in cycle(several):
        if n_made >= _POOL * n_wanted:
            break
        moved = atoms.positions + rng.normal(0.0, _DISPLACEMENT, size=(len(atoms), 3))
        copies.append(Atoms(atoms.numbers, moved, cell=atoms.cell, pbc=atoms.pbc))
        n_made += len(atoms)
    return copies


def worst_represented(candidates: Tensor, block: InducingBlock) -> NDArray[np.int64]:
    """Indices of ``candidates`` (n, d) that say something, those that ``block`` represents worst first."""
    none = np.array([], dtype=np.int64)
    if not len(candidates):
        return none
    factor = Whitening([block]).factors[0]
    b = torch.linalg.solve_triangular(factor, block.function.value(block.environments @ candidates.mT), upper=False)
    missing = block.function.value(candidates @ candidates.mT) - b.mT @ b
    if float(missing.diagonal().max()) <= _LEAST:  # dpstrf takes the first one whatever it is
        return none
    _, pivots, rank, _ = dpstrf(missing.numpy(), tol=_LEAST)
    order: NDArray[np.int64] = pivots[:rank].astype(np.int64) - 1
    return order
