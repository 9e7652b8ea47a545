"""What an evaluation found, in sentences; small samples are described but not judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import chi2

from kernpot.uncertainty.evaluation import ALL, EvaluationResult
from kernpot.uncertainty.metrics import Metrics

MIN_STRUCTURES = 10
"""Below this, coverage is reported without a verdict; nor is one given for widths wrong by less than 10 %."""

NAMES = {"energy": "Energies", "forces": "Forces", "stress": "Stresses"}
_COMPONENTS = {"energy": "energies", "forces": "force components", "stress": "stress components"}
_DECILE_TOLERANCE = 0.05
_SHARP_ENOUGH = 0.85
# A group fails where its rms error is so many stds, and chance would make it so less often than this.
_FAILS, _CHANCE = 2.5, 1e-4
_NAMED = 5
# Part of the closest distance in the fit below which atoms are told to be closer.
_MUCH_CLOSER = 0.97


@dataclass(frozen=True)
class Finding:
    """One sentence about one kind of label.

    Attributes
    ----------
    verdict : {"good", "warning", "note"}
        Good news, bad news, or neither.
    text : str
        The sentence.
    config_type : str
        The group it is about; ``"all"`` for all structures.
    """

    verdict: Literal["good", "warning", "note"]
    text: str
    config_type: str


def findings(result: EvaluationResult) -> list[Finding]:
    """Sentences on errors and on the honesty of the intervals, the most important first.

    Groups that fail come first, those never learnt before others and the worst before the less bad; then the other
    warnings, what holds for all structures, and the groups about which there is less to say.
    """
    found, failing = [], []
    for row in result.metrics:
        # Of many structures together the shares inside intervals tell more.
        if fails(row) and (row.config_type != ALL or row.n_structures_judged < MIN_STRUCTURES):
            failing.append((row.config_type not in result.not_learnt, -row.rms_z, _failure(row, result)))
        else:
            found.append(_coverage(row))
        if row.config_type == ALL:
            more = (_deciles(row), _ranking(row), _vanishing(row))
            found += [finding for finding in more if finding is not None]
    warned = {finding.config_type for *_, finding in failing}
    if quiet := [name for name in result.not_learnt if name not in warned]:
        found.append(_never_learnt(quiet, result))
    if (close := _closer(result)) is not None:
        found.append(close)
    order = sorted(range(len(found)), key=lambda k: (_rank(found[k]), k))
    return [finding for *_, finding in sorted(failing, key=lambda entry: entry[:2])] + [found[k] for k in order]


def fails(row: Metrics) -> bool:
    """Whether errors of a group are far beyond its stds, however few its structures: as if there were one of each."""
    if row.n_judged == 0 or not row.rms_z > _FAILS:
        return False
    return float(chi2.sf(row.n_structures_judged * row.rms_z**2, row.n_structures_judged)) < _CHANCE


def _failure(row: Metrics, result: EvaluationResult) -> Finding:
    count = "1 structure" if row.n_structures == 1 else f"{row.n_structures} structures"
    never = "; the model has learnt no structure of this group" if row.config_type in result.not_learnt else ""
    who = NAMES[row.kind] + ("" if row.config_type == ALL else f" of {row.config_type}")
    text = (
        f"{who} fail: wrong by {row.rmse:.3g} {row.unit} (rms of {count}) where stds "
        f"are {row.sharpness:.3g} {row.unit}{never}."
    )
    return Finding("warning", text, row.config_type)


def _never_learnt(names: Sequence[str], result: EvaluationResult) -> Finding:
    """Groups without training structures whose errors are within their stds, beside those of the groups learnt."""
    rows = [row for row in result.metrics if row.config_type in names and row.kind == "energy"]
    told = ", ".join(f"{row.config_type} (energies wrong by {row.mae:.3g} {row.unit})" for row in rows[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    text = (
        f"The model has learnt no structure of {told or ', '.join(names[:_NAMED])}{more}; errors there are within stds."
    )
    return Finding("note", text, names[0] if len(names) == 1 else ALL)


def _closer(result: EvaluationResult) -> Finding | None:
    """Structures whose atoms are much closer than any in the fit, the worst of them, and what helps."""
    parts = {k: pair.distance / (pair.closest or np.inf) for k, pair in result.closer.items()}
    much = [k for k, part in parts.items() if part < _MUCH_CLOSER]
    if not much:
        return None
    worst = min(much, key=lambda k: parts[k])
    name = result.sources[worst] if worst < len(result.sources) else f"structure {worst}"
    text = (
        f"In {len(much)} of {result.n_structures} structures atoms are closer than any in the fit, or of elements that "
        f"never met there: in {name} {result.closer[worst]}. Nothing learnt tells how they repel one another, and stds "
        "there are wide: label such structures (compressed, hotter, with these neighbours) and add them to the fit."
    )
    return Finding("note", text, ALL)


def _rank(finding: Finding) -> int:
    if finding.verdict == "warning":
        return 0 if finding.config_type == ALL else 1
    if finding.config_type == ALL:
        return 2
    return 3 if finding.verdict == "note" else 4


def _coverage(row: Metrics) -> Finding:
    who = NAMES[row.kind] + ("" if row.config_type == ALL else f" of {row.config_type}")
    error = f"mean absolute error {row.mae:.3g} {row.unit}"
    if row.n_judged == 0:
        return Finding("note", f"{who} vanish by symmetry: no interval could miss them ({error}).", row.config_type)
    held = f"90 % intervals hold {100 * row.coverage[0.9]:.0f} % of labels"
    if row.coverage_range is None or row.n_structures_judged < MIN_STRUCTURES:
        count = "1 structure is" if row.n_structures_judged == 1 else f"{row.n_structures_judged} structures are"
        return Finding("note", f"{who}: {count} too few to tell{_appearance(row)} ({held}; {error}).", row.config_type)
    low, high = row.coverage_range
    tail = f"{held} ({100 * low:.0f} to {100 * high:.0f} % within sampling error); {error}."
    material = not 0.9 < row.width_factor < 1.1
    if high < 0.9 and material:
        text = f"{who} are over-confident by {_times(row.width_factor)}{_factor_range(row)}: {tail}"
        return Finding("warning", text, row.config_type)
    # Where everything is covered, the size of the errors still tells cautious from right (as if one per structure).
    too_small = float(chi2.cdf(row.n_structures_judged * row.rms_z**2, row.n_structures_judged)) < 0.05
    if (low > 0.9 or too_small) and material:
        text = f"{who} are cautious, with stds {_times(1 / row.width_factor)} too wide: {tail}"
        return Finding("note", text, row.config_type)
    if row.rms_z > 1.5:
        tail += f" A few errors are far outside, though: rms error / std is {row.rms_z:.1f}."
        return Finding("note", f"{who} are mostly right about their errors: {tail}", row.config_type)
    if low < _SHARP_ENOUGH:
        text = f"{who} are consistent with their stds as far as {row.n_structures_judged} structures can tell: {tail}"
        return Finding("note", text, row.config_type)
    return Finding("good", f"{who} are consistent with their stds: {tail}", row.config_type)


def _deciles(row: Metrics) -> Finding | None:
    """Tenths of the predicted std in which 90 % intervals hold a clearly different share."""
    wrong = [
        decile
        for decile in row.deciles
        if decile.coverage_range is not None
        and not decile.coverage_range[0] <= 0.9 <= decile.coverage_range[1]
        and abs(decile.coverage - 0.9) > _DECILE_TOLERANCE
    ]
    if not wrong or row.n_structures_judged < MIN_STRUCTURES:
        return None
    worst = max(wrong, key=lambda decile: abs(decile.coverage - 0.9))
    text = (
        f"{NAMES[row.kind]} sorted by std: in {len(wrong)} of {len(row.deciles)} tenths 90 % intervals are off by more "
        f"than 5 points; the worst hold {100 * worst.coverage:.0f} % (where stds are near {worst.std:.2g} {row.unit})."
    )
    return Finding("warning" if worst.coverage < 0.9 else "note", text, row.config_type)


def _ranking(row: Metrics) -> Finding | None:
    if row.kind != "forces" or row.n_judged < 100 or row.spearman is None or row.spearman_oracle is None:
        return None
    text = (
        f"rank correlation {row.spearman:.2f} between |error| and std of the {row.n_judged} force components, where "
        f"perfect Gaussian errors with these stds reach {row.spearman_oracle:.2f}"
    )
    if row.spearman < 0.15 and row.spearman < 0.5 * row.spearman_oracle:
        return Finding("warning", f"Stds hardly tell where force errors are large ({text}).", row.config_type)
    return Finding("note", f"Larger stds mean larger force errors ({text}).", row.config_type)


def _vanishing(row: Metrics) -> Finding | None:
    if not 0 < row.n_vanishing < row.n_components:
        return None
    text = (
        f"{row.n_vanishing} of {row.n_components} {_COMPONENTS[row.kind]} vanish by symmetry, in label, prediction and "
        "std alike: they are left out of all numbers about intervals."
    )
    return Finding("note", text, row.config_type)


def _appearance(row: Metrics) -> str:
    """What a sample too small for a verdict looks like, where it is not near 1."""
    if row.n_structures_judged < 2 or 0.7 < row.width_factor < 1.4:
        return ""
    if row.width_factor > 1:
        return f", though these look over-confident by {_times(row.width_factor)}"
    return f", though these look cautious by {_times(1 / row.width_factor)}"


def _factor_range(row: Metrics) -> str:
    if "width_factor" not in row.ranges:
        return ""
    low, high = row.ranges["width_factor"]
    return f" ({low:.2g} to {high:.2g}x)" if high < 100 else ""


def _times(factor: float) -> str:
    return f"{factor:.2g}x" if factor < 100 else "more than 100x"
