"""The page about a comparison is complete in itself, safe, and says no more than was measured."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kernpot.comparison import ComparisonResult, Shift, Split, run, summarise, without_group
from kernpot.comparison.result import Coverage
from kernpot.report.comparison import advice, comparison_findings, write_comparison
from kernpot.report.comparison.plots import draw_all
from tests.comparison.rivals import Rival, argon


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def compared(**rivals: Rival) -> ComparisonResult:
    train = [*argon(22), *argon(8, 1, "warm", 0.15)]
    test = [*argon(12, 2), *argon(12, 3, "warm", 0.15)]
    shifts = [without_group(train, test, "warm"), Shift("hot", None, test, argon(12, 4, "hot", 0.3))]
    with pytest.MonkeyPatch.context() as patch:
        # Takes most of the time of an evaluation, and no test looks at it.
        patch.setattr("kernpot.uncertainty.metrics.oracle_rank_correlation", lambda *_: 0.5)
        return summarise(run(rivals, Split(train, test, shifts)))


@pytest.fixture(scope="module")
def result() -> ComparisonResult:
    return compared(
        **{"<i>sharp</i>": Rival(width=0.3), "honest": Rival(error=1.5), "picky": Rival(error=4, width=0.2, fewest=25)}
    )


@pytest.fixture(scope="module")
def equals() -> ComparisonResult:
    return compared(first=Rival(), second=Rival())


def text_of(found: list) -> str:
    return "\n".join(finding.text for finding in found)


def test_the_page_is_complete_safe_and_tells_the_numbers(tmp_path: Path, result: ComparisonResult) -> None:
    page = tmp_path / "comparison.html"
    write_comparison(page, "A <b>title</b>", result, [("Inputs", [("Files", "a & b.xyz")])])
    content, reader = page.read_text(encoding="utf-8"), Reader()
    reader.feed(content)
    assert not re.search(r"(?i)https?:|//cdn|@import|url\(", content)
    assert not any(tag in ("script", "link", "iframe", "i") for tag, _ in reader.tags)
    images = [str(attributes["src"]) for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == 7 and all(source.startswith("data:image/png;base64,iVBOR") for source in images)
    for text in ("A <b>title</b>", "<i>sharp</i>", "a & b.xyz", "30 structures learnt, 24 asked about"):
        assert text in reader.text
    for name in result.potentials:
        row = result.row(name, "forces", "warm")
        assert row is not None
        for number in (row["mae"], row["rmse"], row["crps"], row["nll"], row["miscalibration_area"], row["rms_z"]):
            assert f"{number:.3g}" in reader.text
        low, high = row["coverage_range"]
        assert f"{100 * row['coverage']['0.9']:.0f} % ({100 * low:.0f} to {100 * high:.0f})" in reader.text
    areas = [
        curve.auc for detection in result.detection for curve in detection.curves.values() if curve.auc is not None
    ]
    assert len(areas) >= 2 and all(f"{area:.3g}" in reader.text for area in areas)


def test_each_is_advised_where_it_is_better(result: ComparisonResult) -> None:
    said = text_of(advice(result))
    sharp, honest = (
        next(line for line in said.splitlines() if line.startswith(f"Take {n}")) for n in result.potentials[:2]
    )
    assert "accurate energies" in sharp and "accurate forces" in sharp and "honest" not in sharp
    assert "honest error bars of forces" in honest and "accurate" not in honest
    assert "Take picky" not in said and "30 structures learnt, 24 asked about, one split and one seed" in said


def test_between_equals_nothing_is_claimed(equals: ComparisonResult) -> None:
    # Times are measured; let them be equal, too.
    cost = dict.fromkeys(equals.potentials, equals.cost["first"])
    said = text_of(advice(replace(equals, cost=cost)))
    assert "No difference between the potentials is more than sampling error" in said and "Take" not in said
    reasons = text_of(comparison_findings(replace(equals, cost=cost)))
    assert "is better" not in reasons and reasons.count("not decided") >= 12


def test_a_single_winner_is_named_as_such(equals: ComparisonResult) -> None:
    slow = {"fit": {**equals.cost["first"]["fit"], "wall_s": 1e9}, "answers": equals.cost["first"]["answers"]}
    said = text_of(advice(replace(equals, cost={"first": equals.cost["first"], "second": slow})))
    assert "By none of the criteria below is another potential better than first" in said
    assert "Take first for a short fit." in said and "do not tell which is better for accurate energies" in said


def test_narrow_intervals_failures_and_missed_frames_are_warned_of(result: ComparisonResult) -> None:
    warnings = text_of([f for f in comparison_findings(result) if f.verdict == "warning"])
    assert re.search(r"<i>sharp</i>: 90 % force intervals hold only [34]\d % \(", warnings)
    assert "<i>sharp</i>: 90 % force intervals of warm hold only" in warnings
    assert "<i>sharp</i>: on structures unlike those learnt (hot) 90 % force intervals hold only" in warnings
    assert not re.search(r"honest: .*force intervals.* hold only", warnings)
    assert "picky could not learn from 10 structures: expected 25 structures, got 10" in warnings
    assert "picky has no answer about warm: expected 25" in warnings


def test_times_of_a_busy_machine_are_not_trusted(equals: ComparisonResult) -> None:
    for load, warned in ((1.9, False), (2.1, True), (None, False)):
        fits = {"first": {"wall_s": 1.0}, "second": {"wall_s": 2.0}}
        told = {"load": load, "cores": 2}
        cost = {name: {**equals.cost[name], "fit": {**fits[name], **told}} for name in equals.potentials}
        said = text_of(comparison_findings(replace(equals, cost=cost)))
        assert ("A short fit: first is better" in said) != warned
        assert ("Times are not to be trusted: the machine was busy (load 2.1 on 2 cores)" in said) == warned


def test_gates_are_told_of_as_counted(result: ComparisonResult) -> None:
    detection = next(d for d in result.detection if d.shift == "hot")
    gate = detection.curves["honest"].gate
    assert gate is not None and gate.failures
    for missed, verdict in ((gate.failures, "warning"), (0, "note")):
        curves = {**detection.curves, "honest": replace(detection.curves["honest"], gate=replace(gate, missed=missed))}
        changed = replace(result, detection=[replace(detection, curves=curves)])
        (finding,) = [f for f in comparison_findings(changed) if f.text.startswith("honest: a gate")]
        assert finding.verdict == verdict and f"lets pass {missed} of {gate.failures} frames" in finding.text


def test_who_learns_faster_is_told_by_size(result: ComparisonResult) -> None:
    curve = [
        replace(point, scores=[replace(s, best=best) for s in point.scores])
        for point, best in zip(result.curve, ("honest", None, "<i>sharp</i>"), strict=True)
    ]
    (said,) = [f.text for f in comparison_findings(replace(result, curve=curve)) if "absolute force errors" in f.text]
    assert "with 10 structures honest has the smaller errors; with 20 structures no difference" in said
    assert said.endswith("with 30 structures <i>sharp</i> has the smaller errors.")


@pytest.mark.slow
def test_derived_quantities_without_values_are_no_gap_in_the_page(tmp_path: Path, equals: ComparisonResult) -> None:
    narrow = {"pressures": Coverage(40, 40, 0.2, 0.5, (0.4, 0.6), 3.0, 0.1, "GPa")}
    changed = replace(equals, derived={"first": "the draws are <lost>", "second": narrow}, curve=equals.curve[-1:])
    warnings = text_of([f for f in comparison_findings(changed) if f.verdict == "warning"])
    assert "first: derived quantities found no values: the draws are <lost>" in warnings
    assert "second: 90 % intervals of pressures hold only 50 % of 40 (40 to 60 %" in warnings
    write_comparison(tmp_path / "page.html", "x", changed)
    content = (tmp_path / "page.html").read_text()
    assert "the draws are &lt;lost&gt;" in content and "Learning curve</h2>" not in content
    assert set(draw_all(changed)) == {"errors", "reliability", "coverage", "roc", "derived", "cost"}
