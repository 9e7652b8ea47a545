"""Which structures are of one kind, and how messages name several."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

NAMED = 5
"""Names that a message gives before it counts the rest."""


def likeness(atoms: Atoms) -> str:
    """Formula and periodicity: alike are structures that differ by positions and cell alone."""
    return f"{atoms.symbols.formula:hill} {atoms.pbc.tolist()}"


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
