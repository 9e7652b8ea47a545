"""Which wrong inputs are refused, warned of or read right, and which go in without a word.

    python -m benchmarks inputs told                  # some minutes
    python -m benchmarks inputs told --as before      # the same under another name

It uses public names alone, so that it runs with another version, too: ``git worktree add ../other b35ffe3``, its
``benchmarks/`` replaced by this folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.inputs.wrong import CASES, outcome
from benchmarks.shared.command_line import Parser
from benchmarks.shared.results import write_result, written
from benchmarks.shared.smoke import Smoke
from kernpot.errors import KernpotError, KernpotWarning

KINDS = tuple(CASES)
SMOKE = Smoke({"KINDS": ("names of labels",)})


def main(arguments: Sequence[str]) -> None:
    """Try, print and store."""
    parser = Parser("inputs told", __doc__)
    parser.add_argument("--as", dest="version", default="now", help="name of the version that is tried")
    version = parser.parse_args(arguments).version
    found: dict[str, dict[str, str]] = {}
    for kind in KINDS:
        found[kind] = {}
        for name, case in CASES[kind].items():
            with tempfile.TemporaryDirectory() as folder:
                found[kind][name] = outcome(case, Path(folder), KernpotError, KernpotWarning)
            print(f"{kind}: {name}: {found[kind][name]}", flush=True)
    write_result("inputs/told", {**(written("inputs/told") or {}), version: found})
