"""Write the table of docs/checks.md from the tests that say which wrong input they are about.

    python docs/build_checks.py            # writes it
    python docs/build_checks.py --check    # exit 1 where the page does not say what the tests do

A test, or one of its parameters, is marked ``wrong_input(kind, what, outcome)``. That it passes, the tests say.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "checks.md"
BEGIN, END = "<!-- from the tests -->", "<!-- end of what tests say -->"
KINDS = ("Files", "Labels", "Settings", "Model files", "Runs", "Command line")
OUTCOMES = ("refused", "warned", "read right")


class Checked(NamedTuple):
    """A wrong input, and what becomes of it."""

    kind: str
    what: str
    outcome: str


def checked(tests: Path) -> list[Checked]:
    """All wrong inputs that tests are about, once each, in the order of the files."""
    found = dict.fromkeys(mark for path in sorted(tests.rglob("test_*.py")) for mark in _marks(path))
    return list(found)


def _marks(path: Path) -> Iterator[Checked]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "wrong_input":
            values = [value.value if isinstance(value, ast.Constant) else None for value in node.args]
            if (
                len(values) != 3
                or values[0] not in KINDS
                or not isinstance(values[1], str)
                or values[2] not in OUTCOMES
            ):
                raise ValueError(
                    f"{path.name}:{node.lineno}: expected wrong_input(kind, what, outcome), three texts, kind one of "
                    f"{', '.join(KINDS)}, outcome one of {', '.join(OUTCOMES)}; got {values}"
                )
            yield Checked(str(values[0]), values[1], str(values[2]))


def table(found: list[Checked]) -> str:
    """The generated part of the page."""
    counts = Counter(mark.outcome for mark in found)
    lines = [
        f"{len(found)} kinds of wrong input have a test: "
        + ", ".join(f"{counts[outcome]} are {outcome}" for outcome in OUTCOMES)
        + "."
    ]
    for kind in KINDS:
        of_kind = [mark for mark in found if mark.kind == kind]
        if of_kind:
            lines += ["", f"### {kind}", "", "| input | outcome |", "| --- | --- |"]
            lines += [f"| {mark.what.replace('|', chr(92) + '|')} | {mark.outcome} |" for mark in of_kind]
    return "\n".join(lines)


def page(text: str, generated: str) -> str:
    """The page with its generated part renewed."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{rest.split(END)[1]}"


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    text = PAGE.read_text(encoding="utf-8")
    new = page(text, table(checked(ROOT / "tests")))
    if "--check" in arguments:
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
