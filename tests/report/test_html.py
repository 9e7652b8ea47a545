"""The page is complete in itself, safe, and says what was found."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kernpot.report import findings, write_html, write_plots
from kernpot.uncertainty import evaluate
from tests.fakes import LennardJones, drawn_frames


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(tmp_path: Path, title: str = "Argon", std_factor: float = 1.0) -> tuple[str, Reader]:
    result = evaluate(LennardJones(), drawn_frames(40, std_factor=std_factor))
    model = [("Provenance", [("a <b>name</b>", "x & y")])]
    write_html(tmp_path / "report.html", title, result, write_plots(result, tmp_path), model)
    content = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(content)
    return content, reader


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    content, reader = page(tmp_path)
    assert not re.search(r"(?i)https?:|//cdn|@import|url\(", content)
    assert not any(tag in ("script", "link", "iframe") for tag, _ in reader.tags)
    images = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == 6 and all(str(source).startswith("data:image/png;base64,iVBOR") for source in images)


def test_names_are_escaped(tmp_path: Path) -> None:
    content, reader = page(tmp_path, title="<script>alert(1)</script>")
    assert "<script>" not in content and "<script>alert(1)</script>" in reader.text
    assert "a <b>name</b>" in reader.text and "x & y" in reader.text


def test_numbers_of_the_result_are_in_the_page(tmp_path: Path) -> None:
    _, reader = page(tmp_path)
    row = evaluate(LennardJones(), drawn_frames(40)).rows("forces")[0]
    for number in (f"{row.mae:.3g}", f"{row.rmse:.3g}", f"{100 * row.coverage[0.9]:.0f} %", str(row.n_components)):
        assert number in reader.text


@pytest.mark.parametrize(
    ("std_factor", "verdict", "words"),
    [(1.0, "good", "consistent"), (2.0, "warning", "over-confident"), (0.4, "note", "cautious")],
)
def test_findings_tell_right_from_wrong(std_factor: float, verdict: str, words: str) -> None:
    found = findings(evaluate(LennardJones(), drawn_frames(80, std_factor=std_factor)))
    overall = next(finding for finding in found if finding.text.startswith("Forces:"))
    assert overall.verdict == verdict and words in overall.text
    if std_factor == 2.0:
        assert re.search(r"should be (1\.9|2|2\.1) times wider", overall.text)


def test_few_structures_get_no_verdict() -> None:
    found = findings(evaluate(LennardJones(), drawn_frames(4, std_factor=5)))
    assert all(finding.verdict == "note" and "too few to judge" in finding.text for finding in found)


def test_far_too_wide_intervals_of_few_energies_are_not_called_right() -> None:
    # 20 of 20 inside 90 % intervals is no surprise; errors of a hundredth of the std are.
    found = findings(evaluate(LennardJones(), drawn_frames(20, std_factor=0.01)))
    assert "cautious" in next(finding.text for finding in found if finding.text.startswith("Energies:"))
