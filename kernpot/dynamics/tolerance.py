"""From the error one can live with to the standard deviation at which to stop.

For a frame let ``z = max_c |error_c| / max_c std_c`` over its force components ``c``. With ``q`` such that ``z <= q``
in all but a part ``missed`` of frames like those of the calibration, a gate at

    threshold = tolerance / q

lets pass a frame with a component wrong by more than the tolerance in at most that part of frames: such a frame has
``z > q``, because its error is above the tolerance and its largest std at most the threshold. Nothing is assumed of how
large the stds of frames are, only that ``z`` is distributed as in calibration; so a threshold holds where a simulation
becomes less certain than the calibration frames were. It is cautious: a frame with ``z > q`` whose std is small is no
failure.

``q`` is the order statistic ``ceil((n + 1) (1 - missed))`` of ``n`` calibration frames, for which the promise holds in
finite samples (split conformal prediction; Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005)
when frames are exchangeable. Fewer than about ``1 / missed`` frames do not reach that far: their largest ``z`` then
show how the tail falls off, by a generalised Pareto distribution (Pickands, Ann. Stat. 3, 119 (1975)), and a warning
says so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.stats import genpareto

from kernpot.errors import KernpotError, KernpotWarning
from kernpot.potential import Potential
from kernpot.structures.labels import label_structures

FEWEST_FRAMES = 10
"""Fewer calibration frames than this tell no quantile."""

# Part of the frames that shows the tail, and how many there are at least.
_TAIL, _FEWEST_IN_TAIL = 0.25, 5
# Largest shape: few frames cannot tell a heavier tail from chance, and calibrated errors have not shown any.
_LARGEST_SHAPE = 0.5


def threshold_for(
    potential: Potential,
    max_force_error: float,
    missed: float,
    calibration: Sequence[Atoms] | None = None,
) -> float:
    """Largest force std of a frame at which its forces are still to be trusted, eV/A.

    Parameters
    ----------
    potential : Potential
    max_force_error : float
        Tolerance: error of a force component that a simulation can live with, eV/A.
    missed : float
        Part of the frames let through that may hold a component with a larger error, between 0 and 0.5.
    calibration : sequence of ase.Atoms, optional
        Labelled structures the potential has not seen. None takes its training structures, left out in turn.

    Raises
    ------
    KernpotError
        When an argument is out of range, or fewer than ten frames have forces.

    Warns
    -----
    KernpotWarning
        When the tail had to be extrapolated, with the number of frames it rests on.
    """
    if not (isinstance(max_force_error, int | float) and 0 < max_force_error < math.inf):
        raise KernpotError(f"max_force_error: expected a positive error in eV/A, got {max_force_error!r}.")
    if not (isinstance(missed, int | float) and 0 < missed < 0.5):
        raise KernpotError(f"missed: expected a part of the frames between 0 and 0.5 such as 0.01, got {missed!r}.")
    if calibration is None:
        found = [(left_out.errors, left_out.std) for left_out in potential.left_out()]
    else:
        frames = [s for s in label_structures(calibration) if s.forces is not None]
        predictions = potential.predict_full([s.atoms for s in frames])
        known = [s.known("forces").reshape(-1, 3) for s in frames]
        found = [
            ((p.forces.mean - s.label("forces"))[here], p.forces.std[here])
            for p, s, here in zip(predictions, frames, known, strict=True)
        ]
    if len(found) < FEWEST_FRAMES:
        raise KernpotError(
            f"a threshold from a tolerance needs at least {FEWEST_FRAMES} structures with forces "
            f"({'left out of the fit' if calibration is None else 'in calibration'}), got {len(found)}; give more, or "
            "state the threshold itself, as force_std, in place of the tolerance."
        )
    return float(max_force_error / quantile(frame_scores(found), missed))


def frame_scores(found: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """``z`` (n,) of frames from the errors and stds of their force components."""
    errors = np.array([np.abs(error).max() for error, _ in found])
    stds = np.array([std.max() for _, std in found])
    if not (np.isfinite(errors).all() and (stds > 0).all()):
        raise KernpotError("calibration: errors of forces must be finite and their stds positive; check the labels.")
    scores: NDArray[np.float64] = errors / stds
    return scores


def quantile(scores: NDArray[np.float64], missed: float) -> float:
    """What a new score exceeds with a probability of ``missed``, at most."""
    n = len(scores)
    place = math.ceil((n + 1) * (1 - missed))
    ordered = np.sort(scores)
    if place <= n:
        return float(ordered[place - 1])
    m = max(_FEWEST_IN_TAIL, round(_TAIL * n))
    base = float(ordered[-m - 1])
    excess = ordered[-m:] - base
    shape = float(np.clip(genpareto.fit(excess, floc=0.0)[0], 0.0, _LARGEST_SHAPE))
    # With this shape, the scale that gives the mean excess there is.
    tail = genpareto(shape, scale=float(excess.mean()) * (1 - shape))
    warnings.warn(
        f"{n} calibration frames do not show how large the worst {100 * missed:g} % of errors are (about "
        f"{math.ceil(1 / missed) - 1} would): the threshold extrapolates the largest {m} of them. Give more "
        "calibration frames, or check the audit's missed rate.",
        KernpotWarning,
        stacklevel=3,
    )
    return max(base + float(tail.isf(missed * (n + 1) / m)), float(ordered[-1]))
