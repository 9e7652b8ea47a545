"""Averages over a trajectory of the mean potential, as every draw would have them.

A trajectory run with the mean potential ``Vbar`` samples ``exp(-beta Vbar)``. With ``h = beta (V_s - Vbar)`` on its
frames, draw ``s`` has the average

    <a>_s = <a exp(-h)> / <exp(-h)>          (exact for many frames)
          = <a> - <a h> + <a> <h> + ...      (cumulant form, exact for Gaussian a and h)

(Imbalzano et al., J. Chem. Phys. 154, 074102 (2021)). ``h`` grows with the system: the weights soon rest on a few
frames, and the first form then means nothing. Its effective sample size tells; the second form bears more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from numpy.typing import ArrayLike

from kernpot.errors import PropertyError
from kernpot.prediction import FloatArray
from kernpot.progress import Report, reporting
from kernpot.uncertainty.propagated import Propagated

# Smallest effective share of the frames that each form is trusted with.
FLOORS = {"exact": 0.1, "cumulant": 0.01}
_BLOCKS = 10


@dataclass(frozen=True, eq=False)
class Average:
    """An average with its two uncertainties.

    Attributes
    ----------
    over_draws : Propagated
        Average of each draw: what the potential's uncertainty does to it.
    sampling_error : ndarray of shape (...)
        Standard error of the average along the trajectory, from the scatter of block means.
    effective_share : ndarray of shape (K,)
        Effective sample size of each draw, ``1 / sum w^2`` (exact) or ``N exp(-var h)`` (cumulant), over N frames.
    """

    over_draws: Propagated
    sampling_error: FloatArray
    effective_share: FloatArray


def reweighted_average(
    draws: Any,
    frames: Sequence[Atoms],
    observable: ArrayLike,
    temperature: float,
    unit: str = "",
    form: Literal["exact", "cumulant"] = "exact",
    floor: float | None = None,
    progress: bool | Report | None = None,
) -> Average:
    """Canonical average of an observable for each draw, from one trajectory of the mean potential.

    Parameters
    ----------
    draws : Draws
        From ``potential.sample_potentials(n)``.
    frames : sequence of ase.Atoms
        Equilibrated frames, in order, of a trajectory at constant temperature run with the mean potential.
    observable : array-like of shape (n_frames, ...)
        Its value on each frame; a function of positions only.
    temperature : float
        K.
    unit : str
        Unit of the observable.
    form : {"exact", "cumulant"}
    floor : float, optional
        Least effective share of the frames; 0.1 for the exact form, 0.01 for the cumulant one.
    progress : bool or callable, optional

    Raises
    ------
    ValueError
        If the observable does not have one value per frame, there are fewer than 20 frames, the temperature is not
        positive or the form unknown.
    PropertyError
        If the effective share of any draw is below the floor: leaving it out would bias the spread.
    """
    values = np.asarray(observable, dtype=np.float64)
    if len(frames) < 2 * _BLOCKS or values.shape[:1] != (len(frames),):
        raise ValueError(
            f"expected at least {2 * _BLOCKS} frames and one value for each, got {len(frames)} frames and values of "
            f"shape {values.shape}"
        )
    if temperature <= 0 or form not in FLOORS:
        raise ValueError(
            f"expected a positive temperature and a form of {list(FLOORS)}, got {temperature} and {form!r}"
        )
    floor = FLOORS[form] if floor is None else floor
    excess = np.empty((len(draws), len(frames)))
    with reporting(progress) as report:
        for k, atoms in enumerate(frames):
            excess[:, k] = np.asarray(draws.evaluate(atoms).energies) - draws.mean_potential.mean(atoms).energy
            if report is not None:
                report("frames", k + 1, len(frames))
    h = excess / (units.kB * temperature)
    h -= h.mean(axis=1, keepdims=True)
    if form == "exact":
        weights = np.exp(-(h - h.min(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        share = 1.0 / (weights**2).sum(axis=1) / len(frames)
        averages = np.tensordot(weights, values, axes=(1, 0))
    else:
        share = np.exp(-h.var(axis=1))
        averages = values.mean(axis=0) - np.tensordot(h, values, axes=(1, 0)) / len(frames)
    poor = int((share < floor).sum())
    if poor:
        advice = "form='cumulant'," if form == "exact" else "dynamics with single draws (draws[k].calculator()),"
        raise PropertyError(
            f"{poor} of {len(share)} draws have an effective sample size below {floor:.0%} of {len(frames)} frames "
            f"(least {share.min():.2g}): their energies differ from the mean's by more than kT, "
            f"{units.kB * temperature:.3f} eV. Use {advice} a smaller cell, or train until the draws agree better"
        )
    return Average(Propagated(averages, values.mean(axis=0), unit), _block_error(values), share)


def _block_error(values: FloatArray) -> FloatArray:
    """Standard error of the mean from the means of consecutive blocks (Flyvbjerg and Petersen, J. Chem. Phys. 1989)."""
    means = np.array([block.mean(axis=0) for block in np.array_split(values, _BLOCKS)])
    return np.asarray(means.std(axis=0, ddof=1) / np.sqrt(_BLOCKS))
