"""What names an element: a symbol or an atomic number, of those that exist."""

from __future__ import annotations

from typing import Any

from ase.data import atomic_numbers, chemical_symbols

from kernpot.parameters import is_real

LAST = len(chemical_symbols) - 1
"""Largest atomic number."""


def atomic_number(element: Any) -> int | None:
    """Atomic number of a symbol or a whole number; None where it names no element."""
    if isinstance(element, str):
        return atomic_numbers.get(element) or None
    return int(element) if is_real(element, 1, LAST) and element % 1 == 0 else None
