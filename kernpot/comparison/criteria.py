"""Which potential is better in what: decided only where the difference is more than sampling error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kernpot.comparison.resampling import MIN_STRUCTURES, Score
from kernpot.comparison.result import ALL_QUANTITIES, ComparisonResult, Coverage

# Wall times wander with the load of a machine: below these ratios they are called equal, repeated or measured once, or
# on a machine that had more to do than it has cores.
SAME_TIME, SAME_TIME_ONCE, SAME_TIME_BUSY = 1.2, 1.5, 3.0

UNITS = {"energy": "meV/atom", "forces": "eV/Å", "stress": "GPa"}
_NAMES = {"energy": "energies", "forces": "forces", "stress": "stress"}


@dataclass(frozen=True)
class Criterion:
    """One thing that may matter to a user.

    Attributes
    ----------
    name : str
        What it is about, so that "take X for <name>" can be read.
    values : dict of str to float
        By potential; potentials that have none are missing.
    unit : str
    best : str or None
        The potential that is better by more than chance; None where that cannot be told.
    reason : str
        Why, in words: the values, and the range of the difference.
    """

    name: str
    values: dict[str, float]
    unit: str
    best: str | None
    reason: str


def criteria(result: ComparisonResult) -> list[Criterion]:
    """Everything that speaks for one potential or another."""
    found = [_errors(s) for s in result.scores if s.measure == "mae"]
    found += [_distributions(s) for s in result.scores if s.measure == "crps" and s.kind != "stress"]
    found += _few(result)
    found += [c for kind in result.kinds if (c := _honesty(result, kind)) is not None]
    found += _detection(result)
    found += _derived(result)
    return [*found, *_costs(result)]


def nearest(ranges: Mapping[str, tuple[float, float]], target: float) -> str | None:
    """The potential that is nearer to the target than any other wherever within its range its true value lies."""
    furthest = {name: max(abs(low - target), abs(high - target)) for name, (low, high) in ranges.items()}
    closest = {name: max(low - target, target - high, 0.0) for name, (low, high) in ranges.items()}
    found = [n for n in ranges if all(furthest[n] < closest[other] for other in ranges if other != n)]
    return found[0] if found and len(ranges) > 1 else None


def _errors(score: Score) -> Criterion:
    unit = UNITS[score.kind]
    return Criterion(
        f"accurate {_NAMES[score.kind]}", score.values, unit, score.best, f"mean absolute error {_gap(score, unit)}"
    )


def _distributions(score: Score) -> Criterion:
    unit = UNITS[score.kind]
    reason = f"CRPS, which counts errors and error bars together, {_gap(score, unit)}"
    return Criterion(f"{_NAMES[score.kind]} with their error bars", score.values, unit, score.best, reason)


def _few(result: ComparisonResult) -> list[Criterion]:
    """The smallest training set that all could learn from."""
    for point in result.curve[:-1]:
        score = point.score("forces", "mae") or point.score("energy", "mae")
        if score is not None and len(score.values) == len(result.potentials):
            unit = UNITS[score.kind]
            reason = f"mean absolute error of {_NAMES[score.kind]} {_gap(score, unit)}"
            return [Criterion(f"few data ({point.n_train} structures)", score.values, unit, score.best, reason)]
    return []


def _honesty(result: ComparisonResult, kind: str) -> Criterion | None:
    """Whose 90 % intervals hold 90 %."""
    rows = {name: result.row(name, kind) for name in result.potentials}
    known = {
        name: row
        for name, row in rows.items()
        if row is not None and row["coverage_range"] is not None and row["n_structures_judged"] >= MIN_STRUCTURES
    }
    if len(known) < 2:
        return None
    shares = {name: float(row["coverage"]["0.9"]) for name, row in known.items()}
    ranges = {name: (float(row["coverage_range"][0]), float(row["coverage_range"][1])) for name, row in known.items()}
    told = "; ".join(f"{n} {_percent(shares[n])} ({_percents(ranges[n])} within sampling error)" for n in shares)
    best = nearest(ranges, 0.9)
    return Criterion(f"honest error bars of {_NAMES[kind]}", shares, "share", best, f"90 % intervals hold: {told}")


def _detection(result: ComparisonResult) -> list[Criterion]:
    found = []
    for detection in result.detection:
        areas = {name: curve.auc for name, curve in detection.curves.items() if curve.auc is not None}
        if len(areas) < 2:
            continue
        told = "; ".join(f"{n} {area:.2f}, {_percent(detection.curves[n].bad)} bad" for n, area in areas.items())
        reason = f"area below the ROC curve: {told}{_within(detection.gap, detection.best, '')}"
        name = f"finding bad forces on unfamiliar structures ({detection.shift})"
        found.append(Criterion(name, areas, "area", detection.best, reason))
    return found


def _derived(result: ComparisonResult) -> list[Criterion]:
    whole: dict[str, Coverage] = {}
    for name, of in result.derived.items():
        if not isinstance(of, str) and of:
            whole[name] = of[ALL_QUANTITIES] if ALL_QUANTITIES in of else next(iter(of.values()))
    known = {name: c for name, c in whole.items() if c.range is not None and c.n_structures >= MIN_STRUCTURES}
    if len(known) < 2:
        return []
    told = "; ".join(
        f"{n} {_percent(c.inside_90)} ({_percents(c.range)} within sampling error)" for n, c in known.items() if c.range
    )
    best = nearest({name: c.range for name, c in known.items() if c.range}, 0.9)
    shares = {name: c.inside_90 for name, c in known.items()}
    return [Criterion("honest error bars of derived quantities", shares, "share", best, f"90 % intervals hold: {told}")]


def busiest(result: ComparisonResult) -> tuple[float, int] | None:
    """Load and cores of the machine after a fit, where it had more to do than it has cores."""
    fits = [cost["fit"] for cost in result.cost.values()]
    loads = [(float(f["load"]), int(f["cores"])) for f in fits if f["load"] is not None and f["cores"]]
    return max((found for found in loads if found[0] > found[1]), default=None)


def _costs(result: ComparisonResult) -> list[Criterion]:
    floor = 1.0 if busiest(result) is None else SAME_TIME_BUSY
    fit = {name: float(cost["fit"]["wall_s"]) for name, cost in result.cost.items()}
    found = [_cost("a short fit", fit, "s", floor)]
    # The larger cell where there is one: it is nearer to what a simulation costs.
    for key, name in (("mean", "fast dynamics"), ("full", "cheap error bars")):
        times = {n: cost["answers"][-1][key] for n, cost in result.cost.items()}
        found.append(_cost(name, {n: float(t["median"]) for n, t in times.items()}, "ms/atom", floor, times))
    return found


def _cost(
    name: str,
    times: Mapping[str, float],
    unit: str,
    floor: float,
    repeats: Mapping[str, Mapping[str, float]] | None = None,
) -> Criterion:
    first, second = sorted(times, key=lambda n: times[n])[:2]
    ratio = times[second] / times[first] if times[first] > 0 else np.inf
    if repeats is None:
        told = ratio >= max(SAME_TIME_ONCE, floor)
    else:
        told = ratio >= max(SAME_TIME, floor) and repeats[first]["largest"] < repeats[second]["least"]
    values = "; ".join(f"{n} {value:.3g} {unit}" for n, value in times.items())
    reason = f"{values}: {ratio:.2g} times" if told else f"{values}: too near to one another to tell"
    return Criterion(name, dict(times), unit, first if told else None, reason)


def _gap(score: Score, unit: str) -> str:
    told = "; ".join(f"{name} {value:.3g}" for name, value in score.values.items())
    if score.gap is None:
        return f"{told} {unit}, {score.n_structures} structure(s) are too few to tell them apart"
    return f"{told} {unit}{_within(score.gap, score.best, f' {unit}')}"


def _within(gap: tuple[float, float] | None, best: str | None, unit: str) -> str:
    if gap is None:
        return " (too few structures to tell)"
    span = f"the difference is {gap[0]:.2g} to {gap[1]:.2g}{unit} within sampling error"
    return f" ({span})" if best is not None else f": no difference beyond sampling error ({span})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _percents(span: tuple[float, float] | None) -> str:
    return "" if span is None else f"{100 * span[0]:.0f} to {100 * span[1]:.0f} %"
