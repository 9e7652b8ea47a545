"""Which environments of new structures a fitted model should describe: those it cannot represent, the newest first.

The inducing environments leave of the energy of an atom, with unit features ``u`` and whitened row ``b``, the prior
variance

    s^2 = sum over descriptors of a^2 f(u . u) - |b|^2.

No label can teach the model anything about that part. An atom asks to be described when ``s`` is larger than the
misfit of an energy per atom, ``level``: below it the model is wrong by more for other reasons. The atom with the
largest ``s^2`` is taken first, and what it then represents of the others is taken off them (pivoted Cholesky
decomposition of the unrepresented covariance; Fine and Scheinberg, J. Mach. Learn. Res. 2, 243 (2001)), so that of two
atoms alike only one is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from kernpot.descriptors.features import Features
from kernpot.functionals.state import Structure
from kernpot.gp.rows.whitening import Whitening

# Variance, in units of the jitter's, that says nothing.
_JITTERS = 10.0


def worth_describing(
    structures: Sequence[Atoms],
    descriptors: Sequence[Features],
    whitening: Whitening,
    amplitudes: Tensor,
    level: float,
    room: int,
) -> list[Atoms]:
    """Structures whose masked atoms (``arrays["inducing"]``) should become inducing environments.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    descriptors : sequence of Features
    whitening : Whitening
        Of the inducing environments there are.
    amplitudes : Tensor of shape (n_blocks,)
        eV.
    level : float
        Standard deviation of an atom's energy, eV, below which nothing is missing.
    room : int
        How many inducing environments may be added; an atom adds one for each function of a kernel.

    Returns
    -------
    list of ase.Atoms
        Copies, without labels; none that has no atom to add.
    """
    missing = unrepresented_covariance(structures, descriptors, whitening, amplitudes)
    # Even of inducing environments themselves the jitter leaves something.
    left = _JITTERS * sum(a**2 * j for a, j in zip(amplitudes.tolist(), whitening.jitter, strict=True))
    chosen = choose(missing, max(level**2, left), room // len(missing))
    masks = np.split(chosen, np.cumsum([len(a) for a in structures])[:-1])
    out = []
    for atoms, mask in zip(structures, masks, strict=True):
        if mask.any():
            out.append(atoms.copy())
            out[-1].arrays["inducing"] = mask
    return out


def choose(unrepresented: Sequence[Tensor], least: float, count: int) -> NDArray[np.bool_]:
    """Mask (n,) of at most ``count`` atoms, the most unrepresented first, given those before it.

    Parameters
    ----------
    unrepresented : sequence of Tensor of shape (n, n)
        Covariances of atomic energies, one for each function of a kernel; an atom chosen is described under all of
        them.
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
    structures: Sequence[Atoms], descriptors: Sequence[Features], whitening: Whitening, amplitudes: Tensor
) -> list[Tensor]:
    """Covariances (n, n) of energies that inducing environments do not represent, for each function of a kernel."""
    numbers = torch.from_numpy(np.concatenate([a.numbers for a in structures]))
    described = [Structure(descriptors, a) for a in structures]
    places = {c: k for k, c in enumerate(dict.fromkeys((b.descriptor, b.term) for b in whitening.blocks))}
    missing = [torch.zeros((len(numbers), len(numbers)), dtype=torch.float64) for _ in places]
    for block, factor, amplitude in zip(whitening.blocks, whitening.factors, amplitudes, strict=True):
        members = torch.nonzero(numbers == block.element).squeeze(1)
        u = torch.cat([s.described[block.descriptor].unit for s in described])[members]
        b = torch.linalg.solve_triangular(factor, block.function.value(block.times(u)).mT, upper=False)
        found = amplitude**2 * (block.function.value(u @ u.mT) - b.mT @ b)
        missing[places[block.descriptor, block.term]][members[:, None], members] = found
    return missing
