"""Run the numbered examples and write the gallery of the documentation: picture, output and script of each.

    python docs/build_gallery.py               # all of them, some minutes
    python docs/build_gallery.py 01 08         # some; the others' pages stay
    python docs/build_gallery.py --keep 01     # runs nothing: the page around the output and picture that are there

Every example runs in an empty folder, as a user would run it, and leaves a picture of its own name. Its script is
cut at its cells, ``# %% TITLE`` with comments below, which become sections with text.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parent
EXAMPLES, PAGES = DOCS.parent / "examples", DOCS / "gallery"
MARK = "<!-- written by docs/build_gallery.py -->"
COLUMNS = 3


class Cell(NamedTuple):
    """A part of a script: its title, what is said of it, and the code."""

    title: str
    text: str
    code: str


class Run(NamedTuple):
    """What an example printed and drew."""

    output: str
    picture: bytes


def examples() -> list[Path]:
    """The numbered scripts, in order."""
    return sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))


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


def cells(script: Path) -> tuple[str, list[Cell]]:
    """What stands between the docstring of an example and its first cell, and the cells."""
    source = script.read_text()
    docstring = ast.parse(source).body[0]
    body = "\n".join(source.splitlines()[docstring.end_lineno :])
    needed, *parts = re.split(r"^# %% ", body, flags=re.M)
    found = []
    for part in parts:
        title, *lines = part.splitlines()
        n = next((k for k, line in enumerate(lines) if not line.startswith("# ")), len(lines))
        text = " ".join(line.removeprefix("# ") for line in lines[:n])
        found.append(Cell(title, text, "\n".join(lines[n:]).strip()))
    return needed.strip(), found


def page(script: Path, output: str) -> str:
    """The page of an example."""
    title, text = told(script)
    needed, parts = cells(script)
    sections = [f"## {cell.title}\n\n{cell.text}\n\n```py\n{cell.code}\n```\n" for cell in parts]
    return "\n".join(
        [
            f"{MARK}\n\n# {title}\n\n{text}\n\n![{title}]({script.stem}.png)\n\n```text\n{output}\n```\n",
            f"The script, `examples/{script.name}`, step by step. It needs:\n\n```py\n{needed}\n```\n",
            *sections,
        ]
    )


def output_of(script: Path) -> str:
    """The output that the page of an example shows.

    Raises
    ------
    SystemExit
        There is no such page.
    """
    path = PAGES / f"{script.stem}.md"
    shown = re.search(r"```text\n(.*?)\n```", path.read_text(), flags=re.S) if path.is_file() else None
    if shown is None:
        raise SystemExit(f"{path.name} shows no output to keep: run python docs/build_gallery.py {script.stem[:2]}")
    return shown[1]


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
        f"{MARK}\n\n# Gallery\n\nEvery picture comes from a script in `examples/` that "
        "runs as it stands, within a minute or so, on the data in the repository or a quantum code from PyPI.\n\n"
        f"{head}\n{table}\n"
    )


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", help="of the examples; all when none is given")
    parser.add_argument("--keep", action="store_true", help="keep output and pictures, run nothing")
    options = parser.parse_args()
    PAGES.mkdir(exist_ok=True)
    for script in examples():
        if options.numbers and script.name[:2] not in options.numbers:
            continue
        print(script.name, flush=True)
        if options.keep:
            output = output_of(script)
        else:
            output, picture = run(script)
            (PAGES / f"{script.stem}.png").write_bytes(picture)
        (PAGES / f"{script.stem}.md").write_text(page(script, output))
    (PAGES / "index.md").write_text(index())


if __name__ == "__main__":
    main()
