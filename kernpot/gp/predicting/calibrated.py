"""A fitted model with other error bars: its misfit scaled by what structures say that the fit has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernpot.backend.summary import data_hash
from kernpot.calibration.held_out import calibrate
from kernpot.gp.fitted import FittedGP
from kernpot.gp.learning.more import updated
from kernpot.gp.predicting.predictor import predictor_of
from kernpot.gp.predicting.shared_draws import spread_of
from kernpot.structures.labels import LabelledStructure


def with_misfit_of(fitted: FittedGP, held_out: Sequence[LabelledStructure]) -> FittedGP:
    """With the misfit of labels scaled by held-out structures (:mod:`kernpot.calibration.held_out`).

    Raises
    ------
    StructureError
        One of them was in the fit, or there are too few.
    """
    training, shared = fitted.training or (), fitted.shared
    misfit, found = calibrate(fitted.once(predictor_of), held_out, fitted.misfit, training)
    told_of_draws = None
    if shared is not None:
        source = shared.source
        of_draws, told_of_draws = calibrate(fitted.once(spread_of), held_out, source.misfit, training)
        shared = replace(shared, source=replace(source, misfit=of_draws))
    told = {"calibration": found, "data_hash": data_hash(held_out)}
    if told_of_draws is not None:
        told["calibration_of_draws"] = told_of_draws
    summary = updated(fitted, told)
    return replace(fitted, misfit=misfit, summary=summary, shared=shared).ready()
