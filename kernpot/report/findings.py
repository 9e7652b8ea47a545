"""What an evaluation found, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scipy.stats import chi2

from kernpot.uncertainty.evaluation import ALL, EvaluationResult
from kernpot.uncertainty.metrics import Metrics

MIN_STRUCTURES = 10
"""Below this, coverage is reported without a verdict; nor is one given for widths wrong by less than 10 %."""

NAMES = {"energy": "Energies", "forces": "Forces", "stress": "Stresses"}


@dataclass(frozen=True)
class Finding:
    """One sentence, and whether it is good news (``"good"``), bad (``"warning"``) or neither (``"note"``)."""

    verdict: Literal["good", "warning", "note"]
    text: str


def findings(result: EvaluationResult) -> list[Finding]:
    """Sentences on errors and on the honesty of the intervals: all structures first, then each `config_type`."""
    found = []
    for row in result.metrics:
        found.append(_coverage(row))
        if row.config_type == ALL and row.kind == "forces" and row.spearman is not None and row.n_components >= 100:
            found.append(_ranking(row))
    return found


def _coverage(row: Metrics) -> Finding:
    who = NAMES[row.kind] + ("" if row.config_type == ALL else f" of {row.config_type}")
    start = f"{who}: mean absolute error {row.mae:.3g} {row.unit}; 90 % intervals cover {100 * row.coverage[0.9]:.0f} %"
    if row.coverage_range is None or row.n_structures < MIN_STRUCTURES:
        count = "1 structure is" if row.n_structures == 1 else f"{row.n_structures} structures are"
        return Finding("note", f"{start}, but {count} too few to judge that.")
    low, high = row.coverage_range
    margin = f"{100 * low:.0f} to {100 * high:.0f} % within sampling error"
    material = not 0.9 < row.width_factor < 1.1
    if high < 0.9 and material:
        return Finding(
            "warning", f"{start} ({margin}): over-confident, they should be {_times(row.width_factor)} wider."
        )
    # Where everything is covered, the size of the errors still tells cautious from right (as if one per structure).
    too_small = float(chi2.cdf(row.n_structures * row.rms_z**2, row.n_structures)) < 0.05
    if (low > 0.9 or too_small) and material:
        return Finding("note", f"{start} ({margin}): cautious, they could be {_times(1 / row.width_factor)} narrower.")
    tail = ""
    if row.rms_z > 1.5:
        tail = f" A few errors are far outside, though: rms error / std is {row.rms_z:.1f}."
    return Finding("note" if tail else "good", f"{start} ({margin}): consistent.{tail}")


def _ranking(row: Metrics) -> Finding:
    value = row.spearman or 0.0
    text = f"rank correlation {value:.2f} between |error| and std of the {row.n_components} force components"
    if value < 0.15:
        return Finding("warning", f"Stds hardly tell where force errors are large ({text}).")
    return Finding("note", f"Larger stds mean larger force errors ({text}; even perfect stds stay well below 1).")


def _times(factor: float) -> str:
    return f"{factor:.2g} times" if factor < 100 else "very much"
