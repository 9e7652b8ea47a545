"""What is kept of a potential's answers: metrics, and sums by structure, from which any resample follows."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernpot.dynamics.tolerance import frame_scores
from kernpot.errors import KernpotError
from kernpot.potential import Potential
from kernpot.uncertainty.evaluation import Comparison, EvaluationResult
from kernpot.uncertainty.sampling_error import reliability_band
from kernpot.uncertainty.scores import covered, ranked_probability_score

Record = dict[str, Any]
"""What JSON can hold."""

LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
COLUMNS = ("count", "absolute", "square", "judged", "crps", "inside_50", "inside_90")
_DIGITS = 7


def scores_of(result: EvaluationResult) -> Record:
    """Metrics by kind and ``config_type``, sums by structure and reliability curves of an evaluation."""
    kept = {kind: c for kind, c in result.comparisons.items() if c.label.size}
    return {
        "n_structures": result.n_structures,
        "n_atoms": result.n_atoms,
        "metrics": [{k: v for k, v in row.items() if k != "deciles"} for row in result.to_dict()["metrics"]],
        "sums": {kind: structure_sums(c) for kind, c in kept.items()},
        "reliability": {kind: reliability(c) for kind, c in kept.items() if not c.vanishing.all()},
    }


def structure_sums(comparison: Comparison) -> Record:
    """Sums over the components of each structure: errors over all of them, calibration over those it is judged by.

    Returns
    -------
    dict of str to list
        ``structure`` (its index), and for each of them the `COLUMNS` in the unit of the comparison.
    """
    names, owner = np.unique(comparison.structure, return_inverse=True)
    judged = ~comparison.vanishing
    score = comparison.score
    crps = ranked_probability_score(comparison.error, comparison.std, comparison.degrees_of_freedom)
    weights = (
        np.ones(judged.size),
        np.abs(comparison.error),
        comparison.error**2,
        judged,
        np.where(judged, crps, 0.0),
        judged & covered(score, 0.5),
        judged & covered(score, 0.9),
    )
    sums = {
        name: _short(np.bincount(owner, weights=np.asarray(weight, dtype=np.float64), minlength=names.size))
        for name, weight in zip(COLUMNS, weights, strict=True)
    }
    return {"structure": names.tolist(), **sums}


def reliability(comparison: Comparison) -> Record:
    """Share of labels inside central intervals of the `LEVELS`, and its sampling error (None below five structures)."""
    chosen = comparison.judged
    score = chosen.score
    low, high = reliability_band(score, chosen.structure, np.array(LEVELS))
    told = bool(np.isfinite(low).all())
    return {
        "level": list(LEVELS),
        "found": [float(covered(score, level).mean()) for level in LEVELS],
        "low": _short(low) if told else None,
        "high": _short(high) if told else None,
    }


def force_errors(result: EvaluationResult) -> Record | None:
    """Errors of force vectors and the stds predicted for them, atom by atom; None where there are no forces.

    Returns
    -------
    dict of str to list
        ``structure``, ``error`` and ``std`` (norms over three components, eV/Angstrom) by atom.
        ``largest_error`` and ``largest_std`` (of a component, eV/Angstrom) by structure.
    """
    forces = result.comparisons.get("forces")
    if forces is None:
        return None
    names, owner = np.unique(forces.structure, return_inverse=True)
    largest = np.zeros((2, names.size))
    for row, values in zip(largest, (np.abs(forces.error), forces.std), strict=True):
        np.maximum.at(row, owner, values)
    return {
        "structure": owner[::3].tolist(),
        "error": _short(np.linalg.norm(forces.error.reshape(-1, 3), axis=1)),
        "std": _short(np.linalg.norm(forces.std.reshape(-1, 3), axis=1)),
        "largest_error": _short(largest[0]),
        "largest_std": _short(largest[1]),
    }


def left_out_scores(potential: Potential) -> list[float] | None:
    """What a threshold of the gate is made of: largest error over largest std of training structures left out in turn.

    None where the potential cannot leave structures out.
    """
    try:
        found = [(left.errors, left.std) for left in potential.left_out()]
        return _short(frame_scores(found)) if found else None
    except KernpotError:
        return None


def _short(values: np.ndarray) -> list[float]:
    """Numbers with as many digits as matter, so that files stay small."""
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]
