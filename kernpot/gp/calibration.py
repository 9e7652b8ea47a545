"""Sharper or wider error bars from structures that the fit has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from kernpot import tails
from kernpot.errors import StructureError
from kernpot.gp.leave_one_out import MIN_STRUCTURES
from kernpot.gp.misfit import FLOOR, TOGETHER, LabelVariances, Misfit, misfit_variance, tells
from kernpot.gp.predictor import Predictor
from kernpot.structures.labels import LABEL_KINDS, LabelledStructure

# Factors on the misfit that may come out; a model further off is better fitted again.
_BOUNDS = (-np.log(20.0), np.log(20.0))


@dataclass(frozen=True)
class Rescaled:
    """What held-out structures changed for one kind of label.

    Attributes
    ----------
    structures : int
        Held-out structures with such labels.
    factor : float
        Factor on the misfit.
    crps_before, crps_after : float
        Mean continuous ranked probability score, in eV/atom, eV/A or eV/A^3; smaller is better.
    """

    structures: int
    factor: float
    crps_before: float
    crps_after: float


def calibrate(
    predictor: Predictor, held_out: Sequence[LabelledStructure], misfit: dict[str, Misfit]
) -> tuple[dict[str, Misfit], dict[str, dict[str, Any]]]:
    """Misfit scaled, kind by kind, to the least mean continuous ranked probability score on held-out structures.

    One number per kind is what few structures can tell; how the misfit depends on the environment, and tails, stay as
    the fit found them on many more residuals.

    Parameters
    ----------
    predictor : Predictor
    held_out : sequence of LabelledStructure
    misfit : dict of str to Misfit
        As it is.

    Returns
    -------
    misfit : dict of str to Misfit
    found : dict of str to dict
        `Rescaled` of every kind that enough structures have.

    Raises
    ------
    StructureError
        When no kind of label is held by enough structures.
    """
    errors: dict[str, list[NDArray[np.float64]]] = {}
    parts: dict[str, list[LabelVariances]] = {}
    for s in held_out:
        mean, found = predictor.mean(s.atoms), predictor.label_variances(s.atoms)
        n = len(s.atoms)
        for kind in s.kinds:
            predicted, label = getattr(mean, kind), getattr(s, kind)
            if predicted is not None:
                errors.setdefault(kind, []).append(np.ravel(predicted - label) / (n if kind == "energy" else 1))
                parts.setdefault(kind, []).append(found[kind])
    enough = [kind for kind in LABEL_KINDS if len(errors.get(kind, [])) >= MIN_STRUCTURES]
    if not enough:
        raise StructureError(
            f"calibrating needs at least {MIN_STRUCTURES} structures with labels of one kind, got "
            f"{ {kind: len(e) for kind, e in errors.items()} or 'none' }; give more held-out structures."
        )
    changed, told = dict(misfit), {}
    for kind in enough:
        changed[kind], rescaled = _rescale(kind, misfit[kind], errors[kind], parts[kind])
        told[kind] = asdict(rescaled)
    return changed, told


def _rescale(
    kind: str, misfit: Misfit, errors: Sequence[NDArray[np.float64]], parts: Sequence[LabelVariances]
) -> tuple[Misfit, Rescaled]:
    error = np.concatenate(errors)
    found = LabelVariances(*(torch.cat(p) for p in zip(*parts, strict=True)))
    telling = tells(found.parameter.numpy(), found.pooled.numpy())
    if not telling.any():
        telling[:] = True
    epistemic = found.parameter + found.unrepresented

    def scaled(log_factor: float) -> Misfit:
        g = float(np.exp(log_factor))
        return replace(misfit, constant=max(g * misfit.constant, FLOOR[kind]), factor=g * misfit.factor)

    def crps(log_factor: float) -> float:
        added, _ = misfit_variance(scaled(log_factor), found, TOGETHER[kind])
        std = (epistemic + added).sqrt().numpy()[telling]
        return float(np.mean(std * tails.crps(error[telling] / std, misfit.degrees_of_freedom)))

    best = minimize_scalar(crps, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-3})
    return scaled(best.x), Rescaled(len(errors), float(np.exp(best.x)), crps(0.0), float(best.fun))
