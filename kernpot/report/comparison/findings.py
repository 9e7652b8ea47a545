"""What a comparison found, in sentences: which potential to use when, and what these data cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from kernpot.comparison.criteria import Criterion, busiest, criteria
from kernpot.comparison.resampling import CONFIDENCE, MIN_STRUCTURES
from kernpot.comparison.result import ALL_QUANTITIES, ComparisonResult, CurvePoint
from kernpot.report.findings import Finding
from kernpot.uncertainty.evaluation import ALL

_KINDS = {"energy": "energy", "forces": "force", "stress": "stress"}


def advice(result: ComparisonResult) -> list[Finding]:
    """Which potential to take for what; differences within sampling error are said to be none."""
    found = criteria(result)
    wins = {name: [c.name for c in found if c.best == name] for name in result.potentials}
    open_questions = [c.name for c in found if c.best is None]
    winners = [name for name, of in wins.items() if of]
    advised = []
    if not winners:
        text = "No difference between the potentials is more than sampling error on these data: take either."
        advised.append(Finding("note", text, ALL))
    if len(winners) == 1 and len(result.potentials) > 1:
        text = (
            f"By none of the criteria below is another potential better than {winners[0]} beyond sampling error; with "
            "fewer structures to learn from another may be, see the learning curve."
        )
        advised.append(Finding("good", text, ALL))
    advised += [Finding("good", f"Take {name} for {_listed(wins[name])}.", ALL) for name in winners]
    if open_questions and winners:
        text = f"These data do not tell which is better for {_listed(open_questions)}."
        advised.append(Finding("note", text, ALL))
    return [*advised, _scope(result)]


def comparison_findings(result: ComparisonResult) -> list[Finding]:
    """The reasons, one by one; then what to beware of."""
    found = [_of_criterion(criterion) for criterion in criteria(result)]
    found += [f for kind in ("energy", "forces") if (f := _learning(result.curve, kind)) is not None]
    for name in result.potentials:
        found += [*_overconfident(result, name), *_derived(result, name)]
    return [*found, *_gates(result), *_failures(result), *_busy(result)]


def _of_criterion(criterion: Criterion) -> Finding:
    verdict = f"{criterion.best} is better" if criterion.best else "not decided"
    return Finding("note", f"{criterion.name[0].upper()}{criterion.name[1:]}: {verdict}; {criterion.reason}.", ALL)


def _scope(result: ComparisonResult) -> Finding:
    few = f" With fewer than {MIN_STRUCTURES} test structures hardly anything can be told." * (
        result.n_test < MIN_STRUCTURES
    )
    text = (
        f"This holds for these data: {result.n_train} structures learnt, {result.n_test} asked about, one split and "
        f"one seed. Sampling error is that of the test structures ({100 * CONFIDENCE:.0f} %), taken as independent; "
        f"with so many comparisons one in twenty of equals looks like a difference.{few}"
    )
    return Finding("note", text, ALL)


def _learning(curve: Sequence[CurvePoint], kind: str) -> Finding | None:
    """Who is more accurate with how many structures."""
    told = [(p.n_train, s.best) for p in curve if (s := p.score(kind, "mae")) is not None and len(s.values) > 1]
    if len(told) < 2:
        return None
    parts = []
    for best, run in groupby(told, key=lambda item: item[1]):
        sizes = [n for n, _ in run]
        span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        who = f"{best} has the smaller errors" if best else "no difference beyond sampling error"
        parts.append(f"with {span} structures {who}")
    return Finding("note", f"Learning curve, mean absolute {_KINDS[kind]} errors: {'; '.join(parts)}.", ALL)


def _overconfident(result: ComparisonResult, name: str) -> list[Finding]:
    """Groups whose 90 % intervals clearly hold less."""
    found = []
    for row in result.metrics[name]:
        if row["coverage_range"] is None or row["n_structures_judged"] < MIN_STRUCTURES:
            continue
        low, high = row["coverage_range"]
        if high < 0.9 and row["width_factor"] is not None and row["width_factor"] > 1.1:
            of = "" if row["config_type"] == ALL else f" of {row['config_type']}"
            text = (
                f"{name}: 90 % {_KINDS[row['kind']]} intervals{of} hold only {100 * row['coverage']['0.9']:.0f} % "
                f"({100 * low:.0f} to {100 * high:.0f} % within sampling error)."
            )
            found.append(Finding("warning", text, row["config_type"]))
    for shift, of_shift in result.shifted.items():
        for row in of_shift.get(name, []):
            told = row["config_type"] == ALL and row["kind"] == "forces" and row["coverage_range"] is not None
            if told and row["coverage_range"][1] < 0.9:
                text = (
                    f"{name}: on structures unlike those learnt ({shift}) 90 % force intervals hold only "
                    f"{100 * row['coverage']['0.9']:.0f} %."
                )
                found.append(Finding("warning", text, ALL))
    return found


def _derived(result: ComparisonResult, name: str) -> list[Finding]:
    of = result.derived[name]
    if isinstance(of, str):
        return [Finding("warning", f"{name}: derived quantities found no values: {of}", ALL)]
    found = []
    for kind, c in of.items():
        if c.range is not None and c.n_structures >= MIN_STRUCTURES and c.range[1] < 0.9:
            what = "derived quantities" if kind == ALL_QUANTITIES else kind
            text = (
                f"{name}: 90 % intervals of {what} hold only {100 * c.inside_90:.0f} % of {c.n} "
                f"({100 * c.range[0]:.0f} to {100 * c.range[1]:.0f} % within sampling error)."
            )
            found.append(Finding("warning", text, ALL))
    return found


def _gates(result: ComparisonResult) -> list[Finding]:
    """What thresholds made from left-out structures would do on unfamiliar ones."""
    found = []
    for detection in result.detection:
        for name, curve in detection.curves.items():
            gate = curve.gate
            if gate is None or not gate.failures:
                continue
            text = (
                f"{name}: a gate for a tolerance of {detection.tolerance:.2g} eV/Å on {detection.shift} and familiar "
                f"structures lets pass {gate.missed} of {gate.failures} frames with a larger error, and stops "
                f"{gate.false_alarms} of {gate.frames - gate.failures} good ones."
            )
            found.append(Finding("warning" if gate.missed > 0.1 * gate.failures else "note", text, ALL))
    return found


def _failures(result: ComparisonResult) -> list[Finding]:
    found = []
    for point in result.curve:
        found += [
            Finding("warning", f"{name} could not learn from {point.n_train} structures: {why}", ALL)
            for name, why in point.failed.items()
        ]
    for detection in result.detection:
        found += [
            Finding("warning", f"{name} has no answer about {detection.shift}: {why}", ALL)
            for name, why in detection.failed.items()
        ]
    return found


def _busy(result: ComparisonResult) -> list[Finding]:
    """Times of a machine with more work than cores are those of the others' work, too."""
    found = busiest(result)
    if found is None:
        return []
    text = f"Times are not to be trusted: the machine was busy (load {found[0]:.1f} on {found[1]} cores)."
    return [Finding("warning", text, ALL)]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{'; '.join(names[:-1])}; and {names[-1]}"
