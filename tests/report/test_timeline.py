"""The page about a run: complete in itself, true to the events, and there at any moment of the run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernpot.errors import KernpotError
from kernpot.report import Finding
from kernpot.report.timeline import read_timeline, timeline_findings, write_timeline
from kernpot.report.timeline.plots import history_plot
from tests.helpers.recorded_run import THRESHOLD, events, write_run


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def found(tmp_path: Path, start: str, **options: Any) -> Finding | None:
    """The finding that begins with these words."""
    run = read_timeline(write_run(tmp_path / "run", **options))
    return next((f for f in timeline_findings(run) if f.text.startswith(start)), None)


def test_the_page_is_complete_safe_and_tells_the_numbers(tmp_path: Path) -> None:
    page = write_timeline(write_run(tmp_path / "run"))
    content = page.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(content)
    assert page == tmp_path / "run" / "timeline.html" and [p.name for p in page.parent.glob(".*")] == []
    assert not re.search(r"(?i)https?:|//cdn|@import|url\(", content)
    images = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == 4 and all(str(source).startswith("data:image/png;base64,iVBOR") for source in images)
    assert "tblite <b>" in reader.text and "<in 80 iterations>" in reader.text and "<b>tb" not in content
    records = list(events())
    for text in (
        "Ended: finished; all steps are made.",
        f"{2 * 0.5 * 3000 / 1000:.4g} ps",
        f"{sum(r['event'] == 'gate' for r in records)}",
        "structures: structures.json",
    ):
        assert text in reader.text
    errors = [r["max_force_error"] for r in records if r.get("purpose") == "audit"]
    assert f"{np.median(errors):.3g}" in reader.text


def test_coverage_on_audited_frames_is_judged(tmp_path: Path) -> None:
    for coverage, verdict, words in (
        (0.9, "good", "Error bars are nearly right"),
        (0.91, "good", "Error bars are consistent"),
        (0.6, "warning", "Error bars are too small"),
        (1.0, "note", "Error bars are cautious"),
    ):
        finding = found(tmp_path / words, "Error bars", coverage=coverage)
        assert finding is not None and finding.verdict == verdict and finding.text.startswith(words), finding


def test_sampling_error_counts_components(tmp_path: Path) -> None:
    """Independent components: 30 frames of 27 tell the coverage as 810 trials do, not as 30."""
    finding = found(tmp_path, "Error bars")
    assert finding is not None
    low, high = map(int, re.findall(r"\((\d+) to (\d+) %", finding.text)[0])
    assert 2 <= high - low <= 6


def test_few_audited_frames_are_not_judged(tmp_path: Path) -> None:
    few = found(tmp_path / "few", "Error bars", n_records=20)
    assert few is not None and few.verdict == "note" and "too few frames to tell" in few.text
    none = found(tmp_path / "none", "No frame was audited", n_records=3)
    assert none is not None and none.verdict == "note"


def test_undetected_failures_are_named(tmp_path: Path) -> None:
    """Errors of five stds: above three thresholds where the std is above 0.09, which a look lets pass."""
    records = list(events(error_factor=5.0))
    audited = [r for r in records if r.get("purpose") == "audit"]
    missed = [r for r in audited if r["max_force_error"] > 3 * THRESHOLD and not r["flagged"]]
    finding = found(tmp_path, "Undetected failures", error_factor=5.0)
    assert missed and finding is not None and finding.verdict == "warning"
    assert f"{len(missed)} of {len(audited)} audited frames" in finding.text
    assert f"{max(r['max_force_error'] for r in missed):.2g} eV/Å" in finding.text


def test_that_nothing_was_missed_is_said_with_its_limit(tmp_path: Path) -> None:
    """None of n: at 95 % confidence fewer than 1 - 0.05^(1/n)."""
    n = sum(r.get("purpose") == "audit" for r in events())
    finding = found(tmp_path, "No undetected failure")
    assert finding is not None and finding.verdict == "good"
    assert f"fewer than {100 * (1 - 0.05 ** (1 / n)):.2g} %" in finding.text


def test_the_tolerance_of_the_settings_counts(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", error_factor=2.0)
    (directory / "config.yaml").write_text("gate:\n  tolerance: {max_force_error: 0.2}\n")
    finding = next(f for f in timeline_findings(read_timeline(directory)) if "0.2 eV/Å (the tolerance)" in f.text)
    assert finding.verdict == "warning"


def test_a_run_that_was_killed_has_its_page_too(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    file = directory / "events.jsonl"
    text = file.read_text()
    file.write_text(text[: int(0.6 * len(text)) + 7])
    (directory / "run.json").unlink()
    assert "Still running, or ended without a word" in write_timeline(directory, tmp_path / "p.html").read_text()


@pytest.mark.parametrize("n", [0, 1, 5, 12, 13, 20])
def test_a_run_that_has_just_begun_has_its_page_too(tmp_path: Path, n: int) -> None:
    directory = write_run(tmp_path / "run")
    lines = (directory / "events.jsonl").read_text().splitlines(keepends=True)
    (directory / "events.jsonl").write_text("".join(lines[:n]))
    assert write_timeline(directory).stat().st_size > 2000


def test_damage_and_nothing_are_said(tmp_path: Path) -> None:
    with pytest.raises(KernpotError, match=r"is not the directory of a run: expected events\.jsonl"):
        read_timeline(tmp_path)
    directory = write_run(tmp_path / "run")
    lines = (directory / "events.jsonl").read_text().splitlines()
    lines[3] = "garbage"
    (directory / "events.jsonl").write_text("\n".join(lines))
    with pytest.raises(KernpotError, match=r"events\.jsonl, line 4: expected a JSON object, got 'garbage'"):
        read_timeline(directory)


def test_a_walker_that_went_back_leaves_a_gap(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    write_run(directory, n_walkers=1)
    lines = (directory / "events.jsonl").read_text().splitlines()
    steps = [k for k, line in enumerate(lines) if '"step", "walker"' in line]
    again = lines[steps[3]]
    lines.insert(steps[4] + 1, again)
    (directory / "events.jsonl").write_text("\n".join(lines))
    line = history_plot(read_timeline(directory)).axes[0].lines[0]
    assert np.isnan(line.get_xdata()).sum() == 1 and np.isnan(line.get_xdata()[5])


def test_an_error_with_a_std_above_the_threshold_is_no_undetected_failure(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", error_factor=5.0)
    text = (directory / "events.jsonl").read_text()
    (directory / "events.jsonl").write_text(text.replace('"flagged": false', '"flagged": true'))
    finding = next(f for f in timeline_findings(read_timeline(directory)) if "undetected" in f.text.lower())
    assert finding.text.startswith("No undetected failure")
    assert "had one, with a std above the threshold" in finding.text


@pytest.mark.parametrize(
    ("above", "verdict", "words"),
    [
        (range(10, 28), "warning", "18 of 28 audited frames (64 %) had a std above the threshold: the potential has n"),
        (range(2), "note", "2 of 28 audited frames (7 %) had a std above the threshold."),
        (range(13), "note", "13 of 28 audited frames (46 %) had a std above the threshold, but none of the last 14"),
        (range(15), "note", "15 of 28 audited frames (54 %) had a std above the threshold, but only 1 of the last 14"),
    ],
)
def test_audited_stds_above_the_threshold_are_counted(tmp_path: Path, above: range, verdict: str, words: str) -> None:
    directory = with_flagged(tmp_path, above)
    finding = next(f for f in timeline_findings(read_timeline(directory)) if "had a std above the thr" in f.text)
    assert finding.verdict == verdict and finding.text.startswith(words)
    assert ("raise force_std, and expect `kernpot md`" in finding.text) == (verdict == "warning")
    (directory / "config.yaml").write_text("gate:\n  tolerance: {max_force_error: 0.2}\n")
    texts = " ".join(f.text for f in timeline_findings(read_timeline(directory)))
    assert ("raise tolerance.max_force_error," in texts) == (verdict == "warning") and "raise force_std" not in texts


def test_few_audited_stds_above_the_threshold_are_not_judged(tmp_path: Path) -> None:
    directory = with_flagged(tmp_path, range(6), n_records=16)
    finding = next(f for f in timeline_findings(read_timeline(directory)) if "had a std above the thr" in f.text)
    assert finding.verdict == "note" and finding.text.endswith("too few frames to tell.")


def with_flagged(tmp_path: Path, above: range, **options: Any) -> Path:
    """A run in which these of its audited frames, in turn, had a std above the threshold."""
    directory = write_run(tmp_path / "run", **options)
    records = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    for k, record in enumerate(r for r in records if r.get("purpose") == "audit"):
        record["flagged"] = k in above
    (directory / "events.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return directory


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((0.1, 0.9, 0.9, 0.95), "fired once in the first half of the simulated time and 3 times in the second"),
        ((0.9, 0.95), "did not fire in the first half of the simulated time and fired twice in the second"),
        ((0.1,), "fired once in the first half of the simulated time and did not fire in the second"),
    ],
)
def test_when_the_gate_fired_is_said_in_good_english(tmp_path: Path, times: tuple[float, ...], words: str) -> None:
    run = read_timeline(write_run(tmp_path / "run", n_walkers=1))
    gates = [{**run.gates[0], "time_fs": part * run.simulated_fs} for part in times]
    texts = [f.text for f in timeline_findings(replace(run, gates=gates))]
    assert any(f"the gate {words}" in text for text in texts)


def test_legends_are_outside_of_the_panels(tmp_path: Path) -> None:
    figure = history_plot(read_timeline(write_run(tmp_path / "run", n_records=4)))
    figure.canvas.draw()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is None or not legend.get_window_extent().overlaps(axes.get_window_extent())


def test_a_page_that_cannot_be_written_says_which_and_what_to_do(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run")
    (directory / "timeline.html").mkdir()
    with pytest.raises(KernpotError, match=r"run/timeline\.html is a folder; give the name of a file") as caught:
        write_timeline(directory)
    assert ".part" not in str(caught.value)
