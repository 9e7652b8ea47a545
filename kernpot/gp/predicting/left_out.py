"""Force errors of training structures left out in turn, with the error bars a prediction would have given them.

Structures are left out in closed form, at the inducing environments and hyperparameters of the fit
(:func:`kernpot.gp.learning.leave_one_out.leave_one_out`); nothing is fitted again. Where inducing environments follow
from the labels, structures are those that the fit left out, with the residuals found then. The standard deviations are
made as those of predictions are (:mod:`kernpot.calibration.misfit`): parameter variance, what the inducing environments
cannot represent, and misfit. The misfit was learnt from such errors of up to 100 of these structures, by two or three
numbers, so that all of them show its tails.
"""

from __future__ import annotations

import numpy as np
import torch

from kernpot.calibration.misfit import LabelVariances, misfit_variance
from kernpot.calibration.surroundings import Surroundings
from kernpot.files.training import require_training
from kernpot.functionals.state import Structure
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.leave_one_out import leave_one_out
from kernpot.gp.rows.maker import KeptRows
from kernpot.prediction import LeftOut
from kernpot.structures.kinds import KINDS
from kernpot.structures.reference import is_isolated_atom


def left_out_forces(fitted: FittedGP) -> list[LeftOut]:
    """Leave every structure with forces out in turn; isolated atoms, of which nothing else tells, are passed over.

    Raises
    ------
    KernpotError
        The training structures are not known.
    """
    training = require_training(fitted.training, "leaving structures out", "Fit again.")
    maker, misfit, together = fitted.maker, fitted.misfit["forces"], KINDS["forces"].together
    found = []
    for place, labelled in enumerate(training):
        if labelled.forces is None or is_isolated_atom(labelled):
            continue
        if fitted.left_out is not None and place not in fitted.left_out:
            continue
        structure = Structure(fitted.features, labelled.atoms)
        sizes = {kind: int(np.size(labelled.label(kind))) for kind in labelled.kinds}
        kept = KeptRows(list(maker(labelled, structure)), Surroundings.of(structure), sizes, place=place)
        block = maker.whitening.block
        out = leave_one_out([kept], fitted.posterior, fitted.noise, block, fitted.amplitudes, fitted.left_out)
        # Rows were divided by the structure's own noise scale. Atoms count whose forces are known whole.
        known = labelled.known("forces")
        whole = np.repeat(known.reshape(-1, 3).all(axis=1), 3)[known]
        if not whole.any():
            continue
        scale = labelled.scales("forces")[known][whole]
        parts = (out.own, out.pooled, out.unrepresented)
        variances = LabelVariances(*(torch.from_numpy(scale**2 * part["forces"][0][whole]) for part in parts))
        variances = variances.scaled(misfit.of_elements(np.repeat(labelled.atoms.numbers, 3)[known][whole]).square())
        added, _ = misfit_variance(misfit, variances, together)
        std = (variances.parameter + variances.unrepresented + added).sqrt().numpy()
        errors = -scale * out.residuals["forces"][0][whole]
        found.append(LeftOut(np.reshape(errors, (-1, 3)), np.reshape(std, (-1, 3))))
    return found
