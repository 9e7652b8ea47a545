"""Standard deviation of a total energy, and how it changes when atoms move.

With the row ``phi = sum_i k(u_i, u_m)`` of the energy for unit amplitude, ``b = L^-1 phi`` and amplitudes ``a`` the
variance of the calibrated draws' energy is

    sigma^2 = s^2 |R^-T a b|^2 + a^2 (sum_ij k(u_i, u_j) - |b|^2),

``s`` being their scale. Its derivative is that of a potential with weights on the inducing environments, and on those
of the structure itself:

    d sigma^2 = 2 sum_i (sum_m w_m k'(u_i, u_m) + a^2 sum_j k'(u_i, u_j)) . du_i,
    w = L^-T a (s^2 R^-1 R^-T a b - a b),

so that one reverse pass gives all of it. Where nothing is unknown ``sigma`` has no derivative; ``sqrt(sigma^2 + c^2)``
has, and is what is given, with a ``c`` below which energies are not known from any quantum-mechanical code.
"""

from __future__ import annotations

import torch
from ase import Atoms

from kernpot.functionals.rows import energy_rows
from kernpot.functionals.state import VOIGT, Structure
from kernpot.gp.fitted import FittedGP
from kernpot.prediction import EnergyStd
from kernpot.structures.neighbours import Pairs

# eV: see the module's text.
_LEAST = 1e-3


def energy_std(fitted: FittedGP, atoms: Atoms, pairs: Pairs | None = None) -> EnergyStd:
    """Standard deviation of the energy of one structure, and its derivatives.

    Parameters
    ----------
    fitted : FittedGP
    atoms : ase.Atoms
    pairs : Pairs, optional
        All pairs within the largest cutoff; found when not given.
    """
    whitening, posterior, scale = fitted.whitening, fitted.of_draws, fitted.draw_scale
    structure = Structure(fitted.features, atoms, pairs)
    amplitude = posterior.scale
    row, prior = energy_rows(structure, whitening.blocks)
    b = whitening(row)[0] * amplitude
    half = posterior.half(b[None])
    solved = torch.linalg.solve_triangular(posterior.root, half, upper=True)[:, 0]
    weights = whitening.weights(amplitude * (scale**2 * solved - b))
    # Differences of large numbers: rounding may leave less than nothing of what is known well.
    missing = -float(b.square().sum())
    gradient = torch.zeros((structure.n_atoms, 3), dtype=torch.float64)
    strain = torch.zeros((3, 3), dtype=torch.float64)
    slopes = [torch.zeros_like(described.unit) for described in structure.described]
    for k, block in enumerate(whitening.blocks):
        members = structure.members(block)
        if not len(members):
            continue
        variance = float(amplitude[block.columns.start]) ** 2
        missing += variance * float(prior[0, k])
        u = structure.described[block.descriptor].unit[members]
        v = block.combined(block.function.slope(structure.cosines(block)[members]) * weights[block.columns])
        slopes[block.descriptor][members] += v + variance * block.function.slope(u @ u.T) @ u
    std = (scale**2 * float(half.square().sum()) + max(missing, 0.0) + _LEAST**2) ** 0.5
    for described, v in zip(structure.described, slopes, strict=True):
        v /= std
        v -= (v * described.unit).sum(1, keepdim=True) * described.unit
        v *= described.inverse_norm[:, None]
        described.block.pull(v[:, None]).add_to(gradient[:, :, None], strain[:, :, None])
    stress = None
    if structure.volume is not None:
        symmetric = 0.5 * (strain + strain.mT) / structure.volume
        stress = torch.stack([symmetric[i, j] for i, j in VOIGT]).numpy()
    return EnergyStd(std, gradient.numpy(), stress)
