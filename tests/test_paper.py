"""The paper: numbers are those measured, references and figures are there, and nobody typed a result by hand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAPER = Path(__file__).resolve().parent.parent / "paper"
TEMPLATES = sorted(PAPER.glob("*.in.md"))
# Numbers that are definitions or settings, not results.
DEFINITIONS = ("90 %",)


def body(template: Path) -> str:
    """A template without what may hold digits: front matter, placeholders, code, formulas, citations, links."""
    text = template.read_text()
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    for pattern in (r"\{\{.+?\}\}", r"`[^`]+`", r"\$\$.+?\$\$", r"\$[^$]+\$", r"\[@[^\]]+\]", r"!?\[[^\]]*\]\([^)]*\)"):
        text = re.sub(pattern, " ", text, flags=re.S)
    for known in DEFINITIONS:
        text = text.replace(known, " ")
    return text


def typed_results(text: str) -> list[str]:
    """Decimals, and whole numbers with a unit, a percent sign or a times sign behind them."""
    return re.findall(r"\d+\.\d+|\d+\s*(?:%|meV|eV|GB|ms\b|s\b|times|K\b|GPa)", text)


def test_texts_say_what_was_measured():
    command = [sys.executable, str(PAPER / "build.py"), "--check"]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_result_is_typed_by_hand(template):
    assert typed_results(body(template)) == []


@pytest.mark.parametrize("result", ["takes 28 s", "at 0.067 eV/A", "holds 92 % of them", "9 times the memory"])
def test_a_result_typed_by_hand_is_found(result):
    assert typed_results(result)


def entries() -> dict[str, str]:
    """The bibliography, by key."""
    return dict(re.findall(r"^@\w+\{(\w+),(.*)\}$", (PAPER / "paper.bib").read_text(), flags=re.M))


def test_every_citation_is_in_the_bibliography_and_every_entry_is_cited():
    cited = {
        key
        for t in TEMPLATES
        for group in re.findall(r"\[(@[^\]]+)\]", t.read_text())
        for key in re.findall(r"@(\w+)", group)
    }
    assert cited == set(entries())


@pytest.mark.parametrize(("key", "entry"), entries().items(), ids=lambda x: x if len(x) < 30 else "")
def test_references_are_whole(key, entry):
    fields = dict(re.findall(r"(\w+)=\{((?:[^{}]|\{[^{}]*\})*)\}", entry))
    assert {"title", "author", "year"} <= set(fields)
    assert fields["year"] == re.search(r"\d{4}$", key)[0]
    assert {"doi", "url", "eprint"} & set(fields)
    if "doi" in fields:
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields["doi"])


def test_every_figure_is_shown_and_every_shown_one_is_there():
    shown = {name for t in TEMPLATES for name in re.findall(r"\(figures/(\w+\.png)\)", t.read_text())}
    assert shown == {path.name for path in (PAPER / "figures").glob("*.png")}


@pytest.mark.slow
def test_the_pdfs_can_be_made(tmp_path):
    pytest.importorskip("pypandoc", reason="needs pip install 'kernpot[paper]'")
    pytest.importorskip("typst", reason="needs pip install 'kernpot[paper]'")
    import shutil

    root = tmp_path / "repository"
    for folder in ("paper", "benchmarks"):
        shutil.copytree(PAPER.parent / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    out = subprocess.run(
        [sys.executable, str(root / "paper" / "build.py"), "--pdf"], capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stdout + out.stderr
    for name in ("paper", "methods"):
        assert (root / "paper" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert (root / "paper" / f"{name}.md").read_text() == (PAPER / f"{name}.md").read_text()
