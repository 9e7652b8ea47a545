"""Tables of texts."""

from __future__ import annotations

SYSTEM_NAMES = {"Si": "Si", "nbmotaw": "NbMoTaW", "3bpa": "3BPA"}


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(r)} |" for r in [header, ["---"] * len(header), *rows])


def not_yet(command: str) -> str:
    """What a text says where nothing was measured."""
    return f"Not measured yet: `python -m benchmarks {command}`."
