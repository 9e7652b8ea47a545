"""The oldest versions that pyproject.toml promises, one ``name==version`` a line; with ``--python``, the oldest Python.

Usage: ``python .ci/lower_bounds.py [--python]``.
"""

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def lower_bound(requirement: str) -> tuple[str, str]:
    """Name and least version of a requirement that is a bound from below.

    Raises
    ------
    ValueError
        If it is anything else, which nobody could install the oldest version of.
    """
    parts = re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement)
    if parts is None:
        raise ValueError(f"expected 'name>=version' in pyproject.toml, got {requirement!r}")
    return parts[1], parts[2]


def main(arguments: Sequence[str]) -> None:
    """Print them."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    if "--python" in arguments:
        print(lower_bound(f"python{project['requires-python']}")[1])
        return
    for requirement in project["dependencies"]:
        print("==".join(lower_bound(requirement)))


if __name__ == "__main__":
    main(sys.argv[1:])
