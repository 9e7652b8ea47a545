"""The page is complete in itself, safe, and says what was found."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from kernpot.report import Finding, findings, write_html, write_plots
from kernpot.report.structures import worst_first
from kernpot.uncertainty import EvaluationResult, evaluate
from kernpot.uncertainty.evaluation import ALL
from tests.helpers.fakes import LennardJones, drawn_frames


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Reader]:
    folder, result = tmp_path_factory.mktemp("report"), evaluate(LennardJones(), drawn_frames(40))
    model = [("Provenance", [("a <b>name</b>", "x & y")])]
    write_html(folder / "report.html", "<script>alert(1)</script>", result, write_plots(result, folder), model)
    content = (folder / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(content)
    return content, reader


def test_nothing_is_loaded_from_elsewhere(page: tuple[str, Reader]) -> None:
    content, reader = page
    assert not re.search(r"(?i)https?:|//cdn|@import|url\(", content)
    assert not any(tag in ("link", "iframe") for tag, _ in reader.tags)
    assert [attributes for tag, attributes in reader.tags if tag == "script"] == [{}]
    images = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert len(images) == 8 and all(str(source).startswith("data:image/png;base64,iVBOR") for source in images)


def test_names_are_escaped(page: tuple[str, Reader]) -> None:
    content, reader = page
    assert "<script>alert" not in content and "<script>alert(1)</script>" in reader.text
    assert "a <b>name</b>" in reader.text and "x & y" in reader.text


def test_numbers_of_the_result_are_in_the_page(page: tuple[str, Reader]) -> None:
    _, reader = page
    row = evaluate(LennardJones(), drawn_frames(40)).rows("forces")[0]
    for number in (f"{row.mae:.3g}", f"{row.rmse:.3g}", f"{100 * row.coverage[0.9]:.0f} %", str(row.n_components)):
        assert number in reader.text
    low, high = row.ranges["rms_z"]
    assert f"{row.rms_z:.3g} ({low:.3g} to {high:.3g})" in reader.text
    assert row.norm_coverage is not None and row.spearman is not None and row.spearman_oracle is not None
    assert f"{row.spearman:.3g} ({row.spearman_oracle:.3g})" in reader.text
    for number in (row.crps, row.nll, row.ence, row.miscalibration_area, row.dispersion):
        assert f"{number:.3g}" in reader.text


def of(result: EvaluationResult, kind: str, config_type: str = ALL) -> list[Finding]:
    """Findings of one group that begin with the name of the kind."""
    return [f for f in findings(result) if f.config_type == config_type and f.text.startswith(kind)]


@pytest.mark.parametrize(
    ("std_factor", "verdict", "words"),
    [
        (1.0, "good", "Forces are consistent with their stds"),
        (2.0, "warning", r"Forces are over-confident by (1\.9|2|2\.1)x \(.* to .*x\)"),
        (0.4, "note", r"Forces are cautious, with stds 2\.[456]x too wide"),
    ],
)
def test_findings_tell_right_from_wrong(std_factor: float, verdict: str, words: str) -> None:
    overall = of(evaluate(LennardJones(), drawn_frames(80, std_factor=std_factor)), "Forces are")[0]
    assert overall.verdict == verdict and re.match(words, overall.text)
    assert "eV/Å" in overall.text


def test_only_the_group_that_is_wrong_is_warned_of() -> None:
    frames = [
        wrong if index % 2 else right
        for index, (right, wrong) in enumerate(zip(drawn_frames(60), drawn_frames(60, std_factor=1.6), strict=True))
    ]
    result = evaluate(LennardJones(), frames)
    assert [f.verdict for f in of(result, "Forces of crystal", "crystal")] == ["good"]
    (cluster,) = of(result, "Forces of cluster", "cluster")
    assert cluster.verdict == "warning" and re.search(r"over-confident by 1\.[5678]x", cluster.text)


def test_few_structures_get_no_verdict() -> None:
    result = evaluate(LennardJones(), drawn_frames(8, std_factor=2))
    groups = [finding for finding in findings(result) if finding.config_type != ALL]
    assert groups and all(finding.verdict == "note" and "too few to tell" in finding.text for finding in groups)
    (cluster,) = of(result, "Forces of cluster", "cluster")
    assert re.search("4 structures are too few to tell, though these look over-confident by [12]", cluster.text)
    assert not any(finding.verdict == "warning" for finding in findings(result))


def test_a_group_that_fails_comes_first_however_few_its_structures() -> None:
    result = evaluate(LennardJones(), [*drawn_frames(30), *named(drawn_frames(2, std_factor=8), "surface")])
    first = findings(replace(result, not_learnt=("surface",)))[0]
    assert first.verdict == "warning" and first.config_type == "surface"
    assert re.search("of surface fail: wrong by .* where stds are .*; the model has learnt no structure of", first.text)
    verdicts = [finding.verdict for finding in findings(result)]
    assert verdicts == sorted(verdicts, key=lambda verdict: verdict != "warning")


def test_groups_never_learnt_are_told_where_they_do_not_fail() -> None:
    potential = LennardJones()
    frames = drawn_frames(30)
    potential.summary_ = {
        "data": {"config_types": {"cluster": 3}},
        "updates": [{"data": {"config_types": {"wire": 1}}}],
    }
    result = evaluate(potential, [*frames, *named(drawn_frames(2), "wire")])
    assert result.not_learnt == ("crystal",) and result.to_dict()["not_learnt"] == ["crystal"]
    assert any("has learnt no structure of crystal" in found.text for found in findings(result))
    potential.summary_ = {"data": {"config_types": {"": 3}}}  # training structures without groups tell nothing
    assert evaluate(potential, frames).not_learnt == ()


def test_findings_are_folded_after_ten_and_structures_listed_worst_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Takes most of the time of an evaluation, and nothing here looks at it.
    monkeypatch.setattr("kernpot.uncertainty.metrics.oracle_rank_correlation", lambda *_: 0.5)
    (tmp_path / "picture.png").write_bytes(b"a picture")
    groups = [named(drawn_frames(2, k), f"g{k}") for k in range(12)]
    result = evaluate(LennardJones(), [atoms for group in groups for atoms in group])
    names = [f"parity_{kind}" for kind in result.comparisons]
    write_html(tmp_path / "page.html", "many", result, dict.fromkeys(names, tmp_path / "picture.png"))
    content = (tmp_path / "page.html").read_text(encoding="utf-8")
    before, after = content.split("<details>")
    assert before.count("</b> ") == 10 and f"{len(findings(result)) - 10} more" in after
    rows = worst_first(result)
    assert len(rows) == 24 and rows[0].worst == max(row.worst for row in rows)
    assert content.index(f"<td>{rows[0].source}</td>") < content.index(f"<td>{rows[-1].source}</td>")
    (script,) = re.findall("<script>(.*?)</script>", content, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in content


def named(frames: list[Atoms], group: str) -> list[Atoms]:
    for atoms in frames:
        atoms.info["config_type"] = group
    return frames


def test_what_sampling_error_explains_is_not_warned_of() -> None:
    row = evaluate(LennardJones(), drawn_frames(40)).rows("forces")[0]
    for high, verdict in ((0.89, "warning"), (0.92, "note")):
        shares = {**row.coverage, 0.9: 0.8}
        low = replace(row, coverage=shares, coverage_range=(0.7, high), width_factor=1.4, deciles=())
        assert findings(EvaluationResult([low], {}, 40, 140))[0].verdict == verdict


def test_a_dozen_structures_are_not_called_right_without_reserve() -> None:
    energies = of(evaluate(LennardJones(), drawn_frames(12)), "Energies")[0]
    assert energies.verdict == "note" and "as far as 12 structures can tell" in energies.text


def test_far_too_wide_intervals_of_few_energies_are_not_called_right() -> None:
    # 20 of 20 inside 90 % intervals is no surprise; errors of a hundredth of the std are.
    assert "cautious" in of(evaluate(LennardJones(), drawn_frames(20, std_factor=0.01)), "Energies")[0].text


def test_a_tenth_of_the_stds_that_is_wrong_is_warned_of() -> None:
    result = evaluate(LennardJones(), drawn_frames(100))
    assert not of(result, "Forces sorted")
    forces = result.comparisons["forces"]
    # The surest tenth is three times less sure than it says; the others make up for it.
    surest = forces.std < np.quantile(forces.std, 0.1)
    mean = forces.label + np.where(surest, 3.0, 0.97) * forces.error
    changed = replace(forces, mean=mean)
    wrong = EvaluationResult([changed.metrics()], {"forces": changed}, 100, 0)
    (finding,) = of(wrong, "Forces sorted")
    assert finding.verdict == "warning" and "in 1 of 10 tenths" in finding.text


def test_components_that_vanish_by_symmetry_are_named() -> None:
    result = evaluate(LennardJones(), drawn_frames(40))
    forces = result.comparisons["forces"]
    flat = np.arange(forces.label.size) % 3 == 2
    gone = replace(
        forces, **{name: np.where(flat, 0.0, getattr(forces, name)) for name in ("label", "mean", "epistemic_std")}
    )
    found = findings(EvaluationResult([gone.metrics()], {"forces": gone}, 40, 0))
    assert f"{flat.sum()} of {flat.size} force components vanish by symmetry" in " ".join(f.text for f in found)
