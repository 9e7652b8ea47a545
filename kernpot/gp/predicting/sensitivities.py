"""How labels of a structure answer to the weights of the model, in the posterior's own directions."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from kernpot.functionals.rows import energy_rows, force_rows, stress_rows
from kernpot.functionals.state import Structure
from kernpot.gp.fitted import FittedGP
from kernpot.prediction import FloatArray, Sensitivities


def sensitivities(fitted: FittedGP, atoms: Atoms, kinds: Collection[str]) -> Sensitivities:
    """Sensitivities ``s R^-T b`` of the labels with rows ``b``, ``s`` the scale of calibrated draws.

    Parameters
    ----------
    fitted : FittedGP
    atoms : Atoms
    kinds : collection of str
        Of ``"forces"`` and ``"stress"``, what to compute beside the energy.
    """
    structure = Structure(fitted.features, atoms)
    posterior, whitening, scale = fitted.of_draws, fitted.whitening, fitted.draw_scale
    blocks = whitening.blocks

    def half(rows: Tensor) -> FloatArray:
        changes: FloatArray = (scale * posterior.half(whitening(rows) * posterior.scale)).numpy()
        return changes

    energy = half(energy_rows(structure, blocks)[0])[:, 0]
    forces = stress = None
    if "forces" in kinds:
        rows = torch.cat([rows for _, rows, _ in force_rows(structure, blocks, with_prior=False)])
        forces = np.ascontiguousarray(half(rows)).reshape(len(energy), structure.n_atoms, 3)
    if "stress" in kinds:
        stress = half(stress_rows(structure, blocks)[0])
    return Sensitivities(energy, forces, stress)
