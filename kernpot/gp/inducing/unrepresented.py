"""Which environments of new structures a fitted model should describe: those it cannot represent, the newest first.

The inducing environments leave of the energy of an atom, with unit features ``u`` and whitened row ``b``, the prior
variance

    s^2 = sum over descriptors of a^2 (u . u)^zeta - |b|^2.

No label can teach the model anything about that part. An atom asks to be described when ``s`` is larger than the
misfit of an energy per atom, ``level``: below it the model is wrong by more for other reasons. The atom with the
largest ``s^2`` is taken first, and what it then represents of the others is taken off them (pivoted Cholesky
decomposition of the unrepresented covariance; Fine and Scheinberg, J. Mach. Learn. Res. 2, 243 (2001)), so that of two
atoms alike only one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors.soap import SOAPFeatures
from kernpot.functionals.state import Structure
from kernpot.functionals.sums import power
from kernpot.gp.rows.whitening import Whitening
from kernpot.structures.neighbours import find_pairs
from kernpot.structures.noise import kind_of

if TYPE_CHECKING:
    from kernpot.gp.estimator import SparseGPPotential

# Variance, in units of the jitter's, that says nothing.
_JITTERS = 10.0


def update(estimator: SparseGPPotential, structures: Sequence[Atoms]) -> None:
    """Let an estimator learn labels, and describe the environments in them that it cannot represent.

    Parameters
    ----------
    estimator : SparseGPPotential
        Fitted to it if it is not fitted.
    structures : sequence of ase.Atoms
        With labels.
    """
    fitted = hasattr(estimator, "elements_")
    estimator.partial_fit(structures)
    # Copies stand in for environments that nobody had seen; they must not keep out those that come.
    room = estimator.n_inducing - (estimator.n_inducing_ - estimator.summary_.get("n_displaced", 0))
    if not fitted or room <= 0:
        return
    new = worth_describing(
        structures,
        estimator._features,
        estimator._whitening,
        estimator._hyperparameters.amplitudes(),
        min(sigma for group, sigma in estimator.noise_.items() if kind_of(group) == "energy"),
        room,
    )
    if new:
        estimator.add_inducing(new)


def worth_describing(
    structures: Sequence[Atoms],
    descriptors: Sequence[SOAPFeatures],
    whitening: Whitening,
    amplitudes: Tensor,
    level: float,
    room: int,
) -> list[Atoms]:
    """Structures whose masked atoms (``arrays["inducing"]``) should become inducing environments.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    descriptors : sequence of SOAPFeatures
    whitening : Whitening
        Of the inducing environments there are.
    amplitudes : Tensor of shape (n_blocks,)
        eV.
    level : float
        Standard deviation of an atom's energy, eV, below which nothing is missing.
    room : int
        How many inducing environments may be added; an atom adds one for each descriptor.

    Returns
    -------
    list of ase.Atoms
        Copies, without labels; none that has no atom to add.
    """
    missing = unrepresented_covariance(structures, descriptors, whitening, amplitudes)
    # Even of inducing environments themselves the jitter leaves something.
    left = _JITTERS * sum(a**2 * j for a, j in zip(amplitudes.tolist(), whitening.jitter, strict=True))
    chosen = choose(missing, max(level**2, left), room // len(descriptors))
    masks = np.split(chosen, np.cumsum([len(a) for a in structures])[:-1])
    out = []
    for atoms, mask in zip(structures, masks, strict=True):
        if mask.any():
            out.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
            out[-1].arrays["inducing"] = mask
    return out


def choose(unrepresented: Sequence[Tensor], least: float, count: int) -> NDArray[np.bool_]:
    """Mask (n,) of at most ``count`` atoms, the most unrepresented first, given those before it.

    Parameters
    ----------
    unrepresented : sequence of Tensor of shape (n, n)
        Covariances of atomic energies, one per descriptor; an atom chosen is described under all of them.
    least : float
        Variance that asks for a choice.
    count : int
    """
    left = [m.clone() for m in unrepresented]
    mask = np.zeros(len(left[0]), dtype=bool)
    for _ in range(count):
        variance = torch.stack([m.diagonal() for m in left]).sum(0)
        atom = int(variance.argmax())
        if float(variance[atom]) <= least:
            break
        mask[atom] = True
        for m in left:
            if float(m[atom, atom]) > 0:
                column = m[:, atom] / m[atom, atom].sqrt()
                m -= torch.outer(column, column)
            m[atom], m[:, atom] = 0.0, 0.0
    return mask


def unrepresented_covariance(
    structures: Sequence[Atoms], descriptors: Sequence[SOAPFeatures], whitening: Whitening, amplitudes: Tensor
) -> list[Tensor]:
    """Covariances (n, n) of the atoms' energies that the inducing environments do not represent, per descriptor."""
    numbers = torch.from_numpy(np.concatenate([a.numbers for a in structures]))
    pairs = [find_pairs(a, max(f.cutoff for f in descriptors)) for a in structures]
    described = [Structure(descriptors, a, [p] * len(descriptors)) for a, p in zip(structures, pairs, strict=True)]
    missing = [torch.zeros((len(numbers), len(numbers)), dtype=torch.float64) for _ in descriptors]
    for block, factor, amplitude in zip(whitening.blocks, whitening.factors, amplitudes, strict=True):
        members = torch.nonzero(numbers == block.element).squeeze(1)
        u = torch.cat([s.described[block.descriptor].unit for s in described])[members]
        b = torch.linalg.solve_triangular(factor, power(block.times(u), block.zeta).mT, upper=False)
        found = amplitude**2 * (power(u @ u.mT, block.zeta) - b.mT @ b)
        missing[block.descriptor][members[:, None], members] = found
    return missing
