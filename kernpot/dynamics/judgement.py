"""What a label says about the prediction made before it was known."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernpot.dynamics.oracles import Labels
from kernpot.prediction import Prediction


def judge(prediction: Prediction, labels: Labels, threshold: float | None) -> dict[str, Any]:
    """Errors beside their stds, as JSON.

    Parameters
    ----------
    prediction : Prediction
    labels : Labels
    threshold : float or None
        Of the gate on the force std, eV/A.

    Returns
    -------
    dict
        ``max_force_std``, ``max_force_error``, ``rms_force_error`` (eV/A, components), ``energy_error_per_atom``
        (eV/atom), ``n_components``, ``inside_90`` (share of force components inside their 90 % interval), and
        ``flagged``: whether the largest std is above the threshold.
    """
    errors = labels.forces - prediction.forces.mean
    low, high = prediction.forces.interval(0.9)
    return {
        "max_force_std": float(prediction.forces.std.max()),
        "max_force_error": float(np.abs(errors).max()),
        "rms_force_error": float(np.sqrt(np.mean(errors**2))),
        "energy_error_per_atom": float(labels.energy - prediction.energy.mean) / len(errors),
        "n_components": errors.size,
        "inside_90": float(np.mean((labels.forces >= low) & (labels.forces <= high))),
        "flagged": threshold is not None and bool(prediction.forces.std.max() > threshold),
    }
