"""README and documentation: their blocks run, and their numbers are those that were measured."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def python_blocks(path: Path) -> list[str]:
    """Python blocks of a Markdown file, in order."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(), flags=re.M | re.S)


@pytest.mark.parametrize("name", ["README.md", "docs/start.md", "docs/concepts.md", "docs/how-to.md"])
def test_blocks_of_a_document_run_one_after_the_other(name, tmp_path, monkeypatch):
    blocks = python_blocks(ROOT / name)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, name, "exec"), scope)


def test_readme_has_the_main_job():
    assert len(python_blocks(ROOT / "README.md")) >= 2


def test_numbers_in_the_texts_are_those_measured():
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py"), "--check"]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr
