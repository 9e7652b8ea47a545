"""Whether a difference between potentials is more than chance: the structures they were asked about are drawn again.

All potentials answered for the same structures, so each resample is the same for all of them: what makes a structure
hard for all cancels. What is not resampled are the training structures and the seeds of fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernpot.comparison.scoring import Record

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
N_RESAMPLES = 1000
MIN_STRUCTURES = 10
"""Of fewer structures resampling says too little."""

MEASURES: dict[str, Callable[[Mapping[str, FloatArray]], FloatArray]] = {
    "mae": lambda s: s["absolute"] / s["count"],
    "rmse": lambda s: np.sqrt(s["square"] / s["count"]),
    "crps": lambda s: s["crps"] / np.where(s["judged"] > 0, s["judged"], np.nan),
}
"""Measures of error, smaller is better, from sums over structures."""


@dataclass(frozen=True)
class Score:
    """One measure of error of every potential.

    Attributes
    ----------
    measure : str
        One of `MEASURES`.
    kind : str
        ``"energy"``, ``"forces"`` or ``"stress"``.
    n_structures : int
    values : dict of str to float
        By potential.
    best : str or None
        The potential with the smallest value, where the next one is worse by more than sampling error.
    gap : (float, float) or None
        95 % range of how much the next one is worse; None for fewer than ten structures.
    """

    measure: str
    kind: str
    n_structures: int
    values: dict[str, float]
    best: str | None
    gap: tuple[float, float] | None

    @property
    def ordered(self) -> list[str]:
        """Potentials, the smallest value first."""
        return sorted(self.values, key=lambda name: self.values[name])


def compare_errors(kind: str, measure: str, sums: Mapping[str, Record]) -> Score:
    """A measure of all potentials on the structures that all of them answered for.

    Parameters
    ----------
    kind, measure : str
    sums : mapping of str to dict
        By potential, as `kernpot.comparison.scoring.structure_sums` gives them.
    """
    common = sorted(set.intersection(*(set(record["structure"]) for record in sums.values())))
    columns = {name: _columns(record, common) for name, record in sums.items()}
    formula = MEASURES[measure]
    whole = {name: float(formula({c: v.sum(keepdims=True) for c, v in of.items()})[0]) for name, of in columns.items()}
    counts = resamples(len(common))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = {name: formula({c: counts @ v for c, v in of.items()}) for name, of in columns.items()}
    best, gap = judge(whole, drawn, len(common))
    return Score(measure, kind, len(common), whole, best, gap)


def resamples(n_structures: int) -> FloatArray:
    """How often each structure is drawn in each resample: (resamples, structures)."""
    rng = np.random.default_rng(0)
    shares = np.full(n_structures, 1.0 / n_structures)
    return rng.multinomial(n_structures, shares, N_RESAMPLES).astype(np.float64)


def judge(
    whole: Mapping[str, float], drawn: Mapping[str, FloatArray], n_structures: int
) -> tuple[str | None, tuple[float, float] | None]:
    """Which potential has the smallest value beyond sampling error, and the range of the next one's distance to it."""
    known = {name: value for name, value in whole.items() if np.isfinite(value)}
    if len(known) < 2 or n_structures < MIN_STRUCTURES:
        return None, None
    first, second = sorted(known, key=lambda name: known[name])[:2]
    difference = drawn[second] - drawn[first]
    difference = difference[np.isfinite(difference)]
    if not difference.size:
        return None, None
    low, high = np.quantile(difference, [0.5 * (1 - CONFIDENCE), 0.5 * (1 + CONFIDENCE)])
    return (first if low > 0 else None), (float(low), float(high))


def _columns(record: Record, structures: list[int]) -> dict[str, FloatArray]:
    place = {structure: k for k, structure in enumerate(record["structure"])}
    chosen = [place[structure] for structure in structures]
    return {
        name: np.asarray(values, dtype=np.float64)[chosen] for name, values in record.items() if name != "structure"
    }
