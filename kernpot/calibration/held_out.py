"""Sharper or wider error bars from structures that the fit has not seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from kernpot import tails
from kernpot.calibration.misfit import LabelVariances, Misfit, misfit_variance, tells
from kernpot.calibration.residuals import MIN_STRUCTURES
from kernpot.errors import StructureError
from kernpot.structures.identity import identity
from kernpot.structures.kinds import KINDS
from kernpot.structures.labels import LabelledStructure

# Logarithms of factors that may come out.
_BOUNDS = (-np.log(100.0), np.log(100.0))


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


class Explained(Protocol):
    """Means, and what the variances about them are made of."""

    def labels(self, atoms: Atoms, kinds: Collection[str]) -> dict[str, tuple[Any, LabelVariances]]:
        """Means of a structure's labels, of the kinds that can be told, and parts of their variances.

        Variances of extensive labels are those per atom.
        """


def calibrate(
    predictor: Explained,
    held_out: Sequence[LabelledStructure],
    misfit: dict[str, Misfit],
    training: Sequence[LabelledStructure],
) -> tuple[dict[str, Misfit], dict[str, dict[str, Any]]]:
    """Misfit scaled, kind by kind, to the least mean continuous ranked probability score on held-out structures.

    One number per kind is what few structures can tell; how the misfit depends on the environment, and tails, stay as
    the fit found them on many more residuals. The score is flat where the epistemic part alone is wider than the
    errors, so the logarithm of the factor has a normal prior of unit variance, worth one structure.

    Parameters
    ----------
    predictor : Explained
    held_out : sequence of LabelledStructure
    misfit : dict of str to Misfit
        As it is.
    training : sequence of LabelledStructure
        What the fit has seen, as far as it is known.

    Returns
    -------
    misfit : dict of str to Misfit
    found : dict of str to dict
        `Rescaled` of every kind that enough structures have.

    Raises
    ------
    StructureError
        When no kind of label is held by enough structures, or one of them was in the fit.
    """
    seen = {identity(s.atoms) for s in training}
    for s in held_out:
        if identity(s.atoms) in seen:
            raise StructureError(
                f"{s.source} was in the fit: its error says nothing of structures to come. Calibrate with structures "
                "that the fit has not seen."
            )
    errors: dict[str, list[NDArray[np.float64]]] = {}
    parts: dict[str, list[LabelVariances]] = {}
    for s in held_out:
        for kind, (predicted, variances) in predictor.labels(s.atoms, s.kinds).items():
            size, known = len(s.atoms) if KINDS[kind].extensive else 1, s.known(kind)
            # NaN where a component is not known: what a rotation mixes stays together.
            errors.setdefault(kind, []).append(np.where(known, np.ravel(predicted - s.label(kind)), np.nan) / size)
            parts.setdefault(kind, []).append(variances)
    enough = [kind for kind in KINDS if len(errors.get(kind, [])) >= MIN_STRUCTURES]
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
    found = LabelVariances.joined(parts)
    known = np.isfinite(error)
    telling = tells(found.parameter.numpy(), found.pooled.numpy()) & known
    if not telling.any():
        telling = known
    epistemic = found.parameter + found.unrepresented

    def scaled(log_factor: float) -> Misfit:
        g = float(np.exp(log_factor))
        return replace(misfit, constant=max(g * misfit.constant, KINDS[kind].floor), factor=g * misfit.factor)

    def crps(log_factor: float) -> float:
        added, _ = misfit_variance(scaled(log_factor), found, KINDS[kind].together)
        std = (epistemic + added).sqrt().numpy()[telling]
        return float(np.mean(std * tails.crps(error[telling] / std, misfit.degrees_of_freedom)))

    def objective(log_factor: float) -> float:
        return float(np.log(crps(log_factor))) + 0.5 * log_factor**2 / len(errors)

    best = float(minimize_scalar(objective, bounds=_BOUNDS, method="bounded", options={"xatol": 1e-3}).x)
    return scaled(best), Rescaled(len(errors), float(np.exp(best)), crps(0.0), crps(best))
