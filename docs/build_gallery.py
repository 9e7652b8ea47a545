"""Run the numbered examples and write the gallery of the documentation: picture, output and script of each.

    python examples/gallery.py                 # all of them, some minutes
    python examples/gallery.py 01 08           # some; the others' pages stay

Every example runs in an empty folder, as a user would run it, and leaves a picture of its own name.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PAGES = HERE.parent / "docs" / "gallery"
COLUMNS = 3


class Run(NamedTuple):
    """What an example printed and drew."""

    output: str
    picture: bytes


def examples() -> list[Path]:
    """The numbered scripts, in order."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def told(script: Path) -> tuple[str, str]:
    """Title and text of an example: the first line of its docstring, and the rest without the command."""
    title, *rest = (ast.get_docstring(ast.parse(script.read_text())) or "").split("\n\n")
    return title.rstrip("."), "\n\n".join(part for part in rest if not part.startswith("    "))


def run(script: Path) -> Run:
    """Run an example.

    Raises
    ------
    SystemExit
        It failed, or drew no picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", str(script)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        picture = Path(folder) / f"{script.stem}.png"
        if done.returncode or not picture.is_file():
            raise SystemExit(f"{script.name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return Run(done.stdout.rstrip(), picture.read_bytes())


def page(script: Path, output: str) -> str:
    """The page of an example."""
    title, text = told(script)
    return (
        f"<!-- written by examples/gallery.py -->\n\n# {title}\n\n{text}\n\n![{title}]({script.stem}.png)\n\n"
        f"```text\n{output}\n```\n\n## `examples/{script.name}`\n\n```py\n{script.read_text().rstrip()}\n```\n"
    )


def index() -> str:
    """The page of thumbnails."""
    cells = []
    for script in examples():
        title, _ = told(script)
        cells.append(f"[![]({script.stem}.png)]({script.stem}.md)<br>[{title}]({script.stem}.md)")
    rows = [cells[k : k + COLUMNS] for k in range(0, len(cells), COLUMNS)]
    rows[-1] += [""] * (COLUMNS - len(rows[-1]))
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    head = "|" + "   |" * COLUMNS + "\n|" + " --- |" * COLUMNS
    return (
        "<!-- written by examples/gallery.py -->\n\n# Gallery\n\nEvery picture comes from a script in `examples/` that "
        "runs as it stands, within a minute or so, on the data in the repository or a quantum code from PyPI.\n\n"
        f"{head}\n{table}\n"
    )


def main() -> None:
    """Run and write."""
    PAGES.mkdir(exist_ok=True)
    for script in examples():
        if len(sys.argv) == 1 or script.name[:2] in sys.argv[1:]:
            print(script.name, flush=True)
            found = run(script)
            (PAGES / f"{script.stem}.png").write_bytes(found.picture)
            (PAGES / f"{script.stem}.md").write_text(page(script, found.output))
    (PAGES / "index.md").write_text(index())


if __name__ == "__main__":
    main()
